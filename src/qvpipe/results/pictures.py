"""The pictures of an ensemble that people look at, in one folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qvpipe import files
from qvpipe.results import examples, plots
from qvpipe.video.images import Image, decode_jpeg, encode_jpeg

SHOWN = 4
"""Super-images in a row of examples."""

QUALITY = 85
"""Of the JPEGs of examples."""


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

    def shown(chosen: NDArray[np.intp]) -> examples.Captioned:
        return [
            (
                decode_jpeg(files.superimage(videos[i]).read_bytes()),
                f"{videos[i]}   p {scores[i, column]:.2f}\nlabels: {_labels(truth[i], classes)}",
            )
            for i in chosen
        ]

    rows = {
        "best: it is there, and surest": shown(have[:SHOWN]),
        "worst: it is there, and least sure": shown(have[::-1][:SHOWN]),
        "most confidently wrong: it is not there, and surest": shown(lack[:SHOWN]),
    }
    return examples.sheet(plots.class_title(classes[column]), rows)


def _labels(row: NDArray[np.int64], classes: Sequence[str]) -> str:
    return ", ".join(name for name, has in zip(classes, row, strict=True) if has) or "none"


def _safe(name: str) -> str:
    """Return a class name as part of a file's name."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
