"""Pictures of results."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from qvpipe.config import QVPIPE_MEANINGS


def per_class_ap(
    per_class: Mapping[str, float | None], positives: Mapping[str, int], chance: float
) -> Figure:
    """Draw the average precision of each class as a bar, the best on top.

    Args:
        per_class: Average precision of each class from 0 to 1, None without a positive video.
        positives: Number of positive videos of each class.
        chance: mAP of scores without any knowledge, drawn as a line.
    """
    known = sorted(((ap, name) for name, ap in per_class.items() if ap is not None))
    names = [
        f"{name} {QVPIPE_MEANINGS.get(name, '')}".strip() + f"  ({positives[name]})"
        for _, name in known
    ]
    figure = Figure(figsize=(8, 1.2 + 0.32 * len(names)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(names, [ap for ap, _ in known], color="#2a7f9e")
    axes.bar_label(bars, [f"{ap:.2f}" for ap, _ in known], padding=3, fontsize=8)
    axes.axvline(chance, color="#b5482a", linestyle="--", linewidth=1, label="chance (mAP)")
    axes.set_xlim(0, 1.05)
    axes.set_xlabel("average precision, all folds pooled")
    axes.set_title("Average precision by class (positive videos)", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure
