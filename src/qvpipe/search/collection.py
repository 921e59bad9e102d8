"""Embeddings in a Chroma collection, so that the nearest are found among very many."""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from qvpipe.errors import QvpipeError, one_line
from qvpipe.search import embeddings
from qvpipe.search.embedder import Vectors, missing_extra
from qvpipe.search.embeddings import ENDING

if TYPE_CHECKING:
    import chromadb

NAME = "frames"

EF_SEARCH = 200
"""How widely Chroma looks for neighbours; see benchmarks/RESULTS.md."""

BATCH = 1000
"""Frames that Chroma takes at once."""

VIDEOS = 100
"""Videos whose embeddings are read at once."""

STAMP = "up-to-date"
"""File beside Chroma's own that says what the collection was last made from."""


@dataclass(frozen=True)
class Hit:
    """A frame that was found."""

    video: str
    frame: int
    """Which picture of the video it is, from 0."""
    position: int
    """Its place among the video's stored frames."""
    time_s: float
    labels: tuple[str, ...]
    similarity: float
    """Cosine of the angle between the embeddings of frame and query, in [-1, 1]."""


@dataclass(frozen=True)
class Changes:
    """How many frames an update has touched."""

    added: int = 0
    removed: int = 0
    relabelled: int = 0


class Collection:
    """Frames with their embeddings; the id of each is `<video>#<frame>`."""

    def __init__(self, folder: Path) -> None:
        """Open a collection; one that is not there is made and is empty.

        Args:
            folder: Where Chroma keeps it. Chroma writes there even to read.

        Raises:
            QvpipeError: If Chroma is not installed, or cannot open what lies there.
        """
        try:
            import chromadb
            from chromadb.config import Settings
        except ImportError:
            raise missing_extra() from None
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        with _readable(folder):
            self._client = chromadb.PersistentClient(folder, Settings(anonymized_telemetry=False))
            self._frames = self._open()

    def __len__(self) -> int:
        """Return the number of frames."""
        return self._frames.count()

    def update(self, folder: Path, labels: Mapping[str, Sequence[str]]) -> Changes:
        """Make the collection hold the embeddings of a folder, and no others.

        Only what is new or has changed is added, so an update that was killed goes on where it
        was, and one without changes asks Chroma nothing.

        Args:
            folder: Of embeddings, a file for each video.
            labels: Names of the classes that each video shows.
        """
        paths = {path.stem: path for path in sorted(folder.glob(f"[!.]*{ENDING}"))}
        stamp = _stamp(list(paths.values()), labels)
        if _read(self._folder / STAMP) == stamp:
            return Changes()
        # Without it, an update that is killed is no match for what the collection held before.
        (self._folder / STAMP).unlink(missing_ok=True)
        origins = {video: embeddings.read_origin(path) for video, path in paths.items()}
        with _readable(self._folder):
            held = self._held()
            kept = _whole(held, origins)
            removed = [id_ for id_, facts in held.items() if facts["video"] not in kept]
            self._remove(removed, all_of_them=not kept)
            relabelled = self._relabel(
                {id_: facts for id_, facts in held.items() if facts["video"] in kept}, labels
            )
            added = 0
            new = [video for video in paths if video not in kept]
            with tqdm(total=len(new), desc="collection", unit="video", disable=not new) as bar:
                for part in _parts(new, VIDEOS):
                    added += self._add(part, paths, origins, labels)
                    bar.update(len(part))
        (self._folder / STAMP).write_text(stamp, encoding="utf-8")
        return Changes(added, len(removed), relabelled)

    def query(self, vector: Vectors, count: int) -> list[Hit]:
        """Return the frames whose embeddings are most like one, the most similar first.

        Args:
            vector: Of length 1, `[dimensions]`.
            count: How many are wanted, 1 or more.
        """
        with _readable(self._folder):
            found = self._frames.query(
                query_embeddings=vector[np.newaxis],
                n_results=count,
                include=["distances", "metadatas"],
            )
        facts, distances = found["metadatas"], found["distances"]
        assert facts is not None
        assert distances is not None
        return [_hit(one, distance) for one, distance in zip(facts[0], distances[0], strict=True)]

    def _open(self) -> "chromadb.Collection":
        return self._client.get_or_create_collection(
            NAME,
            configuration={"hnsw": {"space": "cosine", "ef_search": EF_SEARCH}},
            embedding_function=None,
        )

    def _held(self) -> dict[str, Mapping[str, Any]]:
        """Return what is known of every frame, by its id."""
        held: dict[str, Mapping[str, Any]] = {}
        for start in range(0, len(self), BATCH):
            found = self._frames.get(include=["metadatas"], limit=BATCH, offset=start)
            held |= zip(found["ids"], found["metadatas"] or (), strict=True)
        return held

    def _remove(self, ids: Sequence[str], all_of_them: bool) -> None:
        if all_of_them:
            # Another embedder may have other dimensions, and a collection has its own for life.
            self._client.delete_collection(NAME)
            self._frames = self._open()
            return
        for part in _parts(ids):
            self._frames.delete(ids=part)

    def _relabel(
        self, held: Mapping[str, Mapping[str, Any]], labels: Mapping[str, Sequence[str]]
    ) -> int:
        changed = {
            id_: {"labels": text}
            for id_, facts in held.items()
            if facts["labels"] != (text := _as_text(labels.get(facts["video"], ())))
        }
        for part in _parts(list(changed)):
            self._frames.update(ids=part, metadatas=[changed[id_] for id_ in part])
        return len(changed)

    def _add(
        self,
        videos: Sequence[str],
        paths: Mapping[str, Path],
        origins: Mapping[str, str],
        labels: Mapping[str, Sequence[str]],
    ) -> int:
        ids: list[str] = []
        vectors: list[Vectors] = []
        facts: list[chromadb.Metadata] = []
        for video in videos:
            found = embeddings.read(paths[video])
            vectors.append(found.vectors)
            for frame, position, time in zip(
                found.frames.tolist(), found.positions.tolist(), found.times.tolist(), strict=True
            ):
                ids.append(f"{video}#{frame}")
                facts.append(
                    {
                        "video": video,
                        "frame": frame,
                        "position": position,
                        "time_s": time,
                        "labels": _as_text(labels.get(video, ())),
                        "origin": origins[video],
                        "of": len(found.frames),
                    }
                )
        for start in range(0, len(ids), BATCH):
            part = slice(start, start + BATCH)
            self._frames.upsert(
                ids=ids[part],
                embeddings=np.concatenate(vectors)[part],
                metadatas=facts[part],
            )
        return len(ids)


def _whole(held: Mapping[str, Mapping[str, Any]], origins: Mapping[str, str]) -> set[str]:
    """Return the videos of which every frame is there as it should be."""
    counts = Counter(
        facts["video"] for facts in held.values() if origins.get(facts["video"]) == facts["origin"]
    )
    strays = {
        facts["video"] for facts in held.values() if origins.get(facts["video"]) != facts["origin"]
    }
    return {
        facts["video"]
        for facts in held.values()
        if facts["video"] not in strays and counts[facts["video"]] == facts["of"]
    }


def _hit(facts: Mapping[str, Any], distance: float) -> Hit:
    # Arithmetic in single precision leaves the range by its last digit.
    similarity = min(1.0, max(-1.0, 1.0 - distance))
    return Hit(
        facts["video"],
        facts["frame"],
        facts["position"],
        facts["time_s"],
        tuple(json.loads(facts["labels"])),
        similarity,
    )


def _as_text(labels: Sequence[str]) -> str:
    return json.dumps(list(labels))


def _parts(items: Sequence[str], size: int = BATCH) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _stamp(paths: Sequence[Path], labels: Mapping[str, Sequence[str]]) -> str:
    """Return a hash of what a collection is made from, without opening a file of it."""
    digest = hashlib.sha256(json.dumps(dict(labels), sort_keys=True).encode())
    for path in paths:
        facts = path.stat()
        digest.update(f"{path.name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Say in one sentence that Chroma cannot work with what lies in a folder."""
    from chromadb.errors import ChromaError

    try:
        yield
    except (ChromaError, OSError, ValueError) as error:
        raise QvpipeError(
            f"Chroma cannot use the collection in {folder} ({one_line(error)}); remove that "
            "folder, and the same command makes it again"
        ) from error
