"""How fast is training? Our loop, a plain loop, and the limit of the device, side by side.

    PYTHONPATH=src python benchmarks/train.py --out FOLDER [--compile] [--seconds 6]
    PYTHONPATH=src python benchmarks/train.py --out FOLDER --case resnet18:224:16 --rounds 3

For each backbone and size, in one process on one device:

- limit: forward, backward and optimizer step on one batch that never leaves the device, in both
  memory formats, of which the faster one counts;
- ours: `qvpipe.learning.fit` with its augmentation, moving average and schedule;
- plain: float32, JPEGs through PIL and a DataLoader, batches of four.

It writes FOLDER/train.csv line by line and then prints what the challenge's five super-image models
would cost in hours on this device. Whatever does not fit in memory is tried with half the batch; a
case that fails is a line that says so. `--quick` takes small cases. On a CPU, a second is one of
CPU time, so that other work beside it does less harm, and matrices are float32. `--rounds` measures
in turns and takes the median. Needs PyTorch, timm, NumPy, OpenCV, scikit-learn and pandas.
"""

import argparse
import contextlib
import csv
import gc
import io
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cost import operations
from qvpipe.config import BceSettings, ModelSettings, TrainSettings
from qvpipe.learning.evaluate import choose_device, choose_precision
from qvpipe.learning.fit import fit
from qvpipe.learning.items import Items
from qvpipe.learning.losses import bce
from qvpipe.learning.network import Network
from qvpipe.learning.recipe import make_optimizer

CLASSES = 17
LOSS = bce(BceSettings())


@dataclass(frozen=True)
class Case:
    """A backbone at a size, and the batch that is tried first."""

    backbone: str
    size: int
    batch: int


CASES = (
    Case("resnet18", 224, 256),
    Case("tresnet_l", 448, 64),
    Case("convnext_base", 448, 64),
    Case("convnext_base", 1344, 8),
    Case("dm_nfnet_f3", 448, 64),
    Case("dm_nfnet_f3", 1344, 8),
)
QUICK = (Case("resnet18", 66, 8), Case("convnext_atto", 66, 8))
WINNERS = (
    Case("dm_nfnet_f3", 1344, 1),
    Case("tf_efficientnet_l2", 1344, 1),
    Case("dm_nfnet_f6", 1152, 1),
    Case("convnext_base", 1344, 1),
    Case("tresnet_xl", 1344, 1),
)


@dataclass(frozen=True)
class Row:
    """A line of the table; `share` is that of the device's measured matrix rate."""

    backbone: str
    size: int
    what: str
    batch: int = 0
    channels_last: bool = False
    images_per_s: float = math.nan
    memory_gb: float = math.nan
    tflops: float = math.nan
    share: float = math.nan
    note: str = ""


@dataclass(frozen=True)
class Bench:
    """What every measurement needs: the device, its rate, and how long to measure."""

    device: torch.device
    matrix_tflops: float
    seconds: float
    compile: bool
    rounds: int

    def clock(self) -> float:
        """Return the seconds of a clock, on a CPU those in which this process computes."""
        return time.process_time() if self.device.type == "cpu" else time.perf_counter()

    def row(self, case: Case, what: str, rate: float, recipe: TrainSettings, flops: float) -> Row:
        """Return the line of a measured rate in images a second."""
        cuda = self.device.type == "cuda"
        memory = torch.cuda.max_memory_allocated() / 1e9 if cuda else math.nan
        tflops = rate * flops / 1e12
        return Row(
            case.backbone, case.size, what, recipe.batch_size, recipe.channels_last, rate, memory,
            tflops, tflops / self.matrix_tflops, "compiled" if recipe.compile else "",
        )  # fmt: skip


def main() -> None:
    """Measure every case and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for train.csv")
    parser.add_argument("--quick", action="store_true", help="small cases, for a CPU")
    parser.add_argument("--case", action="append", type=_case, help="BACKBONE:PX:BATCH")
    parser.add_argument("--rounds", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--compile", action="store_true", help="measure compiled networks too")
    parser.add_argument("--seconds", type=float, default=6, help="of each measurement")
    arguments = parser.parse_args()
    device = choose_device("auto")
    rate = matrix_tflops(device, 1024 if device.type == "cpu" else 8192)
    bench = Bench(device, rate, arguments.seconds, arguments.compile, arguments.rounds)
    print(f"{_name(device)}: {rate:.3f} TFLOP/s in matrices", flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    with (arguments.out / "train.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(Row("", 0, ""))))
        writer.writeheader()
        for case in arguments.case or (QUICK if arguments.quick else CASES):
            for row in measured(case, bench):
                rows.append(row)
                writer.writerow(asdict(row))
                file.flush()
                print(_line(row), flush=True)
    print(_hours(rows))


def measured(case: Case, bench: Bench) -> Iterator[Row]:
    """Give the lines of a case; whatever fails becomes a line too."""
    try:
        flops = step_operations(case)
        rounds = [list(_round(case, bench, flops)) for _ in range(bench.rounds)]
        for rows in zip(*rounds, strict=True):
            yield sorted(rows, key=lambda row: row.images_per_s)[len(rows) // 2]
    except Exception as error:
        message = " ".join(str(error).split())[:200]
        yield Row(case.backbone, case.size, "failed", note=f"{type(error).__name__}: {message}")
    finally:
        _clear(bench.device)


def _round(case: Case, bench: Bench, flops: float) -> Iterator[Row]:
    recipe, rate, rows = _limits(case, bench, flops)
    yield from rows
    yield _fitting(case, recipe, bench, flops, rate)
    yield bench.row(case, "plain", *_plain(case, bench), flops)


def _limits(case: Case, bench: Bench, flops: float) -> tuple[TrainSettings, float, list[Row]]:
    """Return the fastest recipe with its rate, and the lines of all that were tried."""
    batch = case.batch
    while True:
        try:
            tried = [
                TrainSettings(batch_size=batch, channels_last=last, compile=compiled)
                for compiled in ((False, True) if bench.compile else (False,))
                for last in (True, False)
            ]
            rows, rates = [], []
            for recipe in tried:
                rates.append(limit(case, recipe, bench))
                rows.append(bench.row(case, "limit", rates[-1], recipe, flops))
            best = int(np.argmax(rates))
            return tried[best], rates[best], rows
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
            batch //= 2
        _clear(bench.device)


def _fitting(case: Case, recipe: TrainSettings, bench: Bench, flops: float, expected: float) -> Row:
    """Return the line of our loop, with a smaller batch where it needs more memory."""
    while True:
        try:
            return bench.row(case, "ours", ours(case, recipe, bench, expected), recipe, flops)
        except torch.OutOfMemoryError:
            if recipe.batch_size == 1:
                raise
            recipe = replace(recipe, batch_size=recipe.batch_size // 2)
        _clear(bench.device)


def limit(case: Case, recipe: TrainSettings, bench: Bench) -> float:
    """Return images a second of steps on one batch that never leaves the device."""
    _clear(bench.device)
    network = _network(case).to(bench.device).train()
    network.lay_out(recipe.channels_last)
    optimizer = make_optimizer(network, recipe, bench.device)
    precision = choose_precision(bench.device, recipe.amp)
    batch = _items(case, recipe.batch_size, bench.device)
    pictures = next(batch.batches([torch.arange(len(batch))], bench.device))
    if recipe.compile:
        network.compile()

    def step() -> None:
        with torch.autocast(bench.device.type, precision, precision != torch.float32):
            logits = network(pictures)
        LOSS(logits, batch.targets).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return recipe.batch_size * _per_second(step, bench)


def ours(case: Case, recipe: TrainSettings, bench: Bench, expected: float) -> float:
    """Return images a second of the second epoch of `fit`; the first one warms up."""
    _clear(bench.device)
    steps = max(4, int(expected * bench.seconds / recipe.batch_size))
    count = min(steps * recipe.batch_size, 20_000 // recipe.batch_size * recipe.batch_size)
    marks: list[float] = []

    def mark(_: object) -> None:
        marks.append(bench.clock())

    fitted = fit(
        _network(case),
        _items(case, count, bench.device),
        _items(case, 2, bench.device),
        LOSS,
        replace(recipe, epochs=2),
        bench.device,
        # Nine tiles change places where the picture has nine.
        grid=3 if case.size % 3 == 0 else 1,
        on_step=mark,
        on_epoch=mark,
    )
    if bench.device.type == "cpu":
        # The marks are those of the steps of an epoch, then the epoch's own, twice over.
        return count / (marks[-2] - marks[len(marks) // 2 - 1])
    return fitted.curve[-1].items_per_s


class Jpegs(Dataset[tuple[Tensor, Tensor]]):
    """A few JPEGs, as many times as one likes, decoded by PIL."""

    def __init__(self, size: int) -> None:
        """Make them."""
        random = np.random.default_rng(0)
        self.size = size
        self.files: list[bytes] = []
        for _ in range(16):
            small = random.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8)
            picture = cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC)
            self.files.append(cv2.imencode(".jpg", picture)[1].tobytes())

    def __len__(self) -> int:
        """Return a number that no measurement reaches."""
        return 10**7

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        """Return a picture, `[1, 3, size, size]`, and its targets."""
        with Image.open(io.BytesIO(self.files[position % len(self.files)])) as image:
            picture = np.asarray(image.convert("RGB").resize((self.size, self.size)))
        return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None], torch.zeros(CLASSES)


def _plain(case: Case, bench: Bench) -> tuple[float, TrainSettings]:
    """Return images a second of the plain loop, and its recipe."""
    _clear(bench.device)
    recipe = TrainSettings(batch_size=4, channels_last=False, amp="none")
    network = _network(case).to(bench.device).train()
    optimizer = torch.optim.Adam(network.parameters(), recipe.lr)
    workers = min(8, os.cpu_count() or 1) if bench.device.type == "cuda" else 0
    batches = iter(
        DataLoader(
            Jpegs(case.size),
            recipe.batch_size,
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,
        )
    )

    def step() -> None:
        pictures, targets = (part.to(bench.device) for part in next(batches))
        optimizer.zero_grad()
        loss = LOSS(network(pictures.float()), targets)
        loss.backward()
        optimizer.step()
        loss.item()

    return recipe.batch_size * _per_second(step, bench), recipe


def step_operations(case: Case) -> float:
    """Return the floating-point operations of a forward and a backward pass of one picture."""
    return 3 * operations(_model(case))


def matrix_tflops(device: torch.device, side: int) -> float:
    """Return the device's rate of multiplying matrices, in TFLOP/s."""
    kind = torch.float32 if device.type == "cpu" else torch.bfloat16
    one, other = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))

    def step() -> None:
        torch.mm(one, other)

    return 2 * side**3 * _per_second(step, Bench(device, 1.0, 1.0, False, 1)) / 1e12


def _per_second(step: Callable[[], None], bench: Bench) -> float:
    """Return how many steps are done in a second, after three that warm up."""
    for _ in range(3):
        step()
    _synchronise(bench.device)
    start, done = bench.clock(), 0
    while bench.clock() - start < bench.seconds or done < 3:
        step()
        done += 1
        # The queue to a GPU is long; without a stop the time would be that of filling it.
        if done % 8 == 0:
            _synchronise(bench.device)
    _synchronise(bench.device)
    return done / (bench.clock() - start)


def _network(case: Case) -> Network:
    torch.manual_seed(0)
    return Network(_model(case), CLASSES, "none")


def _model(case: Case) -> ModelSettings:
    return ModelSettings("superimage", case.size, case.backbone, pretrained="none")


def _items(case: Case, count: int, device: torch.device) -> Items:
    """Return noise, laid out in memory as `read_items` does."""
    shape = (count, 1, case.size, case.size, 3)
    pictures = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    targets = (torch.rand(count, CLASSES, device=device) < 0.1).float()
    return Items(pictures.permute(0, 1, 4, 2, 3), targets)


def _hours(rows: list[Row]) -> str:
    """Return what five folds of 30 epochs on QV-Pipe take: 6,399 videos, both weights validated.

    A backbone and size that were measured count as measured, all others by their operations at
    the rate of the fastest of the largest size that was.
    """
    table = pd.DataFrame([asdict(row) for row in rows if row.what == "ours"])
    if table.empty:
        return "no case was measured"
    rate = float(table[table["size"] == table["size"].max()]["tflops"].max())
    validated = 6399 / 5
    pictures = 5 * 30 * (6399 - validated + 2 * validated / 3)
    lines = [f"{'hours on this device':40}"]
    for case in WINNERS:
        found = table[(table["backbone"] == case.backbone) & (table["size"] == case.size)]
        known = not found.empty
        speed = float(found["images_per_s"].max()) if known else rate * 1e12 / step_operations(case)
        how = "measured" if known else "by operations"
        hours = pictures / speed / 3600
        lines.append(f"{case.backbone:24}{case.size:6} px{hours:9.1f} h  {how}")
    return "\n".join(lines)


def _case(text: str) -> Case:
    backbone, size, batch = text.split(":")
    return Case(backbone, int(size), int(batch))


def _line(row: Row) -> str:
    if row.what == "failed":
        return f"{row.backbone:16}{row.size:6}  failed: {row.note}"
    layout = "channels_last" if row.channels_last else "contiguous"
    return (
        f"{row.backbone:16}{row.size:6}  {row.what:6} batch {row.batch:4} {layout:14}"
        f"{row.images_per_s:10.1f} images/s {row.memory_gb:7.1f} GB {row.tflops:8.2f} TFLOP/s "
        f"{100 * row.share:5.1f} % {row.note}"
    )


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _clear(device: torch.device) -> None:
    gc.collect()
    with contextlib.suppress(AttributeError):
        torch.compiler.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


if __name__ == "__main__":
    main()
