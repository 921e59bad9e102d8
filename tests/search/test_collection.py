import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray

from qvpipe.errors import QvpipeError
from qvpipe.search.collection import Changes, Collection
from qvpipe.search.embedder import Vectors
from qvpipe.search.embeddings import file

pytestmark = pytest.mark.slow

LABELS: Mapping[str, Sequence[str]] = {"a": ["crack"], "b": ["roots", "deposit"]}


def unit(count: int, dimensions: int = 16, seed: int = 0) -> Vectors:
    """Return vectors of length 1."""
    vectors = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    normalised: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normalised


def put(folder: Path, video: str, vectors: Vectors, origin: str = "1") -> None:
    """Write embeddings as the stage does."""
    folder.mkdir(exist_ok=True)
    content: dict[str, NDArray[Any]] = {
        "vectors": vectors,
        "frames": 10 * np.arange(len(vectors)),
        "positions": np.arange(len(vectors)),
        "times": 0.4 * np.arange(len(vectors)),
    }
    metadata = {"origin": origin, "embedder": "test"}
    safetensors.numpy.save_file(content, file(folder, video), metadata)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the embeddings of two videos."""
    put(tmp_path / "embedded", "a", unit(30))
    put(tmp_path / "embedded", "b", unit(20, seed=1))
    return tmp_path / "embedded"


def ids(collection: Collection, dimensions: int = 16) -> set[tuple[str, int]]:
    found = collection.query(unit(1, dimensions)[0], 10_000)
    return {(hit.video, hit.frame) for hit in found}


def test_similarities_are_those_of_numpy(folder: Path, tmp_path: Path) -> None:
    collection = Collection(tmp_path / "chroma")
    collection.update(folder, LABELS)
    vectors = np.concatenate([unit(30), unit(20, seed=1)])
    queries = np.concatenate([unit(5, seed=2), vectors[:1], -vectors[:1]])
    for query in queries:
        hits = collection.query(query, 50)
        assert [hit.similarity for hit in hits] == pytest.approx(
            np.sort(vectors @ query)[::-1], abs=1e-6
        )
        best = int(np.argmax(vectors @ query))
        assert (hits[0].video, hits[0].position) == (("a", best) if best < 30 else ("b", best - 30))
        assert all(-1 <= hit.similarity <= 1 for hit in hits)


def test_a_hit_tells_video_frame_time_and_labels(folder: Path, tmp_path: Path) -> None:
    collection = Collection(tmp_path / "chroma")
    assert collection.update(folder, LABELS) == Changes(added=50)
    (hit,) = collection.query(unit(20, seed=1)[7], 1)
    assert (hit.video, hit.frame, hit.position) == ("b", 70, 7)
    assert hit.time_s == pytest.approx(2.8)
    assert hit.labels == ("roots", "deposit")
    assert hit.similarity == pytest.approx(1, abs=1e-6)


def test_only_what_has_changed_is_touched(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "chroma"
    Collection(place).update(folder, LABELS)
    assert Collection(place).update(folder, LABELS) == Changes()
    put(folder, "c", unit(5, seed=2))
    assert Collection(place).update(folder, LABELS) == Changes(added=5)
    put(folder, "a", unit(3, seed=3), origin="2")
    file(folder, "b").unlink()
    collection = Collection(place)
    assert collection.update(folder, LABELS) == Changes(added=3, removed=50)
    assert ids(collection) == {(v, 10 * i) for v, n in (("a", 3), ("c", 5)) for i in range(n)}
    (hit,) = collection.query(unit(3, seed=3)[2], 1)
    assert (hit.video, hit.frame) == ("a", 20)
    assert collection.update(folder, {**LABELS, "c": ["crack"]}) == Changes(relabelled=5)
    assert collection.query(unit(5, seed=2)[0], 1)[0].labels == ("crack",)


def test_after_a_failure_nothing_is_taken_for_up_to_date(folder: Path, tmp_path: Path) -> None:
    collection = Collection(tmp_path / "chroma")
    collection.update(folder, LABELS)
    shutil.copytree(folder, tmp_path / "before")
    put(folder, "a", unit(3, seed=3), origin="2")
    safetensors.numpy.save_file({"vectors": unit(2)}, file(folder, "c"), {"origin": "1"})
    with pytest.raises(QvpipeError, match=r"c\.safetensors cannot be read"):
        collection.update(folder, LABELS)
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "before", folder)  # with the times of change of before
    assert collection.update(folder, LABELS) == Changes(added=30)


def test_an_embedder_of_other_dimensions_takes_the_place(folder: Path, tmp_path: Path) -> None:
    collection = Collection(tmp_path / "chroma")
    collection.update(folder, LABELS)
    for video in "ab":
        put(folder, video, unit(4, dimensions=8), origin="2")
    assert collection.update(folder, LABELS) == Changes(added=8, removed=50)
    assert len(ids(collection, dimensions=8)) == 8


def test_a_killed_update_goes_on(tmp_path: Path) -> None:
    folder, place = tmp_path / "embedded", tmp_path / "chroma"
    for number in range(1500):
        put(folder, f"v{number:04}", unit(2, seed=number))
    code = (
        "from pathlib import Path; from qvpipe.search.collection import Collection;"
        f"Collection(Path({str(place)!r})).update(Path({str(folder)!r}), {{}})"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.DEVNULL, start_new_session=True
    )
    database = place / "chroma.sqlite3"
    while running.poll() is None and not (
        database.is_file() and database.stat().st_size > 1_000_000
    ):
        time.sleep(0.001)
    os.killpg(running.pid, signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    collection = Collection(place)
    left = len(collection)
    assert 0 < left < 3_000
    changes = collection.update(folder, {})
    assert len(collection) == 3_000
    assert changes.added == 3_000 - left + changes.removed
    assert changes.added < 3_000
    for number in (0, 700, 1499):
        (hit,) = collection.query(unit(2, seed=number)[1], 1)
        assert (hit.video, hit.frame) == (f"v{number:04}", 10)


def test_what_is_no_collection_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "chroma.sqlite3").write_bytes(b"this is no database\n" * 500)
    with pytest.raises(QvpipeError, match=r"Chroma cannot use .* remove that folder") as caught:
        Collection(tmp_path)
    assert "\n" not in str(caught.value)


def test_without_chroma_one_sentence_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "chromadb", None)
    with pytest.raises(QvpipeError, match=r"pip install -r requirements-search\.txt"):
        Collection(tmp_path / "chroma")
