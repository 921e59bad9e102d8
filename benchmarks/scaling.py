"""How the work on videos scales with processes, and what handing it to processes costs.

    python benchmarks/scaling.py FOLDER [--workers 2] [--count 27] [--rounds 3]

Prints, for the videos of a folder: videos a second with one process and with several, their ratio,
and the milliseconds that an item costs in `qvpipe.compute.pool.each` and in a pool of
concurrent.futures where the work is nothing. Starting the processes is a figure of its own: the
others are counted from when as many results are there as there are processes.
Rounds alternate, so that a machine whose speed changes favours neither; the median counts.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from qvpipe.compute.pool import each
from qvpipe.config import ComputeSettings
from qvpipe.video.find import find_videos
from qvpipe.video.reader import VideoError, sample_frames

NOTHINGS = 2000


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--count", type=int, default=27, help="frames; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    arguments = parser.parse_args()
    videos = find_videos(arguments.folder)
    work = partial(read, count=arguments.count)

    rates: dict[int, list[float]] = {1: [], arguments.workers: []}
    for _ in range(arguments.rounds):
        for workers, measured in rates.items():
            measured.append(_rate(in_each(work, videos, workers), len(videos), workers))
    median = {workers: statistics.median(measured) for workers, measured in rates.items()}
    print(f"{len(videos)} videos, {arguments.count} frames each")
    for workers, rate in median.items():
        print(f"{workers:3} processes {rate:8.2f} videos/s   ratio {rate / median[1]:.2f}")

    print(f"{'work that is nothing':24}{'first result, s':>16}{'an item, ms':>13}")
    engines: dict[str, Callable[[], Iterator[int]]] = {
        "each": lambda: in_each(nothing, range(NOTHINGS), arguments.workers),
        "concurrent.futures": lambda: in_futures(nothing, range(NOTHINGS), arguments.workers),
    }
    for name, run in engines.items():
        start = time.perf_counter()
        results = run()
        next(results)
        first = time.perf_counter() - start
        rest = [_rate(run(), NOTHINGS, arguments.workers) for _ in range(arguments.rounds)]
        print(f"{name:24}{first:16.2f}{1000 / statistics.median(rest):13.3f}")


def in_each(
    work: Callable[[Path], int] | Callable[[int], int],
    items: Sequence[Path] | Sequence[int],
    workers: int,
) -> Iterator[int]:
    """Work as the stages do: in processes that may crash or hang."""
    settings = ComputeSettings(workers=workers)
    return each(work, items, settings, "", timeout_s=300, ahead=256)  # type: ignore[arg-type]


def in_futures(work: Callable[[int], int], items: Sequence[int], workers: int) -> Iterator[int]:
    """Work in a pool that a crash ends."""
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from pool.map(work, items)


def read(path: Path, count: int) -> int:
    """Take the frames of a video and return how many."""
    try:
        return len(sample_frames(path, count).frames)
    except VideoError:
        return 0


def nothing(number: int) -> int:
    """Return what was given."""
    return number


def _rate(results: Iterator[int], count: int, workers: int) -> float:
    """Return the results a second once all processes have started."""
    for _ in range(workers):
        next(results)
    start = time.perf_counter()
    for _ in results:
        pass
    return (count - workers) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
