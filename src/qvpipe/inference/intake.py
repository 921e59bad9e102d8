"""What is let in: which files a model reads, wherever their names came from."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2

from qvpipe.config import Settings
from qvpipe.inputs import Examined, Views, examine, video_views
from qvpipe.video.reader import VideoError, probe, promised_length_s


@dataclass(frozen=True)
class Looked:
    """A video file of which more is to be told than what its members see.

    Attributes:
        examined: Its frames, as large as they are stored.
        views: What each member sees.
        duration_s: Its length in seconds.
    """

    examined: Examined
    views: Mapping[str, Views]
    duration_s: float


Seen = Mapping[str, Views] | VideoError
"""What each member sees of a video, or why it cannot be read."""

ALLOWED_FOLDER = "QVPIPE_ALLOWED_FOLDER"
"""Environment variable: the folder outside which no path is read. A model that is served reads no
path at all without it, only bytes."""

SERVED = "_MLFLOW_IS_IN_SERVING_ENVIRONMENT"
"""Environment variable that MLflow's server sets for itself."""

LONGEST_S = 4 * 3600
"""Longest video that is read, in seconds."""


def see(video: str, settings: Settings, members: Sequence[str]) -> Seen:
    """Return what each member sees of a video, given as a path that may come from anybody."""
    try:
        return see_file(permitted(video), settings, members)
    except VideoError as error:
        return error


def see_file(path: Path, settings: Settings, members: Sequence[str]) -> Seen:
    """Return what each member sees of a file, given as a whole path."""
    try:
        with decoding(path):
            check_length(path)
            return video_views(path, settings, members)
    except VideoError as error:
        return error


def look(video: str, settings: Settings) -> Looked | VideoError:
    """Return the frames of a video, given as a path that may come from anybody."""
    try:
        path = permitted(video)
        with decoding(path):
            check_length(path)
            examined = examine(path, settings)
            # One array instead of two goes from process to process.
            sample = replace(examined.sample, frames=examined.stored.frames)
            return Looked(
                replace(examined, sample=sample),
                examined.views(settings, settings.voters),
                probe(path).duration_s,
            )
    except VideoError as error:
        return error


def lost(video: str, reason: str) -> VideoError:
    """Return why a video cannot be read that was given up; see `compute.pool.each`."""
    return VideoError(f"{Path(video).name} {reason}")


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn whatever a hostile file makes decoders raise into a `VideoError`."""
    try:
        yield
    except (OSError, ValueError, MemoryError, cv2.error) as error:
        raise VideoError(
            f"{path.name} cannot be decoded ({type(error).__name__}: {error})"
        ) from error


def permitted(video: str) -> Path:
    """Return the whole path of a video if it may be read.

    A whole path is never taken for one of FFmpeg's protocols, such as `concat:` or `http:`.

    Raises:
        VideoError: If the path may not be read.
    """
    if not video.isprintable():
        raise VideoError(
            f"the file name {video!r} holds characters that cannot be shown; rename the file"
        )
    path = Path(video).resolve()
    folder = os.environ.get(ALLOWED_FOLDER)
    if folder is None and os.environ.get(SERVED) == "true":
        raise VideoError(
            f"this server reads no paths; send the video's bytes, or start it with {ALLOWED_FOLDER}"
        )
    if folder is not None and not path.is_relative_to(Path(folder).resolve()):
        raise VideoError(
            f"{video} lies outside the folder that may be read; put it there, or set "
            f"{ALLOWED_FOLDER} to where it is"
        )
    return path


def check_length(path: Path) -> None:
    """Look at a file's header before anything of it is decoded.

    Raises:
        VideoError: If the file is neither a video nor an image, or promises more than fits into
            the time there is.
    """
    length_s = promised_length_s(path)
    if length_s > LONGEST_S:
        raise VideoError(
            f"{path.name} is {length_s / 3600:.1f} hours long; the longest that is read is "
            f"{LONGEST_S // 3600} hours, so cut it into parts"
        )
