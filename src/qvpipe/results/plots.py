"""Pictures of results."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from qvpipe.config import QVPIPE_MEANINGS
from qvpipe.learning.metrics import average_precisions
from qvpipe.video.images import resize

if TYPE_CHECKING:
    from qvpipe.results.compare import Comparison, Difference

Floats = NDArray[np.floating[Any]]
Targets = NDArray[np.integer[Any]]

BLUE, RED, GREY = "#2a7f9e", "#b5482a", "#8a8f94"
COLOURS = (BLUE, RED, "#5d8f3c", "#8259a6", "#c08a1e", "#4a4f55")
FATES = {"": ("kept", BLUE), "blurred": ("blurred", "#c08a1e"), "duplicate": ("duplicate", RED)}
"""What is said of a frame by why it was dropped, and the colour of that."""

DPI, COLUMNS = 110, 9
"""Of contact sheets."""
CELL, CAPTION = 174, 34
"""Width of a frame with its border, and height of what is written below it, in pixels."""


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
    names = [f"{class_title(name)}  ({positives[name]})" for _, name in known]
    figure = Figure(figsize=(8, 1.2 + 0.32 * len(names)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(names, [ap for ap, _ in known], color=BLUE)
    axes.bar_label(bars, [f"{ap:.2f}" for ap, _ in known], padding=3, fontsize=8)
    axes.axvline(chance, color=RED, linestyle="--", linewidth=1, label="chance (mAP)")
    axes.set_xlim(0, 1.05)
    axes.set_xlabel("average precision, all folds pooled")
    axes.set_title("Average precision by class (positive videos)", loc="left", fontsize=11)
    axes.tick_params(axis="y", length=0)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    _bare(axes)
    return figure


def classes_by_folds(
    classes: Sequence[str], counts: NDArray[np.int64], names: Sequence[str] | None = None
) -> Figure:
    """Draw how many videos of each class each fold has.

    The colour compares the fold's share of the class with its share of all labels.

    Args:
        classes: Names of the classes.
        counts: `[classes, folds]`.
        names: Of the folds; None numbers them.
    """
    folds = counts.shape[1]
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / max(1, counts.sum())
    shares = counts / np.where(expected > 0, expected, 1)
    rows = [
        f"{class_title(name)}  ({total})"
        for name, total in zip(classes, counts.sum(axis=1).tolist(), strict=True)
    ]
    figure = Figure(figsize=(3.6 + 0.8 * folds, 1.4 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="RdBu", vmin=0, vmax=2, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        pale = 0.4 < shares[row, column] < 1.6
        colour = "#222222" if pale else "white"
        axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(folds), names or [f"fold {fold}" for fold in range(folds)], fontsize=9)
    axes.set_yticks(range(len(rows)), rows, fontsize=9)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("Videos of each class", loc="left", fontsize=11)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, ticks=[0, 1, 2])
    bar.ax.set_yticklabels(["none", "its share", "twice that"], fontsize=8)
    bar.outline.set_visible(False)
    return figure


def durations(index: pd.DataFrame, classes: Sequence[str]) -> Figure:
    """Draw how long the videos are, together with those that are left out for it, and by class.

    Args:
        index: data/index.csv; what could not be read has no duration.
        classes: Names of the classes.
    """
    known = index[index["duration_s"].notna() & index["status"].isin(["ok", "excluded"])]
    used = known[known["status"] == "ok"]
    seconds = [
        used.loc[[str(number) in labels.split() for labels in used["labels"]], "duration_s"]
        for number in range(len(classes))
    ]
    shown = [number for number, part in enumerate(seconds) if len(part)]
    figure = Figure(figsize=(10, 2 + 0.26 * len(shown)), layout="constrained")
    left, right = figure.subplots(1, 2)
    parts = [used["duration_s"], known.loc[known["status"] == "excluded", "duration_s"]]
    names = [f"{len(parts[0]):,} used", f"{len(parts[1]):,} left out"]
    left.hist(parts, 40, stacked=True, color=[BLUE, GREY], label=names)
    left.set_xlabel("seconds", fontsize=9)
    left.set_ylabel("videos", fontsize=9)
    left.set_title(f"Durations of {len(known):,} videos", loc="left", fontsize=11)
    left.legend(frameon=False, fontsize=8)
    right.boxplot(
        [seconds[number] for number in shown],
        orientation="horizontal",
        tick_labels=[f"{_short(classes[n])}  ({len(seconds[n]):,})" for n in shown],
        widths=0.6,
        medianprops={"color": BLUE, "linewidth": 2},
        flierprops={"marker": ".", "markersize": 3, "markeredgecolor": GREY},
    )
    right.invert_yaxis()
    right.tick_params(axis="y", length=0, labelsize=8)
    right.set_xlabel("seconds", fontsize=9)
    right.set_title("By class, those used; the line is the median", loc="left", fontsize=11)
    for axes in (left, right):
        _bare(axes)
    return figure


def precision_recall(truth: Targets, scores: Floats, classes: Sequence[str]) -> Figure:
    """Draw the precision-recall curve of each class that has a positive video.

    Args:
        truth: 0 or 1, `[videos, classes]`.
        scores: Probabilities, `[videos, classes]`.
        classes: Names in the order of the columns.
    """
    # The stages that draw something else need not wait for it.
    from sklearn.metrics import precision_recall_curve

    reached = average_precisions(truth, scores)
    known = [i for i in range(len(classes)) if truth[:, i].any()]
    columns = min(6, len(known))
    rows = -(-len(known) // columns)
    figure = Figure(figsize=(2 * columns, 2.1 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat[len(known) :]:
        axes.set_axis_off()
    for axes, i in zip(panels.flat, known, strict=False):
        precision, recall, _ = precision_recall_curve(truth[:, i], scores[:, i])
        axes.plot(recall, precision, drawstyle="steps-post", color=BLUE, linewidth=1.5)
        axes.axhline(truth[:, i].mean(), color=RED, linestyle="--", linewidth=1)
        axes.set_title(f"{_short(classes[i])}  AP {reached[i]:.2f}", loc="left", fontsize=9)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.03)
        axes.tick_params(labelsize=7)
        _bare(axes)
    figure.supxlabel("recall", fontsize=9)
    figure.supylabel("precision", fontsize=9)
    figure.suptitle("Precision and recall; dashed: share of positive videos", fontsize=11)
    return figure


def cleaning(
    clean: pd.DataFrame, frames: Mapping[str, NDArray[np.uint8]], blur_ratio: float
) -> Figure:
    """Draw how many frames were dropped and why, and all frames of some videos one by one.

    Args:
        clean: The table of all frames, see `stages.clean`.
        frames: The stored frames of the videos that are shown, `[count, height, width, 3]`, RGB.
        blur_ratio: Share of a video's median sharpness below which a frame is blurred.
    """
    sheets = {video: _contact_sheet(pictures) for video, pictures in frames.items()}
    heights = [2.2, *(len(sheet) / DPI + 0.4 for sheet in sheets.values())]
    figure = Figure(figsize=(COLUMNS * CELL / DPI + 0.3, sum(heights)), layout="constrained")
    above, *below = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False).flat
    counted, sharpness = above.subplots(1, 2, width_ratios=[2, 3])
    _fates(counted, clean)
    _sharpness(sharpness, clean, blur_ratio)
    for part, (video, sheet) in zip(below, sheets.items(), strict=True):
        axes = part.subplots()
        rows = clean[clean["video"] == video]
        dropped = [f"{n} {why}" for why, n in rows["dropped"].value_counts().items() if why]
        axes.set_title(
            f"{video}: {', '.join(dropped) or 'all kept'} of {len(rows)}", loc="left", fontsize=11
        )
        axes.imshow(sheet)
        axes.set_axis_off()
        _captions(axes, rows, len(sheet) // -(-len(rows) // COLUMNS))
    return figure


def _contact_sheet(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return pictures in rows on white, each with room for a border and for a caption below it."""
    inner = CELL - 16
    height = round(pictures.shape[1] * inner / pictures.shape[2])
    rows = -(-len(pictures) // COLUMNS)
    cells = np.full((rows * COLUMNS, height + 10 + CAPTION, CELL, 3), 255, dtype=np.uint8)
    for cell, picture in zip(cells, pictures, strict=False):
        cell[5 : 5 + height, 8:-8] = resize(picture, inner, height)
    grid = cells.reshape(rows, COLUMNS, *cells.shape[1:]).swapaxes(1, 2)
    return grid.reshape(rows * cells.shape[1], COLUMNS * CELL, 3)


def _captions(axes: Axes, rows: pd.DataFrame, height: int) -> None:
    """Frame the pictures of a contact sheet and write below each what is known of it."""
    for place, frame in enumerate(rows.to_dict("records")):
        left, top = place % COLUMNS * CELL, place // COLUMNS * height
        fate, colour = FATES[frame["dropped"]]
        size = (CELL - 12, height - CAPTION - 6)
        border = Rectangle((left + 5.5, top + 2.5), *size, fill=False, edgecolor=colour)
        border.set_linewidth(3)
        axes.add_patch(border)
        text = f"{frame['time_s']:.2f} s   sharpness {frame['sharpness']:.0f}"
        below = top + height - CAPTION
        axes.text(left + 6, below, text, color="#222222", va="top", fontsize=7.5)
        if frame["dropped"]:
            axes.text(left + 6, below + 14, fate, color=colour, va="top", fontsize=7.5)


def _fates(axes: Axes, clean: pd.DataFrame) -> None:
    counts = [int((clean["dropped"] == why).sum()) for why in FATES]
    names, colours = zip(*FATES.values(), strict=True)
    bars = axes.barh(names, counts, color=colours)
    shares = [f"{count:,}  ({100 * count / len(clean):.1f} %)" for count in counts]
    axes.bar_label(bars, shares, padding=4, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.3 * max(counts))
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_visible(False)
    title = f"{len(clean):,} frames of {clean['video'].nunique():,} videos"
    axes.set_title(title, loc="left", fontsize=11)
    _bare(axes)


def _sharpness(axes: Axes, clean: pd.DataFrame, blur_ratio: float) -> None:
    """Draw sharpness as a share of its video's median, which is what blur is judged by."""
    medians = clean.groupby("video")["sharpness"].transform("median")
    shares = (clean["sharpness"] / medians.where(medians > 0, 1)).clip(upper=3)
    names, colours = zip(*FATES.values(), strict=True)
    parts = [shares[clean["dropped"] == why] for why in FATES]
    axes.hist(parts, np.linspace(0, 3, 61).tolist(), stacked=True, color=colours, label=names)
    axes.axvline(blur_ratio, color="#222222", linestyle="--", linewidth=1)
    axes.set_xlim(0, 3)
    axes.set_xticks([0, 1, 2, 3], ["0", "median", "twice", "3 times and more"], fontsize=8)
    axes.set_ylabel("frames", fontsize=9)
    title = "Sharpness against the median of the video; dashed: blurred below"
    axes.set_title(title, loc="left", fontsize=11)
    axes.legend(frameon=False, fontsize=8)
    _bare(axes)


def cooccurrence(truth: Targets, scores: Floats, classes: Sequence[str]) -> Figure:
    """Draw which classes stand together in the labels, beside which do in the predictions.

    As many of a class's most probable videos count as predicted as there are positive ones.

    Args:
        truth: 0 or 1, `[videos, classes]`.
        scores: Probabilities, `[videos, classes]`.
        classes: Names in the order of the columns.
    """
    ranks = (-scores).argsort(axis=0, kind="stable").argsort(axis=0)
    predicted = (ranks < truth.sum(axis=0)).astype(np.int64)
    figure = Figure(figsize=(12, 6.2), layout="constrained")
    tables = [truth.T @ truth, predicted.T @ predicted]
    for table in tables:
        np.fill_diagonal(table, 0)
    highest = max(1, *(int(table.max()) for table in tables))
    names = [_short(name) for name in classes]
    for axes, table, title in zip(
        figure.subplots(1, 2), tables, ("in the labels", "in the predictions"), strict=True
    ):
        axes.imshow(table, cmap="Blues", vmin=0, vmax=1.3 * highest)
        for (row, column), count in np.ndenumerate(table):
            if count:
                axes.text(column, row, str(count), ha="center", va="center", fontsize=7)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.tick_params(length=0)
        axes.set_title(f"Videos with both classes, {title}", loc="left", fontsize=11)
        axes.spines[:].set_visible(False)
    return figure


def reliability(truth: Targets, scores: Floats, bins: int = 10) -> Figure:
    """Draw how often a class is there against how probable it is said to be.

    Args:
        truth: 0 or 1, `[videos, classes]`.
        scores: Probabilities, `[videos, classes]`.
        bins: Equal parts of the range from 0 to 1.
    """
    bin_of = np.minimum((scores.ravel() * bins).astype(int), bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    used = counts > 0
    said = np.bincount(bin_of, scores.ravel(), bins)[used] / counts[used]
    there = np.bincount(bin_of, truth.ravel(), bins)[used] / counts[used]
    error = float((np.abs(said - there) * counts[used]).sum() / counts.sum())
    figure = Figure(figsize=(5.2, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="as it should be")
    upper.plot(said, there, marker="o", color=BLUE, label=f"ensemble, mean error {error:.3f}")
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1)
    upper.set_ylabel("share in which the class is there")
    upper.set_title("Reliability, all classes and folds pooled", loc="left", fontsize=11)
    upper.legend(frameon=False, fontsize=8, loc="upper left")
    lower.bar((np.arange(bins) + 0.5) / bins, counts, width=0.9 / bins, color=GREY)
    lower.set_yscale("log")
    lower.set_ylabel("predictions")
    lower.set_xlabel("predicted probability")
    for axes in (upper, lower):
        _bare(axes)
    return figure


def similarities(right: Floats, wrong: Floats) -> Figure:
    """Draw how similar videos are to the names of their own classes and to those of others.

    Args:
        right: Similarity of each pair of a video and a class that it shows, in [-1, 1].
        wrong: The same of classes that it does not show.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    both = np.concatenate([right, wrong])
    bins = np.linspace(both.min(), both.max() + 1e-6, 41).tolist()
    for name, values, colour in (("wrong", wrong, RED), ("right", right, BLUE)):
        label = f"{name}: {len(values):,} pairs, mean {values.mean():.3f}"
        weights = np.full(len(values), 1 / len(values))
        axes.hist(values, bins, weights=weights, color=colour, alpha=0.6, label=label)
        axes.axvline(float(values.mean()), color=colour, linestyle="--", linewidth=1)
    axes.set_xlabel("cosine similarity of video and name of the class")
    axes.set_ylabel("share of the pairs")
    axes.set_title("Similarity of right and wrong pairs", loc="left", fontsize=11)
    axes.legend(frameon=False, fontsize=8)
    _bare(axes)
    return figure


def accuracy_by_epoch(curves: Mapping[str, Sequence[pd.DataFrame]]) -> Figure:
    """Draw validation accuracy over the epochs: each fold, their mean, and their SD as a band.

    A fold that stopped early keeps the accuracy of its last epoch, so that the mean is always that
    of all folds.

    Args:
        curves: For each member the curves of its folds, with the columns `number` and `accuracy`.
    """
    figure = Figure(figsize=(1 + 5.5 * len(curves), 4), layout="constrained")
    panels = figure.subplots(1, len(curves), sharey=True, squeeze=False)
    for axes, (member, folds) in zip(panels.flat, curves.items(), strict=True):
        table = pd.concat([fold.set_index("number")["accuracy"] for fold in folds], axis=1).ffill()
        epochs, mean = table.index.to_numpy(), table.mean(axis=1).to_numpy()
        spread = table.std(axis=1, ddof=1).fillna(0.0).to_numpy()
        low, high = (mean - spread).clip(0, 1), (mean + spread).clip(0, 1)
        axes.fill_between(epochs, low, high, color=BLUE, alpha=0.2, linewidth=0, label="± SD")
        for position, fold in enumerate(folds):
            label = "single folds" if position == 0 else None
            axes.plot(fold["number"], fold["accuracy"], color=GREY, linewidth=0.8, label=label)
        axes.plot(epochs, mean, color=BLUE, marker="o", markersize=3, label="mean of the folds")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("epoch")
        axes.set_title(f"{member}, {len(folds)} folds", loc="left", fontsize=11)
        _bare(axes)
    panels[0, 0].set_ylabel("validation accuracy")
    panels[0, 0].legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def confusion(tables: Mapping[str, NDArray[np.int64]], classes: Sequence[str]) -> Figure:
    """Draw what items of each class were taken for, coloured by the share of the class.

    Args:
        tables: For each set of items its counts, `[class by label, class predicted]`.
        classes: Names of the classes.
    """
    side = 1.6 + max(2.2, 0.55 * len(classes))
    figure = Figure(figsize=(side * len(tables) + 0.6, side), layout="constrained")
    names = [_short(name) for name in classes]
    for axes, (title, counts) in zip(
        figure.subplots(1, len(tables), squeeze=False).flat, tables.items(), strict=True
    ):
        shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.6 else "#222222"
            axes.text(column, row, str(count), ha="center", va="center", fontsize=9, color=colour)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set_xlabel("predicted", fontsize=9)
        axes.set_ylabel("label", fontsize=9)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        right = int(np.trace(counts))
        axes.set_title(f"{title}: {right} of {int(counts.sum())} right", loc="left", fontsize=11)
    return figure


def f1_by_class(scores: Mapping[str, Mapping[str, float]], overall: Mapping[str, float]) -> Figure:
    """Draw the F1 of each class in each set of items, with the mean over classes in the legend.

    Args:
        scores: For each set, the F1 of each class.
        overall: For each set, their mean.
    """
    table = pd.DataFrame(scores)[::-1]
    figure = Figure(figsize=(8, 1.4 + 0.45 * len(table)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / table.shape[1]
    for position, name in enumerate(table.columns):
        places = np.arange(len(table)) + 0.4 - height * (position + 0.5)
        label = f"{name}, mean {overall[name]:.2f}"
        bars = axes.barh(places, table[name], 0.9 * height, color=COLOURS[position], label=label)
        axes.bar_label(bars, [f"{value:.2f}" for value in table[name]], padding=3, fontsize=8)
    axes.set_yticks(range(len(table)), [class_title(name) for name in table.index])
    axes.set_xlim(0, 1.08)
    axes.set_xlabel("F1")
    axes.set_title("F1 by class", loc="left", fontsize=11)
    axes.tick_params(axis="y", length=0)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    _bare(axes)
    return figure


def comparison(found: "Comparison") -> Figure:
    """Draw experiments side by side: members and ensemble, its decisions, its classes.

    What the others differ in from the first stands below, with its interval.
    """
    tables = {
        "mAP": found.maps,
        "Decisions of the ensemble": found.decisions.drop("log_loss", errors="ignore"),
    }
    tables = {title: table for title, table in tables.items() if len(table)}
    first, measure = found.differences[0].first, found.differences[0].measure
    against = f"{measure} against {first}, 95 % interval"
    heights = [*(len(table) for table in tables.values()), 1 + len(found.differences) / 2]
    classes = "Average precision by class, ensemble"
    figure = Figure(
        figsize=(10, 2 + 0.32 * max(len(found.per_class), 1.5 * sum(heights))),
        layout="constrained",
    )
    panels = figure.subplot_mosaic(
        [[title, classes] for title in (*tables, against)],
        width_ratios=[2, 3],
        height_ratios=heights,
    )
    for title, table in {**tables, classes: found.per_class.rename(index=class_title)}.items():
        _beside(panels[title], table[::-1])
    _intervals(panels[against], found.differences[::-1])
    for title, axes in panels.items():
        axes.set_title(title, loc="left", fontsize=11)
        axes.tick_params(axis="y", length=0)
        _bare(axes)
    figure.legend(
        *panels[classes].get_legend_handles_labels(),
        loc="outside upper right", ncols=4, frameon=False, fontsize=8,
    )  # fmt: skip
    return figure


def _intervals(axes: Axes, differences: Sequence["Difference"]) -> None:
    """Draw each difference as a point on its interval, the last one on top."""
    axes.axvline(0, color=GREY, linewidth=1)
    for place, one in enumerate(differences):
        ends, colour = one.interval, COLOURS[(len(differences) - place) % len(COLOURS)]
        axes.plot([ends.low, ends.high], [place, place], color=colour, linewidth=2)
        axes.plot(ends.value, place, "o", color=colour)
        axes.annotate(
            f"{ends.value:+.3f}", (ends.value, place), (0, 5), textcoords="offset points",
            ha="center", fontsize=7,
        )  # fmt: skip
    axes.set_yticks(range(len(differences)), [one.second for one in differences], fontsize=8)
    axes.set_ylim(-0.6, len(differences) - 0.3)
    axes.locator_params(axis="x", nbins=5)


def _beside(axes: Axes, table: pd.DataFrame) -> None:
    """Draw a group of bars for each row of a table, the last row on top, a bar for each column."""
    height = 0.8 / table.shape[1]
    for position, name in enumerate(table.columns):
        places = np.arange(len(table)) + 0.4 - height * (position + 0.5)
        values = table[name]
        bars = axes.barh(
            places, values.fillna(0), height, label=name, color=COLOURS[position % len(COLOURS)]
        )
        labels = ["" if np.isnan(value) else f"{value:.3f}" for value in values]
        axes.bar_label(bars, labels, padding=2, fontsize=7)
    axes.set_yticks(range(len(table)), table.index, fontsize=8)
    axes.set_xlim(0, 1.08)


def _short(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:13]}…"


def class_title(name: str) -> str:
    """Return a class name with what it means, where it is a code."""
    return f"{name} {QVPIPE_MEANINGS.get(name, '')}".strip()


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
