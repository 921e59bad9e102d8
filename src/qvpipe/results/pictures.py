"""The pictures of an ensemble that people look at, in one folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qvpipe import files
from qvpipe.learning.tasks import decisions
from qvpipe.results import examples, plots
from qvpipe.results.examples import Captioned
from qvpipe.video.images import Image, decode_jpeg, encode_jpeg

SHOWN = 4
"""Super-images in a row of examples."""

QUALITY = 85
"""Of the JPEGs of examples."""


OF_CHOICES = ("accuracy.png", "confusion.png", "f1.png", "misclassified.jpg", "heat.jpg")
"""The pictures of a task of exactly one class, which a report shows."""

MOST_WRONG = 24
"""Misclassified items of each set that are shown."""

IN_A_ROW = 6
"""Of the misclassified items."""


@dataclass(frozen=True)
class Judged:
    """A set of items with the probabilities that the ensemble gives them.

    Attributes:
        name: Of the set.
        videos: The items.
        truth: 0 or 1, `[items, classes]`.
        scores: Probabilities, `[items, classes]`.
    """

    name: str
    videos: Sequence[str]
    truth: NDArray[np.int64]
    scores: NDArray[np.floating[Any]]

    def table(self, classes: Sequence[str]) -> pd.DataFrame:
        """Return the probabilities as a table: `video`, then the classes."""
        table = pd.DataFrame(self.scores, columns=list(classes))
        table.insert(0, "video", list(self.videos))
        return table


def draw(
    folder: Path,
    videos: pd.DataFrame,
    truth: NDArray[np.int64],
    scores: NDArray[np.floating[Any]],
    classes: Sequence[str],
) -> None:
    """Draw how the predictions stand to the labels.

    Args:
        folder: Where the pictures come to lie.
        videos: The columns `video` and `fold`, a row for each video.
        truth: 0 or 1, `[videos, classes]`.
        scores: Probabilities out of fold, `[videos, classes]`.
        classes: Names in the order of the columns.
    """
    (folder / "examples").mkdir(parents=True, exist_ok=True)
    folds = sorted(videos["fold"].unique())
    counts = np.stack([truth[(videos["fold"] == fold).to_numpy()].sum(axis=0) for fold in folds])
    pictures = {
        "precision_recall.png": plots.precision_recall(truth, scores, classes),
        "classes_by_folds.png": plots.classes_by_folds(classes, counts.T),
        "cooccurrence.png": plots.cooccurrence(truth, scores, classes),
        "reliability.png": plots.reliability(truth, scores),
    }
    for name, figure in pictures.items():
        figure.savefig(folder / name, dpi=110)
    for column, name in enumerate(classes):
        if truth[:, column].any():
            sheet = _examples(videos["video"].to_numpy(), truth, scores, classes, column)
            path = folder / "examples" / f"{column:02}_{_safe(name)}.jpg"
            path.write_bytes(encode_jpeg(sheet, QUALITY))


def draw_choices(folder: Path, sets: Sequence[Judged], classes: Sequence[str]) -> None:
    """Draw how good the decisions for the most probable class are.

    Args:
        folder: Where `confusion.png`, `f1.png` and `misclassified.jpg` come to lie.
        sets: The items out of fold, and those of the test.
        classes: Names in the order of the columns.
    """
    count = len(classes)
    tables, scores, overall = {}, {}, {}
    for judged in sets:
        label, chosen = judged.truth.argmax(axis=1), judged.scores.argmax(axis=1)
        pairs = np.bincount(label * count + chosen, minlength=count * count)
        tables[judged.name] = pairs.reshape(count, count)
        found = decisions("multiclass", judged.truth, judged.scores, classes)
        scores[judged.name], overall[judged.name] = found["per_class_f1"], found["f1"]
    numbers = ", ".join(
        f"{table.sum() - np.trace(table)} of {table.sum()} {name}" for name, table in tables.items()
    )
    shown = [picture for judged in sets for picture in _misclassified(judged, classes)]
    rows = {
        f"{start + 1} to {min(start + IN_A_ROW, len(shown))}": shown[start : start + IN_A_ROW]
        for start in range(0, len(shown), IN_A_ROW)
    }
    gallery = examples.sheet(f"Misclassified, surest first: {numbers}", rows)
    (folder / "misclassified.jpg").write_bytes(encode_jpeg(gallery, QUALITY))
    plots.confusion(tables, classes).savefig(folder / "confusion.png", dpi=110)
    plots.f1_by_class(scores, overall).savefig(folder / "f1.png", dpi=110)


def draw_accuracy(folder: Path, members: Sequence[str], folds: Sequence[int]) -> None:
    """Draw `accuracy.png`: the validation accuracy of each member's folds over the epochs."""
    curves = {
        member: [files.read_table(files.fold_model(member, fold) / "curve.csv") for fold in folds]
        for member in members
    }
    plots.accuracy_by_epoch(curves).savefig(folder / "accuracy.png", dpi=110)


def _misclassified(judged: Judged, classes: Sequence[str]) -> Captioned:
    """Return the super-images of the most surely misclassified items, with captions."""
    label, chosen = judged.truth.argmax(axis=1), judged.scores.argmax(axis=1)
    surest = np.argsort(-judged.scores.max(axis=1), kind="stable")
    return [
        (
            decode_jpeg(files.superimage(judged.videos[i]).read_bytes()),
            f"{judged.name}: {judged.videos[i][-24:]}\n{classes[label[i]]}, taken for "
            f"{classes[chosen[i]]} ({judged.scores[i, chosen[i]]:.2f})",
        )
        for i in surest[label[surest] != chosen[surest]][:MOST_WRONG]
    ]


def _examples(
    videos: NDArray[Any],
    truth: NDArray[np.int64],
    scores: NDArray[np.floating[Any]],
    classes: Sequence[str],
    column: int,
) -> Image:
    """Draw the best, the worst and the most confidently wrong super-images of a class."""
    surest = np.argsort(-scores[:, column], kind="stable")
    have = surest[truth[surest, column] == 1]
    lack = surest[truth[surest, column] == 0]

    def shown(chosen: NDArray[np.intp]) -> Captioned:
        return [
            (
                decode_jpeg(files.superimage(videos[i]).read_bytes()),
                f"{videos[i]}   p {scores[i, column]:.2f}\n"
                f"labels: {label_names(truth[i], classes)}",
            )
            for i in chosen
        ]

    rows = {
        "best: it is there, and surest": shown(have[:SHOWN]),
        "worst: it is there, and least sure": shown(have[::-1][:SHOWN]),
        "most confidently wrong: it is not there, and surest": shown(lack[:SHOWN]),
    }
    return examples.sheet(plots.class_title(classes[column]), rows)


def label_names(row: NDArray[np.int64], classes: Sequence[str]) -> str:
    """Return the names of an item's classes as a caption has them.

    Args:
        row: 0 or 1, `[classes]`.
        classes: Names in the order of the columns.
    """
    return ", ".join(name for name, has in zip(classes, row, strict=True) if has) or "none"


def _safe(name: str) -> str:
    """Return a class name as part of a file's name."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
