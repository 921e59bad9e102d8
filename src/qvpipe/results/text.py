"""The ensemble's metrics as text."""

from collections.abc import Mapping
from typing import Any

from qvpipe.config import QVPIPE_MEANINGS


def results_text(
    result: Mapping[str, Any], positives: Mapping[str, int], normal: str | None
) -> str:
    """Return metrics/ensemble.json as text for people.

    Args:
        result: metrics/ensemble.json.
        positives: Number of positive videos of each class.
        normal: The class that is no defect; without it there is no column of the defects' mAP.
    """
    columns = {"mAP": "map"} | ({"defects": "map_defects"} if normal in result["per_class"] else {})
    titles = "".join(f"{title:>9}" for title in columns)
    lines = [
        f"{result['videos']} videos, each judged by models that did not see its inspection",
        "",
        f"{'':28}{titles}{'weight':>8}{'mean ± SD over folds':>23}",
    ]
    for name, judged in [*result["members"].items(), ("ensemble", result)]:
        values = "".join(f"{judged[key]:9.3f}" for key in columns.values())
        weight = f"{judged['weight']:.2f}" if "weight" in judged else ""
        over_folds = judged["mean_over_folds"]
        spread = f"{over_folds['map']:.3f} ± {over_folds['map_sd']:.3f}"
        lines.append(f"{name:28}{values}{weight:>8}{spread:>23}")
    for where, found in (("out of fold", result), ("test set", result.get("test", {}))):
        if "accuracy" in found:
            accuracy = with_interval(found, "accuracy")
            lines.append(f"{where:28}accuracy {accuracy}, mean F1 {found['f1']:.3f}")
    lines += [f"{'chance':28}{result['chance']:9.3f}", "", f"{'class':36}{'AP':>7}{'videos':>8}"]
    for name, precision in result["per_class"].items():
        shown = "-" if precision is None else f"{precision:.3f}"
        title = f"{name}  {QVPIPE_MEANINGS.get(name, '')}"
        lines.append(f"{title:36}{shown:>7}{positives[name]:8}")
    return "\n".join(lines)


def with_interval(result: Mapping[str, Any], name: str) -> str:
    """Return a value of metrics/ensemble.json with its interval where it has one.

    Args:
        result: The file, or its part about the test set.
        name: Of the value.
    """
    ends = result.get("interval", {}).get(name)
    sure = f" (95 % interval {ends['low']:.3f} to {ends['high']:.3f})" if ends else ""
    return f"{result[name]:.3f}{sure}"
