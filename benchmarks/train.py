"""How fast is training? Our loop, a plain loop, and the limit of the device, side by side.

    PYTHONPATH=src python benchmarks/train.py --out FOLDER [--minutes 8]
    PYTHONPATH=src python benchmarks/train.py --out FOLDER --case convnext_base:448:64
        [--what limit ours plain] [--try contiguous compiled larger unfused untuned]

For each backbone and size, in one process on one device:

- limit: forward, backward and optimizer step on one batch that never leaves the device, in
  channels_last; then with one thing after the other tried, of which those stay that are faster:
  `contiguous` memory, a `compiled` network, twice the batch (`larger`). `unfused` (AdamW in many
  kernels) and `untuned` (cuDNN's own choice of convolutions) only show what the loop gains by the
  contrary;
- ours: `qvpipe.learning.fit` with its augmentation, moving average and schedule, set as the
  fastest limit;
- plain: float32, JPEGs through PIL and a DataLoader, batches of four.

Each measurement becomes a line of FOLDER/train.csv at once, also one that fails, and what does not
fit in memory is measured with half the batch, so a run that is cut off leaves all that it measured.
After `--minutes` no measurement is begun; the next run adds its lines. In the end there are the
ratios, and what the challenge's five super-image models would cost in hours on this device.

`--quick` takes small cases. On a CPU, a second is one of CPU time, so that other work beside it
does less harm, and matrices are float32. `--rounds` measures every case several times; ratios are
of medians. Needs PyTorch, timm, NumPy, OpenCV, scikit-learn and pandas.
"""

import argparse
import contextlib
import csv
import functools
import gc
import io
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import timm
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cost import operations
from qvpipe.config import BceSettings, ModelSettings, TrainSettings
from qvpipe.learning.evaluate import autotuned, choose_device, choose_precision, mixed
from qvpipe.learning.fit import fit
from qvpipe.learning.items import Items
from qvpipe.learning.losses import bce
from qvpipe.learning.network import Network
from qvpipe.learning.recipe import make_optimizer

CLASSES = 17
LOSS = bce(BceSettings())
KINDS = ("limit", "ours", "plain")


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
class Setup:
    """How a measurement is set up."""

    recipe: TrainSettings
    fused: bool = True
    tuned: bool = True

    def with_recipe(self, **changes: object) -> "Setup":
        """Return the same with another recipe."""
        return replace(self, recipe=replace(self.recipe, **changes))  # type: ignore[arg-type]


TRIED: Mapping[str, Callable[[Setup], Setup]] = {
    "contiguous": lambda setup: setup.with_recipe(channels_last=False),
    "compiled": lambda setup: setup.with_recipe(compile=True),
    "larger": lambda setup: setup.with_recipe(batch_size=2 * setup.recipe.batch_size),
    "unfused": lambda setup: replace(setup, fused=False),
    "untuned": lambda setup: replace(setup, tuned=False),
}


@dataclass(frozen=True)
class Row:
    """A line of the table; `share` is that of the device's measured matrix rate."""

    backbone: str
    size: int
    what: str
    tried: str = ""
    batch: int = 0
    channels_last: bool = False
    compiled: bool = False
    images_per_s: float = math.nan
    memory_gb: float = math.nan
    tflops: float = math.nan
    share: float = math.nan
    error: str = ""


@dataclass(frozen=True)
class Bench:
    """What every measurement needs: the device, its rate, and how long to measure."""

    device: torch.device
    matrix_tflops: float
    seconds: float

    def clock(self) -> float:
        """Return the seconds of a clock, on a CPU those in which this process computes."""
        return time.process_time() if self.device.type == "cpu" else time.perf_counter()


def main() -> None:
    """Measure every case and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for train.csv")
    parser.add_argument("--quick", action="store_true", help="small cases, for a CPU")
    parser.add_argument("--case", action="append", type=_case, help="BACKBONE:PX:BATCH")
    parser.add_argument("--what", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--try", nargs="*", choices=TRIED, default=["contiguous"], dest="tried")
    parser.add_argument("--rounds", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--minutes", type=float, default=8, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=6, help="of each measurement")
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    device = choose_device("auto")
    rate = matrix_tflops(device, 1024 if device.type == "cpu" else 8192)
    bench = Bench(device, rate, arguments.seconds)
    versions = f"PyTorch {torch.__version__}, timm {timm.__version__}"
    print(f"{_name(device)}, {versions}: {rate:.3f} TFLOP/s in matrices", flush=True)
    cases = arguments.case or (QUICK if arguments.quick else CASES)
    rows = itertools.chain.from_iterable(
        measured(case, arguments.what, arguments.tried, bench)
        for case in cases
        for _ in range(arguments.rounds)
    )
    path = arguments.out / "train.csv"
    for row in rows:
        _append(path, row)
        print(_line(row), flush=True)
        if time.monotonic() > end:
            print(f"the {arguments.minutes:g} minutes are over; the same folder takes more lines")
            break
    print(_summary(pd.read_csv(path, dtype={"tried": str})))


def measured(case: Case, kinds: Sequence[str], tried: Sequence[str], bench: Bench) -> Iterator[Row]:
    """Give the lines of a case as they are measured."""
    setup, fastest = Setup(TrainSettings(batch_size=case.batch)), 0.0
    if "limit" in kinds:
        for name in ("", *tried):
            changed = TRIED[name](setup) if name else setup
            changed, row = attempt(case, "limit", limit, changed, bench)
            yield replace(row, tried=name)
            # The loop cannot be told the other two.
            if row.images_per_s > fastest and changed.fused and changed.tuned:
                setup, fastest = changed, row.images_per_s
    if "ours" in kinds:
        yield attempt(case, "ours", functools.partial(ours, expected=fastest), setup, bench)[1]
    if "plain" in kinds:
        recipe = TrainSettings(batch_size=4, channels_last=False, amp="none")
        yield attempt(case, "plain", plain, Setup(recipe), bench)[1]


def attempt(
    case: Case,
    what: str,
    measure: Callable[[Case, Setup, Bench], float],
    setup: Setup,
    bench: Bench,
) -> tuple[Setup, Row]:
    """Measure images a second, with half the batch where memory is short.

    Returns:
        How it was measured, and the line of it, be it of an error.
    """
    while True:
        _clear(bench.device)
        try:
            rate = measure(case, setup, bench)
            return setup, _row(case, what, setup.recipe, rate, bench)
        except torch.OutOfMemoryError as error:
            if setup.recipe.batch_size == 1:
                return setup, _failed(case, what, setup.recipe, error)
        except Exception as error:
            return setup, _failed(case, what, setup.recipe, error)
        setup = setup.with_recipe(batch_size=setup.recipe.batch_size // 2)


def limit(case: Case, setup: Setup, bench: Bench) -> float:
    """Return images a second of steps on one batch that never leaves the device."""
    recipe = setup.recipe
    network = _network(case).to(bench.device).train()
    network.lay_out(recipe.channels_last)
    optimizer = make_optimizer(network, recipe, bench.device)
    if not setup.fused:
        for group in optimizer.param_groups:
            group.update(fused=False, foreach=True)
    precision = choose_precision(bench.device, recipe.amp)
    batch = _items(case, recipe.batch_size, bench.device)
    pictures = next(batch.batches([torch.arange(len(batch))], bench.device))
    if recipe.compile:
        network.compile()

    def step() -> None:
        with mixed(bench.device, precision):
            logits = network(pictures)
        LOSS(logits, batch.targets).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    with autotuned() if setup.tuned else contextlib.nullcontext():
        return recipe.batch_size * _per_second(step, bench)


def ours(case: Case, setup: Setup, bench: Bench, expected: float) -> float:
    """Return images a second of the second epoch of `fit`; the first one warms up."""
    size = setup.recipe.batch_size
    count = size * min(max(8, int(expected * bench.seconds / size)), max(8, 20_000 // size))
    marks: list[float] = []

    def mark(_: object) -> None:
        marks.append(bench.clock())

    fitted = fit(
        _network(case),
        _items(case, count, bench.device),
        _items(case, 2, bench.device),
        LOSS,
        replace(setup.recipe, epochs=2),
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


def plain(case: Case, setup: Setup, bench: Bench) -> float:
    """Return images a second of the plain loop."""
    network = _network(case).to(bench.device).train()
    optimizer = torch.optim.Adam(network.parameters(), setup.recipe.lr)
    workers = min(8, os.cpu_count() or 1) if bench.device.type == "cuda" else 0
    batches = iter(
        DataLoader(
            Jpegs(case.size),
            setup.recipe.batch_size,
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

    return setup.recipe.batch_size * _per_second(step, bench)


@functools.cache
def step_operations(case: Case) -> float:
    """Return the floating-point operations of a forward and a backward pass of one picture."""
    return 3 * operations(_model(case))


def matrix_tflops(device: torch.device, side: int) -> float:
    """Return the device's rate of multiplying matrices, in TFLOP/s."""
    kind = torch.float32 if device.type == "cpu" else torch.bfloat16
    one, other = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))

    def step() -> None:
        torch.mm(one, other)

    return 2 * side**3 * _per_second(step, Bench(device, 1.0, 1.0)) / 1e12


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


def _row(case: Case, what: str, recipe: TrainSettings, rate: float, bench: Bench) -> Row:
    """Return the line of a measured rate in images a second."""
    cuda = bench.device.type == "cuda"
    memory = torch.cuda.max_memory_allocated() / 1e9 if cuda else math.nan
    tflops = rate * step_operations(case) / 1e12
    return Row(
        case.backbone, case.size, what, "", recipe.batch_size, recipe.channels_last,
        recipe.compile, rate, memory, tflops, tflops / bench.matrix_tflops,
    )  # fmt: skip


def _failed(case: Case, what: str, recipe: TrainSettings, error: Exception) -> Row:
    message = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return Row(
        case.backbone, case.size, what, "", recipe.batch_size, recipe.channels_last,
        recipe.compile, error=message,
    )  # fmt: skip


def _append(path: Path, row: Row) -> None:
    """Write a line to a CSV file, the first one below the names of the columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        if not begun:
            writer.writeheader()
        writer.writerow(asdict(row))


def _summary(rows: pd.DataFrame) -> str:
    """Return the ratios of each case, and hours."""
    done = rows.dropna(subset="images_per_s").fillna({"tried": ""})
    setting = ["backbone", "size", "what", "tried", "batch", "channels_last", "compiled"]
    median = done.groupby(setting, as_index=False, sort=False)["images_per_s"].median()
    # What the loop cannot be told is no limit of it.
    median = median[~median["tried"].isin(["unfused", "untuned"])]
    best = median.groupby(["backbone", "size", "what"], sort=False)["images_per_s"].max().unstack()
    best = best.reindex(columns=list(KINDS))
    best["of the limit"] = best["ours"] / best["limit"]
    best["times plain"] = best["ours"] / best["plain"]
    return f"{best.to_string(float_format='{:.3f}'.format)}\n{_hours(best['ours'].dropna())}"


def _hours(rates: pd.Series) -> str:
    """Return what five folds of 30 epochs on QV-Pipe take: 6,399 videos, both weights validated.

    A backbone and size that were measured count as measured, all others by their operations at
    the rate of the fastest of the largest size that was.

    Args:
        rates: Images a second of our loop, by backbone and size.
    """
    table = rates.reset_index().itertuples(index=False, name=None)
    known = {Case(name, size, 1): rate for name, size, rate in table}
    if not known:
        return "our loop was not measured"
    largest = max(case.size for case in known)
    operated = max(
        rate * step_operations(case) for case, rate in known.items() if case.size == largest
    )
    validated = 6399 / 5
    pictures = 5 * 30 * (6399 - validated + 2 * validated / 3)
    lines = ["hours on this device"]
    for case in WINNERS:
        speed = known.get(case, operated / step_operations(case))
        how = "measured" if case in known else "by operations"
        lines.append(f"{case.backbone:24}{case.size:6} px{pictures / speed / 3600:9.1f} h  {how}")
    return "\n".join(lines)


def _case(text: str) -> Case:
    backbone, size, batch = text.split(":")
    return Case(backbone, int(size), int(batch))


def _line(row: Row) -> str:
    layout = "channels_last" if row.channels_last else "contiguous"
    how = f"batch {row.batch:4} {layout:14}{'compiled' if row.compiled else '':9}{row.tried:11}"
    measured = (
        f"{row.images_per_s:10.1f} images/s {row.memory_gb:7.1f} GB {row.tflops:8.2f} TFLOP/s "
        f"{100 * row.share:5.1f} %"
    )
    return f"{row.backbone:16}{row.size:6}  {row.what:6} {how} {row.error or measured}"


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
