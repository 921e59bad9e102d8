"""Predictions as files: CSV, JSON, Parquet and the challenge's submission."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from qvpipe import files
from qvpipe.config import RESERVED_COLUMNS
from qvpipe.errors import QvpipeError
from qvpipe.inference.predictor import Prediction

CHALLENGE = "test_result.json"
"""The file name that the challenge asks for, and that chooses its form."""

FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet takes for the beginning of a formula, which it would run."""

Write = Callable[[Path, Sequence[Prediction], Sequence[str]], None]
"""Writes predictions and names of classes to a path."""


def as_table(predictions: Sequence[Prediction], classes: Sequence[str]) -> pd.DataFrame:
    """Return a row for each video: `video`, `status`, `error`, the classes, `labels` (a list)."""
    *first, last = RESERVED_COLUMNS
    rows = [prediction.row() for prediction in predictions]
    return pd.DataFrame(rows, columns=[*first, *classes, last])


def choose_writer(out: Path) -> Write:
    """Return what writes a file of that name.

    Raises:
        QvpipeError: If the name's ending says no known form.
    """
    if out.name == CHALLENGE:
        return _write_challenge
    writers = {".csv": _write_csv, ".json": _write_json, ".parquet": _write_parquet}
    if out.suffix.lower() not in writers:
        raise QvpipeError(
            f"{out.name} says no form that is known; let it end in {', '.join(writers)}, or name "
            f"it {CHALLENGE} for the challenge"
        )
    return writers[out.suffix.lower()]


def check_names(out: Path, videos: Sequence[str]) -> None:
    """Make sure that a file of that form can hold these videos.

    Raises:
        QvpipeError: If the challenge's form would name two of them alike.
    """
    if out.name != CHALLENGE:
        return
    names = Counter(Path(video).name for video in videos)
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        raise QvpipeError(
            f"two videos are called {twice}, and {CHALLENGE} has file names alone; predict their "
            "folders one by one"
        )


def _write_csv(path: Path, predictions: Sequence[Prediction], classes: Sequence[str]) -> None:
    table = as_table(predictions, classes)
    table["labels"] = table["labels"].map("; ".join)
    for name in RESERVED_COLUMNS:
        table[name] = table[name].map(lambda text: f"'{text}" if text.startswith(FORMULA) else text)
    files.write_table(path, table)


def _write_json(path: Path, predictions: Sequence[Prediction], classes: Sequence[str]) -> None:
    files.write_json(path, [prediction.row() for prediction in predictions])


def _write_parquet(path: Path, predictions: Sequence[Prediction], classes: Sequence[str]) -> None:
    with files.replacing(path) as temporary:
        as_table(predictions, classes).to_parquet(temporary, index=False)


def _write_challenge(path: Path, predictions: Sequence[Prediction], classes: Sequence[str]) -> None:
    """Write file name to probabilities; a video that failed is left out, as a guess would lie."""
    files.write_json(
        path,
        {
            Path(p.video).name: [p.probabilities[c] for c in classes]
            for p in predictions
            if not p.error
        },
    )
