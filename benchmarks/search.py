"""How fast frames are found, and what adding some costs, with made-up embeddings.

    python benchmarks/search.py [--frames 100000] [--dimensions 512] [--new 100]

Embeddings are drawn around as many centres as there are videos, a video's frames around one, as
frames of one video are alike. Each query is drawn around a centre of its own choice. What Chroma
finds is compared with a whole comparison by NumPy: the share of the ten nearest that are found.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from qvpipe.search.collection import Collection
from qvpipe.search.embedder import Vectors
from qvpipe.search.embeddings import file

PER_VIDEO = 27
NEAREST = 10
GOAL_MS = 50


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--frames", type=int, default=100_000, help="default: %(default)s")
    parser.add_argument("--dimensions", type=int, default=512, help="default: %(default)s")
    parser.add_argument("--new", type=int, default=100, help="videos; default: %(default)s")
    parser.add_argument("--queries", type=int, default=200, help="default: %(default)s")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    videos = -(-arguments.frames // PER_VIDEO)
    centres = _unit(rng.normal(size=(videos + arguments.new, arguments.dimensions)))
    with tempfile.TemporaryDirectory() as folder:
        embedded, place = Path(folder) / "embedded", Path(folder) / "chroma"
        embedded.mkdir()
        vectors = [_write(embedded, number, centres[number], rng) for number in range(videos)]
        _update(place, embedded, f"{len(vectors) * PER_VIDEO} frames added")
        _update(place, embedded, "nothing added")
        new = range(videos, videos + arguments.new)
        vectors += [_write(embedded, number, centres[number], rng) for number in new]
        collection = _update(place, embedded, f"{arguments.new * PER_VIDEO} frames more")
        queries = _around(centres[rng.integers(0, len(centres), arguments.queries)], rng)
        _query(collection, np.concatenate(vectors), queries)


def _query(collection: Collection, vectors: Vectors, queries: Vectors) -> None:
    collection.query(queries[0], NEAREST)
    chroma: dict[str, list[float]] = {"wall": [], "CPU": []}
    numpy: dict[str, list[float]] = {"wall": [], "CPU": []}
    found = 0
    for query in queries:
        with _clock(chroma):
            hits = collection.query(query, NEAREST)
        with _clock(numpy):
            nearest = set(np.argpartition(-(vectors @ query), NEAREST)[:NEAREST].tolist())
        found += len(nearest & {int(hit.video) * PER_VIDEO + hit.frame for hit in hits})
    for name, milliseconds in (("a query", chroma), ("NumPy on all of them", numpy)):
        shown = ", ".join(
            f"{kind} median {statistics.median(values):.1f} ms, "
            f"95 % below {np.quantile(values, 0.95):.1f} ms"
            for kind, values in milliseconds.items()
        )
        print(f"{name}: {shown}")
    print(f"goal: {GOAL_MS} ms; found of the {NEAREST} nearest: ", end="")
    print(f"{100 * found / NEAREST / len(queries):.1f} %")


def _update(place: Path, embedded: Path, what: str) -> Collection:
    """Bring the collection up to date and say how long that takes, with opening it."""
    milliseconds: dict[str, list[float]] = {"wall": [], "CPU": []}
    with _clock(milliseconds):
        collection = Collection(place)
        collection.update(embedded, {})
    shown = ", ".join(f"{kind} {values[0] / 1000:.2f} s" for kind, values in milliseconds.items())
    print(f"{what}: {shown}", flush=True)
    return collection


@contextmanager
def _clock(milliseconds: dict[str, list[float]]) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    milliseconds["wall"].append(1000 * (time.perf_counter() - wall))
    milliseconds["CPU"].append(1000 * (time.process_time() - cpu))


def _write(
    folder: Path, number: int, centre: NDArray[np.float64], rng: np.random.Generator
) -> Vectors:
    """Write the embeddings of a video and return them."""
    vectors = _around(np.broadcast_to(centre, (PER_VIDEO, len(centre))), rng)
    content: dict[str, NDArray[Any]] = {
        "vectors": vectors,
        "frames": np.arange(PER_VIDEO),
        "positions": np.arange(PER_VIDEO),
        "times": np.arange(PER_VIDEO) / 2,
    }
    path = file(folder, str(number))
    safetensors.numpy.save_file(content, path, {"origin": "made up", "embedder": "none"})
    return vectors


def _around(centres: NDArray[np.float64], rng: np.random.Generator) -> Vectors:
    """Return embeddings with a cosine of about 0.8 to their centres."""
    noise = rng.normal(size=centres.shape) * 0.75 / np.sqrt(centres.shape[1])
    return _unit(centres + noise).astype(np.float32)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


if __name__ == "__main__":
    main()
