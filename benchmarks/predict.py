"""How well reading, networks and writing overlap, videos a second, and the time of one video.

    python benchmarks/predict.py MODEL VIDEOS [--workers 1] [--threads 1] [--limit 40]

MODEL is a registered model (`models:/qvpipe@champion`) or the folder of a bundle, VIDEOS a folder.
It measures reading alone, the networks alone on what was read, and the whole of `qvpipe predict`,
each from the first video that is read to the last row. On a machine without a GPU the networks
and the reading share the cores: take as many workers and threads together as it has cores, so
that each alone has what it has in the whole.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from qvpipe.compute.pool import each
from qvpipe.config import ComputeSettings
from qvpipe.inference import predictor
from qvpipe.inference.batch import collect, predict_files
from qvpipe.inference.intake import see
from qvpipe.inference.predictor import Predictor

GOAL = 1.15


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("videos")
    parser.add_argument("--workers", type=int, default=1, help="processes; default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="of torch; default: %(default)s")
    parser.add_argument("--limit", type=int, default=40, help="videos; default: %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = _load(arguments.model)
    videos = collect([arguments.videos], [])[: arguments.limit]
    compute = ComputeSettings(workers=arguments.workers)
    seconds: dict[str, list[float]] = {"reading": [], "networks": [], "whole": [], "one": []}
    for _ in range(arguments.repeats):
        _measure(model, videos, compute, seconds)
    best = {name: min(found) for name, found in seconds.items()}
    print(f"{'':28}{'seconds':>9}{'videos/s':>10}")
    for name in ("reading", "networks", "whole"):
        print(f"{name:28}{best[name]:9.2f}{len(videos) / best[name]:10.2f}")
    slower = max(best["reading"], best["networks"])
    print(f"{'whole / slower of the two':28}{best['whole'] / slower:9.2f}   goal: {GOAL}")
    print(f"{'one video, median':28}{statistics.median(seconds['one']):9.2f}")


def _measure(
    model: Predictor, videos: list[str], compute: ComputeSettings, seconds: dict[str, list[float]]
) -> None:
    work = partial(see, settings=model.settings, members=list(model.networks))
    with _clock(seconds["reading"].append):
        seen = list(each(work, videos, compute, "reading"))
    with _clock(seconds["networks"].append):
        list(model.predict(zip(videos, seen, strict=True)))
    with _clock(seconds["whole"].append), tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.csv"
        predict_files(videos, model, model.options(), "benchmark", out, compute)
    with _clock(seconds["one"].append):
        list(model.predict([(videos[0], see(videos[0], model.settings, list(model.networks)))]))


def _load(model: str) -> Predictor:
    if (Path(model) / "ensemble.json").exists():
        return predictor.load(Path(model))
    from qvpipe import tracking

    return tracking.load_model(model).unwrap_python_model().predictor  # type: ignore[no-any-return]


@contextmanager
def _clock(report: Callable[[float], object]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    report(time.perf_counter() - start)


if __name__ == "__main__":
    main()
