"""How often is the named moment one at which the defect can be seen, and the hottest point on it?

    python benchmarks/explain.py MODEL DEMO

MODEL is a registered model (`models:/qvpipe@champion`) or a folder of one or its bundle, DEMO the
folder of a demo set that the model has not learned from (`qvpipe demo-data --seed 7 --out DEMO`).
For every defect that is truly there it takes the best moment and its hottest point.

- moment: how often the defect can be seen then; chance is the share of the video in which it can.
- point there: of those, how often the point lies in a box of the defect; chance is the share of the
  frame that the boxes cover at that moment.
- both: how often the point lies in a box, right moment or not; chance is a moment and a point drawn
  evenly over the video and the frame.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from qvpipe import files
from qvpipe.config import QVPIPE_CLASSES
from qvpipe.demo.store import LABELS, RAW, VISIBLE
from qvpipe.demo.truth import STEP_S
from qvpipe.inference import predictor
from qvpipe.inference.explain import Moment, explain
from qvpipe.inference.predictor import Predictor
from qvpipe.video import probe


@dataclass(frozen=True)
class Case:
    """What came out for one defect in one video, beside chance."""

    code: str
    predicted: bool
    in_span: bool
    span: float
    in_box: bool
    box: float
    everywhere: float


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("demo", type=Path)
    arguments = parser.parse_args()
    table = pd.DataFrame(list(_cases(_load(arguments.model), arguments.demo)))
    print(f"{'':34}{'defects':>8}", end="")
    for title in ("moment", "point there", "both"):
        print(f"{title:>13}{'chance':>8}{'ratio':>7}", end="")
    print()
    for title, part in (
        ("all that are there", table),
        ("those that the model predicts", table[table["predicted"]]),
        ("those seen a third of the time", table[table["span"] <= 1 / 3]),
        *((f"  {code}", rows) for code, rows in table.groupby("code")),
    ):
        print(f"{title:34}{len(part):8}{_ratio(part['in_span'], part['span'])}", end="")
        there = part[part["in_span"]]
        print(_ratio(there["in_box"], there["box"]), end="")
        print(_ratio(part["in_box"], part["everywhere"]))


def _ratio(hits: "pd.Series[bool]", chance: "pd.Series[float]") -> str:
    if hits.empty:
        return f"{'-':>13}{'-':>8}{'-':>7}"
    found, random = hits.mean(), chance.mean()
    return f"{found:13.2f}{random:8.2f}{found / random if random else np.nan:7.1f}"


def _load(model: str) -> Predictor:
    if (Path(model) / "ensemble.json").exists():
        return predictor.load(Path(model))
    from qvpipe import tracking

    return tracking.load_model(model).unwrap_python_model().predictor  # type: ignore[no-any-return]


def _cases(model: Predictor, demo: Path) -> Iterator[Case]:
    visible = pd.read_csv(demo / VISIBLE, dtype={"video": str})
    visible["code"] = [QVPIPE_CLASSES[number] for number in visible["class"]]
    labels: Mapping[str, list[int]] = files.read_json(demo / LABELS)
    for name, numbers in tqdm(labels.items(), unit="video"):
        path = (demo / RAW / name).resolve()
        rows = visible[visible["video"] == path.name.rsplit(".", 1)[0]]
        codes = [c for c in map(QVPIPE_CLASSES.__getitem__, numbers) if c in set(rows["code"])]
        if not codes:
            continue
        explained = explain(model, path, codes, moments=1)
        duration = probe(path).duration_s
        for seeing in explained.seeings:
            seen = rows[rows["code"] == seeing.name]
            predicted = seeing.name in explained.prediction.labels
            yield _case(seeing.name, predicted, seeing.moments[0], seen, duration)


def _case(code: str, predicted: bool, moment: Moment, seen: pd.DataFrame, duration: float) -> Case:
    """Judge a moment by the rows of visible.csv, one for each `STEP_S` of seeing the defect."""
    now = seen[(seen["time_s"] - moment.time_s).abs() <= STEP_S / 2 + 1e-6]
    height, width = moment.frame.shape[:2]
    covered = _covered(now, height, width)
    moments = [_covered(rows, height, width).mean() for _, rows in seen.groupby("time_s")]
    x, y = moment.point
    return Case(
        code,
        predicted,
        not now.empty,
        min(1.0, seen["time_s"].nunique() * STEP_S / duration),
        bool(covered[y, x]),
        float(covered.mean()),
        float(sum(moments)) * STEP_S / duration,
    )


def _covered(rows: pd.DataFrame, height: int, width: int) -> NDArray[np.bool_]:
    """Return which pixels lie in a box."""
    covered = np.zeros((height, width), dtype=bool)
    for left, top, right, bottom in rows[["x0", "y0", "x1", "y1"]].to_numpy():
        covered[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = True
    return covered


if __name__ == "__main__":
    main()
