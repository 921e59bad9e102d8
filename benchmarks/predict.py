"""How well reading, networks and writing overlap, videos a second, and the time of one video.

    python benchmarks/predict.py MODEL VIDEOS [--workers 1] [--threads 1] [--limit 40]

MODEL is a registered model (`models:/qvpipe@champion`) or the folder of a bundle, VIDEOS a folder.
It measures reading alone, the networks alone on what was read, both at once without anything
between them, and the whole of `qvpipe predict`, each from the first video to the last row. On a
machine without a GPU it does so twice: as they come, where networks and reading take the cores
from each other, so that no program could be faster than the CPU seconds of both divided by the
cores; and with one core for the networks alone, which stands for a device, and the others for the
reading. Take as many workers and threads together as there are cores.
"""

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qvpipe.compute.pool import each
from qvpipe.config import ComputeSettings
from qvpipe.inference.intake import Seen, lost, see

# The processes that read import this file; torch would only make their start longer.
if TYPE_CHECKING:
    from qvpipe.inference.predictor import Predictor

GOAL = 1.15


@dataclass
class Cost:
    """What runs of one kind took, in seconds."""

    clock: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Add what happens inside; ended processes that it started count too."""
        start, before = time.perf_counter(), sum(os.times()[:4])
        yield
        self.clock.append(time.perf_counter() - start)
        self.cpu.append(sum(os.times()[:4]) - before)

    @property
    def best(self) -> float:
        """Seconds of the fastest run."""
        return min(self.clock)


@dataclass
class Costs:
    """What the parts took."""

    reading: Cost = field(default_factory=Cost)
    networks: Cost = field(default_factory=Cost)
    unconnected: Cost = field(default_factory=Cost)
    whole: Cost = field(default_factory=Cost)
    one: Cost = field(default_factory=Cost)


def main() -> None:
    """Print the tables."""
    import torch

    from qvpipe.inference.batch import collect

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
    measure = partial(
        _measure, model, videos, ComputeSettings(workers=arguments.workers), arguments.repeats
    )
    cores = sorted(os.sched_getaffinity(0))
    device = str(model.device)
    _show(f"cores shared, networks on {device}", measure(), len(videos), len(cores))
    if device == "cpu" and len(cores) > 1:
        torch.set_num_threads(1)
        _keep_to(model, cores[0])
        # Threads and processes that this one starts inherit its cores.
        os.sched_setaffinity(0, cores[1:])
        _show("networks on a core of their own", measure(), len(videos), len(cores))


def _measure(
    model: "Predictor", videos: list[str], compute: ComputeSettings, repeats: int
) -> Costs:
    from qvpipe.inference.batch import predict_files

    work = partial(see, settings=model.settings, members=list(model.networks))
    timeout_s = model.settings.frames.timeout_s

    def read() -> list[Seen]:
        return list(each(work, videos, compute, "read", timeout_s=timeout_s, lost=lost))

    costs = Costs()
    for _ in range(repeats):
        with costs.reading.measure():
            seen = list(zip(videos, read(), strict=True))
        with costs.networks.measure():
            list(model.predict(seen))
        with costs.unconnected.measure(), _beside(partial(list, model.predict(seen))):
            read()
        with costs.whole.measure(), tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out.csv"
            predict_files(videos, model, model.options(), "benchmark", out, compute)
        with costs.one.measure():
            list(model.predict([(videos[0], work(videos[0]))]))
    return costs


def _show(title: str, costs: Costs, videos: int, cores: int) -> None:
    print(f"\n{title:34}{'seconds':>9}{'CPU':>9}{'videos/s':>10}")
    for name, cost in (
        ("reading", costs.reading),
        ("networks", costs.networks),
        ("both at once, unconnected", costs.unconnected),
        ("whole", costs.whole),
    ):
        print(f"{name:34}{cost.best:9.2f}{min(cost.cpu):9.2f}{videos / cost.best:10.2f}")
    slower = max(costs.reading.best, costs.networks.best)
    least = (min(costs.reading.cpu) + min(costs.networks.cpu)) / cores
    print(f"{'whole / slower of the two':34}{costs.whole.best / slower:9.2f}   goal: {GOAL}")
    print(f"{'CPU of both on all cores / slower':34}{least / slower:9.2f}")
    print(f"{'whole / both at once':34}{costs.whole.best / costs.unconnected.best:9.2f}")
    print(f"{'one video, median':34}{statistics.median(costs.one.clock):9.2f}")


def _keep_to(model: "Predictor", core: int) -> None:
    """Let whatever thread computes the networks do so on one core."""

    def keep(*_: object) -> None:
        os.sched_setaffinity(0, {core})

    for networks in model.networks.values():
        for network in networks:
            network.register_forward_pre_hook(keep)


@contextmanager
def _beside(work: Callable[[], object]) -> Iterator[None]:
    """Do work in a thread of its own meanwhile."""
    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join()


def _load(model: str) -> "Predictor":
    from qvpipe.inference import predictor

    if (Path(model) / "ensemble.json").exists():
        return predictor.load(Path(model))
    from qvpipe import tracking

    return tracking.load_model(model).unwrap_python_model().predictor  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
