"""Prediction of many files: what `qvpipe predict` does."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from qvpipe.compute.pool import each
from qvpipe.config import ComputeSettings
from qvpipe.errors import QvpipeError
from qvpipe.inference.intake import lost, see
from qvpipe.inference.journal import Journal
from qvpipe.inference.predictor import Options, Prediction, Predictor
from qvpipe.inference.tables import check_names, choose_writer
from qvpipe.video.find import find_videos

STDIN = "-"
"""Stands for a list of paths on standard input."""


def collect(paths: Iterable[str], listed: Iterable[str]) -> list[str]:
    """Return the videos that are meant, each once, in order.

    Args:
        paths: Files, folders, patterns such as `*.mp4`, or `-`.
        listed: What `-` stands for: a path on each line. Unlike one that was typed, a path here
            that does not exist is left to become a failed row.

    Raises:
        QvpipeError: If a path does not exist, a folder holds no video, or the list is empty.
    """
    videos = list(dict.fromkeys(_collect(paths, listed)))
    if not videos:
        raise QvpipeError("standard input lists no video; it holds a path on each line")
    return videos


def predict_files(
    videos: Sequence[str],
    predictor: Predictor,
    options: Options,
    model: str,
    out: Path,
    compute: ComputeSettings,
) -> list[Prediction]:
    """Predict videos and write them to a file; what a killed run has done is not done again.

    Processes read the videos, the networks work, and what is done is written down, all at once.

    Args:
        videos: Paths.
        predictor: The ensemble.
        options: How to predict.
        model: Names the version of the model.
        out: The file; its name chooses the form.
        compute: Number of processes.

    Returns:
        The predictions, in the order of the videos.

    Raises:
        QvpipeError: If no form is known for that name.
    """
    write = choose_writer(out)
    check_names(out, videos)
    asked = {"model": model, "thresholds": dict(options.thresholds), "tta": options.tta}
    with Journal(out, asked | {"members": list(options.members)}) as journal:
        left = [video for video in videos if journal.get(video) is None]
        work = partial(see, settings=predictor.settings, members=options.members)
        seen = each(
            work, left, compute, "predict",
            timeout_s=predictor.settings.frames.timeout_s, lost=lost,
        )  # fmt: skip
        for prediction in predictor.predict(zip(left, seen, strict=True), options):
            journal.add(prediction)
        predictions = [found for video in videos if (found := journal.get(video)) is not None]
        write(out, predictions, predictor.classes)
    return predictions


def _collect(paths: Iterable[str], listed: Iterable[str]) -> Iterator[str]:
    for path in paths:
        if path == STDIN:
            for line in listed:
                if name := line.rstrip("\r\n"):
                    yield from map(str, find_videos(Path(name))) if Path(name).is_dir() else [name]
        elif not Path(path).exists() and (matches := _matches(Path(path))):
            for match in matches:
                yield from map(str, find_videos(match))
        else:
            yield from map(str, find_videos(Path(path)))


def _matches(pattern: Path) -> list[Path]:
    """Return what matches a pattern that the shell left as it is, `**` and all."""
    base = Path(pattern.anchor)
    return sorted(base.glob(str(pattern.relative_to(base))))
