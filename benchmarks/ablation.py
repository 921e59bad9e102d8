"""What does each ingredient of the recipe gain? Trains with and without it on identical folds.

    python benchmarks/ablation.py prepare --out FOLDER [--videos 1500]
    PYTHONPATH=src python benchmarks/ablation.py train --out FOLDER [--minutes 60] [--epochs 20]
        [--folds 5] [--batch-size 16] [--variant NAME] [--frozen]

`prepare` renders demo videos and takes them through the stages up to the super-images, into two
files: the pictures as JPEGs, and the weights to begin with. `train` needs only these, PyTorch,
timm, NumPy, OpenCV, scikit-learn and pandas. It keeps the predictions of every fold, so that it can
be stopped at any moment and goes on, and ends when the minutes are over; the table shows what is
there. The same command, begun once more while it runs, takes a share of the folds. `--variant`, as
often as wanted, trains that one alone, beside the baseline. On a CPU, a small version is
`prepare --videos 150` and `train --epochs 8 --batch-size 8 --frozen`, where the early blocks of the
backbone stay as they are.

The table has the mean over folds with its SD, and the difference to the baseline of the pooled
predictions with its 95 % interval by paired bootstrap over inspections. It says how much another
choice of videos could change the difference, and nothing of another seed of the training.
"""

import argparse
import contextlib
import fcntl
import io
import itertools
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import safetensors.torch
import timm
import torch
from numpy.typing import NDArray

from qvpipe.config import (
    AslSettings,
    BceSettings,
    CbFocalSettings,
    ModelSettings,
    TrainSettings,
)
from qvpipe.learning.evaluate import choose_device
from qvpipe.learning.fit import fit
from qvpipe.learning.items import Items
from qvpipe.learning.losses import Loss, asl, bce, cb_focal
from qvpipe.learning.metrics import Floats, mean_average_precision, paired_bootstrap
from qvpipe.learning.network import Network
from qvpipe.learning.targets import targets

BACKBONE = "tf_efficientnet_lite0"
FROZEN = ("conv_stem", "bn1", "blocks.0", "blocks.1", "blocks.2", "blocks.3")
DATA = "data.zip"
BASELINE = "super-images"
ENSEMBLE = "both members together"


@dataclass(frozen=True)
class Variant:
    """What differs from the baseline."""

    input: str = "superimage"
    loss: str = "bce"
    head: str = "linear"
    train: Mapping[str, Any] = field(default_factory=dict)


VARIANTS: Mapping[str, Variant] = {
    BASELINE: Variant(),
    "frames": Variant(input="frames"),
    "asl": Variant(loss="asl"),
    "cb_focal": Variant(loss="cb_focal"),
    "no moving average": Variant(train={"ema_decay": 0.0}),
    "no tile shuffle": Variant(train={"tile_shuffle": 0.0}),
    "no flip": Variant(train={"flip": 0.0}),
    "ml_decoder": Variant(head="ml_decoder"),
    "mixup": Variant(train={"mixup": 0.4}),
    "all tiles shuffled": Variant(train={"tile_share": 1.0}),
    "backbone at a tenth": Variant(train={"backbone_lr_factor": 0.1}),
    "ml_decoder at a tenth": Variant(head="ml_decoder", train={"lr": 2e-4}),
    "ml_decoder's head at a tenth": Variant(
        head="ml_decoder", train={"lr": 2e-4, "backbone_lr_factor": 10.0}
    ),
}


@dataclass(frozen=True)
class Plan:
    """What is trained, and where its data and results lie."""

    out: Path
    epochs: int
    folds: int
    batch_size: int
    frozen: bool

    def path(self, name: str, fold: int) -> Path:
        """Return the file of a variant's predictions for a fold."""
        recipe = f"{self.epochs}-epochs-of-{self.batch_size}{'-frozen' if self.frozen else ''}"
        return self.out / recipe / name.replace(" ", "-") / f"fold{fold}.npy"


@dataclass(frozen=True)
class Data:
    """What `prepare` made; pictures are `[videos, views, height, width, 3]`, by input."""

    pictures: Mapping[str, NDArray[np.uint8]]
    targets: NDArray[np.int64]
    folds: NDArray[np.int64]
    groups: NDArray[np.str_]


def main() -> None:
    """Prepare or train."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=["prepare", "train"])
    parser.add_argument("--out", type=Path, required=True, help="folder of data and results")
    parser.add_argument("--videos", type=int, default=1500)
    parser.add_argument("--minutes", type=float, default=60, help="after which no fold is begun")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--variant", action="append", choices=VARIANTS, help="default: all")
    parser.add_argument("--frozen", action="store_true", help="train the late blocks alone")
    arguments = parser.parse_args()
    if arguments.what == "prepare":
        prepare(arguments.out.resolve(), arguments.videos)
    else:
        plan = Plan(
            out=arguments.out,
            epochs=arguments.epochs,
            folds=arguments.folds,
            batch_size=arguments.batch_size,
            frozen=arguments.frozen,
        )
        train(plan, arguments.minutes, {BASELINE, *(arguments.variant or VARIANTS)})


def prepare(out: Path, videos: int) -> None:
    """Render videos, run the stages in a folder of their own, and lay all pictures into a file."""
    from qvpipe import files
    from qvpipe.inputs import frame_positions, views_of
    from qvpipe.learning.backbones import BUNDLED
    from qvpipe.video.images import decode_jpeg, encode_jpeg
    from qvpipe.video.quality import by_video
    from qvpipe.video.store import unpack

    project = out / "project"
    (project / ".dvc").mkdir(parents=True, exist_ok=True)
    shutil.copy(files.PARAMS, project)
    environment = {key: value for key, value in os.environ.items() if key != "DVC_ROOT"}
    rendering = ["-m", "qvpipe.cli", "demo-data", "--videos", str(videos)]
    stages = [["-m", f"qvpipe.stages.{name}"] for name in
              ("index", "frames", "clean", "splits", "superimages")]  # fmt: skip
    for command in (rendering, *stages):
        subprocess.run([sys.executable, *command], cwd=project, env=environment, check=True)

    os.chdir(project)
    settings = files.read_settings()
    table = files.read_splits()
    cleaned = by_video(files.read_table(files.CLEAN))
    models = {model.input: model for model in settings.models.values()}
    with zipfile.ZipFile(out / DATA, "w") as archive:
        for video in table["video"]:
            chosen = frame_positions(cleaned[video], models["frames"])
            views = {
                "superimage": views_of(
                    [decode_jpeg(files.superimage(video).read_bytes())], models["superimage"]
                ),
                "frames": views_of(
                    unpack(files.frames_zip(video), chosen).frames, models["frames"]
                ),
            }
            for name, pictures in views.items():
                for number, picture in enumerate(pictures):
                    jpeg = encode_jpeg(picture, quality=92)
                    archive.writestr(f"{name}/{video}/{number}.jpg", jpeg)
        archive.writestr("classes.txt", "\n".join(files.read_classes()))
        columns = ["video", "group", "fold", "labels"]
        archive.writestr("videos.csv", table[columns].to_csv(index=False))
    whole = timm.create_model(BACKBONE)
    weights = {name: value.contiguous() for name, value in BUNDLED[BACKBONE](whole).items()}
    safetensors.torch.save_file(weights, out / "weights.safetensors")
    print(f"{len(table)} videos in {out / DATA}")


def read(path: Path) -> Data:
    """Return what `prepare` made."""
    with zipfile.ZipFile(path) as archive:
        table = pd.read_csv(
            io.BytesIO(archive.read("videos.csv")), dtype=str, keep_default_na=False
        )
        classes = archive.read("classes.txt").decode().splitlines()
        names = archive.namelist()
        pictures = {
            kind: np.stack([decode(archive.read(name)) for name in names if name.startswith(kind)])
            for kind in ("superimage", "frames")
        }
    return Data(
        # Written video by video.
        {kind: held.reshape(len(table), -1, *held.shape[1:]) for kind, held in pictures.items()},
        targets(table["labels"], len(classes)),
        table["fold"].to_numpy(dtype=int),
        table["group"].to_numpy(dtype=str),
    )


def decode(jpeg: bytes) -> NDArray[np.uint8]:
    """Return a picture, `[height, width, 3]`, RGB."""
    picture = cv2.imdecode(np.frombuffer(jpeg, dtype=np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def train(plan: Plan, minutes: float, wanted: Collection[str]) -> None:
    """Train what is wanted and not there yet, a variant after the other, and print the table."""
    data = read(plan.out / DATA)
    device = choose_device("auto")
    start = time.perf_counter()
    for (name, variant), fold in itertools.product(VARIANTS.items(), range(plan.folds)):
        path = plan.path(name, fold)
        if name not in wanted or path.is_file():
            continue
        if time.perf_counter() - start > 60 * minutes:
            print(f"the {minutes:g} minutes are over; the same command goes on", flush=True)
            break
        with _claimed(path) as mine:
            if not mine or path.is_file():
                continue
            probabilities = _fit(data, variant, fold, plan, device)
            temporary = path.with_suffix(".tmp.npy")
            np.save(temporary, probabilities)
            temporary.replace(path)
        score = mean_average_precision(data.targets[data.folds == fold], probabilities)
        passed = time.perf_counter() - start
        print(f"{passed:7.0f} s  {name:24} fold {fold}  {score:.3f}", flush=True)
    print(_table(plan, data))


@contextlib.contextmanager
def _claimed(path: Path) -> Iterator[bool]:
    """Say whether no other process makes a file; none begins to until this one is done or dead."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = True
        except BlockingIOError:
            mine = False
        yield mine


def _fit(
    data: Data, variant: Variant, fold: int, plan: Plan, device: torch.device
) -> NDArray[np.float32]:
    """Return the probabilities of the videos of a fold by a model that did not see it."""
    pictures = data.pictures[variant.input]
    size = pictures.shape[2]
    model = ModelSettings(
        "superimage" if variant.input == "superimage" else "frames",
        size,
        BACKBONE,
        head="ml_decoder" if variant.head == "ml_decoder" else "linear",
        freeze=FROZEN if plan.frozen else (),
    )
    recipe = replace(
        TrainSettings(
            epochs=plan.epochs,
            batch_size=plan.batch_size,
            lr=2e-3,
            ema_decay=0.99,
            patience=plan.epochs,
        ),
        **variant.train,
    )
    held_out = data.folds == fold
    learned, judged = (
        Items(
            torch.from_numpy(pictures[part]).permute(0, 1, 4, 2, 3),
            torch.from_numpy(data.targets[part]).float(),
        ).to(device)
        for part in (~held_out, held_out)
    )
    torch.manual_seed(fold)
    network = Network(model, data.targets.shape[1], str(plan.out / "weights.safetensors"))
    fitted = fit(
        network,
        learned,
        judged,
        _loss(variant.loss, learned),
        recipe,
        device,
        grid=3 if variant.input == "superimage" else 1,
        seed=fold,
    )
    return np.asarray(fitted.probabilities.numpy())


def _loss(name: str, learned: Items) -> Loss:
    if name == "asl":
        return asl(AslSettings())
    if name == "cb_focal":
        return cb_focal(CbFocalSettings(), learned.targets.sum(dim=0))
    return bce(BceSettings())


def _table(plan: Plan, data: Data) -> str:
    """Return the table of all variants whose folds are all there."""
    pooled: dict[str, Floats] = {
        name: scores for name in VARIANTS if (scores := _pooled(plan, data, name)) is not None
    }
    if BASELINE not in pooled:
        return "the baseline is not finished yet"
    if "frames" in pooled:
        pooled[ENSEMBLE] = (pooled[BASELINE] + pooled["frames"]) / 2
    judged = data.folds < plan.folds
    truth, groups = data.targets[judged], data.groups[judged]
    lines = [
        f"{int(judged.sum())} videos, {plan.epochs} epochs, {plan.folds} folds, {BACKBONE}"
        f"{', its early blocks fixed' if plan.frozen else ''}",
        f"{'':24}{'mean over folds':>18}{'pooled':>9}{'difference':>12}   95 % interval",
    ]
    for name, judgement in pooled.items():
        of_fold = data.folds[judged]
        maps = [
            mean_average_precision(truth[of_fold == k], judgement[of_fold == k])
            for k in range(plan.folds)
        ]
        spread = np.std(maps, ddof=1) if plan.folds > 1 else 0.0
        line = f"{name:24}{np.mean(maps):10.3f} ± {spread:.3f}"
        line += f"{mean_average_precision(truth, judgement):9.3f}"
        if name != BASELINE:
            found = paired_bootstrap(truth, pooled[BASELINE], judgement, groups)
            line += f"{found.value:+12.3f}   {found.low:+.3f} to {found.high:+.3f}"
        lines.append(line)
    return "\n".join(lines)


def _pooled(plan: Plan, data: Data, name: str) -> Floats | None:
    """Return the probabilities of a variant in the order of the videos, if all are there."""
    paths = [plan.path(name, fold) for fold in range(plan.folds)]
    if not all(path.is_file() for path in paths):
        return None
    judged = data.folds < plan.folds
    scores = np.zeros((len(data.folds), data.targets.shape[1]), dtype=np.float32)
    for fold, path in enumerate(paths):
        scores[data.folds == fold] = np.load(path)
    return scores[judged]


if __name__ == "__main__":
    main()
