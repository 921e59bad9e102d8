"""The embeddings of one video's frames: a file that says itself what it was made from."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from qvpipe import files
from qvpipe.errors import QvpipeError
from qvpipe.search.embedder import Embedder, Vectors
from qvpipe.video import store
from qvpipe.video.choose import embedded
from qvpipe.video.reader import VideoError
from qvpipe.video.store import read_facts, unpack

ENDING = ".safetensors"


def file(folder: Path, video: str) -> Path:
    """Return the file of a video's embeddings in a folder."""
    return folder / f"{video}{ENDING}"


@dataclass(frozen=True)
class Task:
    """A video whose frames are to be embedded."""

    video: str
    target: Path
    """Where the embeddings come to lie."""
    which: Literal["middle", "all"]
    embedder: str
    """What tells the embedder from others."""
    origin: str
    """Hash of all that they are made from."""


@dataclass(frozen=True)
class Embeddings:
    """The embeddings of frames of one video.

    Attributes:
        vectors: Of length 1, `[frames, dimensions]`.
        frames: Which picture of the video each is, from 0, `[frames]`.
        positions: Its place among the stored frames, `[frames]`.
        times: Seconds since the first picture, `[frames]`.
    """

    vectors: Vectors
    frames: NDArray[np.int64]
    positions: NDArray[np.int64]
    times: NDArray[np.float64]


def plan(folder: Path, which: Literal["middle", "all"], embedder: str) -> list[Task]:
    """Return what is to lie in a folder: embeddings of every video that has stored frames.

    Args:
        folder: Where.
        which: Frames of each video.
        embedder: What tells the embedder from others.
    """
    return [
        Task(path.stem, file(folder, path.stem), which, embedder, _origin(path, which, embedder))
        for path in sorted(files.FRAMES.glob("[!.]*.zip"))
    ]


def still_to_do(tasks: Sequence[Task], folder: Path) -> list[Task]:
    """Return the tasks that are not done, and remove from a folder all that is not wanted there.

    So a folder never mixes the embeddings of several embedders.
    """
    done = {task.target for task in tasks if read_origin(task.target) == task.origin}
    files.keep_only(folder, done)
    return [task for task in tasks if task.target not in done]


def embed(tasks: Sequence[Task], embedder: Embedder, batch_size: int) -> Iterator[Task]:
    """Embed the frames of videos; each file is written whole or not at all.

    Args:
        tasks: The videos.
        embedder: What embeds.
        batch_size: Pictures that are wanted together.

    Yields:
        Each task that is done.

    Raises:
        VideoError: If stored frames cannot be read.
    """
    together = batch_size if tasks and tasks[0].which == "middle" else 1
    for start in range(0, len(tasks), together):
        part = tasks[start : start + together]
        chosen = [_positions(task) for task in part]
        pictures = [
            frame
            for task, positions in zip(part, chosen, strict=True)
            for frame in unpack(files.frames_zip(task.video), positions).frames
        ]
        vectors = iter(embedder.images(pictures))
        for task, positions in zip(part, chosen, strict=True):
            _write(task, positions, np.stack([next(vectors) for _ in positions]))
            yield task


def read(path: Path) -> Embeddings:
    """Read the embeddings of a video.

    Raises:
        QvpipeError: If the file is missing or damaged.
    """
    try:
        found = safetensors.numpy.load_file(path)
        return Embeddings(found["vectors"], found["frames"], found["positions"], found["times"])
    except (OSError, KeyError, safetensors.SafetensorError) as error:
        raise QvpipeError(
            f"{path} cannot be read ({error}); remove it, and `dvc repro` makes it again"
        ) from None


def read_origin(path: Path) -> str:
    """Return the hash of what a file was made from; empty if there is no such file."""
    return _metadata(path).get("origin", "")


def read_embedder(path: Path) -> str:
    """Return what tells the embedder of a file from others; empty if there is no such file."""
    return _metadata(path).get("embedder", "")


def _positions(task: Task) -> list[int]:
    """Return which of the stored frames are embedded."""
    facts = read_facts(files.frames_zip(task.video))
    if not facts:
        raise VideoError(
            f"{files.frames_zip(task.video)} holds no frame; remove it, and `dvc repro` makes it "
            "again"
        )
    return embedded([frame.index for frame in facts], task.which)


def _write(task: Task, positions: Sequence[int], vectors: Vectors) -> None:
    facts = read_facts(files.frames_zip(task.video))
    content: dict[str, NDArray[Any]] = {
        "vectors": vectors,
        "frames": np.array([facts[i].index for i in positions], dtype=np.int64),
        "positions": np.array(positions, dtype=np.int64),
        "times": np.array([facts[i].time_s for i in positions], dtype=np.float64),
    }
    metadata = {"embedder": task.embedder, "origin": task.origin}
    with files.replacing(task.target) as temporary:
        safetensors.numpy.save_file(content, temporary, metadata)


def _origin(path: Path, which: str, embedder: str) -> str:
    made_from = [repr(store.read_origin(path)), which, embedder]
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safetensors.safe_open(path, "numpy") as opened:
            return dict(opened.metadata() or {})
    except (OSError, safetensors.SafetensorError):
        return {}
