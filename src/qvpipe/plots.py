"""Pictures of results."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

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


def classes_by_folds(classes: Sequence[str], counts: NDArray[np.int64]) -> Figure:
    """Draw how many videos of each class each fold has, coloured by the fold's share of it.

    Args:
        classes: Names of the classes.
        counts: `[classes, folds]`.
    """
    folds = counts.shape[1]
    shares = folds * counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    names = [
        f"{name} {QVPIPE_MEANINGS.get(name, '')}".strip() + f"  ({total})"
        for name, total in zip(classes, counts.sum(axis=1).tolist(), strict=True)
    ]
    figure = Figure(figsize=(3.6 + 0.8 * folds, 1.4 + 0.3 * len(names)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="RdBu", vmin=0, vmax=2, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        pale = 0.4 < shares[row, column] < 1.6
        colour = "#222222" if pale else "white"
        axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(folds), [f"fold {fold}" for fold in range(folds)], fontsize=9)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("Videos of each class in each fold", loc="left", fontsize=11)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, ticks=[0, 1, 2])
    bar.ax.set_yticklabels(["none", "equal share", "twice that"], fontsize=8)
    bar.outline.set_visible(False)
    return figure
