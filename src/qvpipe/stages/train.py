"""Train one member without one fold: what it sees of videos to a model and its predictions."""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import safetensors.torch
import torch
from tqdm import tqdm

from qvpipe import ahead, config, files, tracking
from qvpipe.config import ModelSettings, Settings, TrainSettings
from qvpipe.errors import QvpipeError, one_line, run
from qvpipe.inputs import Views, clip_positions, frame_positions, views_of
from qvpipe.learning import checkpoint
from qvpipe.learning.distributed import ALONE, World, joined
from qvpipe.learning.evaluate import choose_device, choose_precision, predict_batches
from qvpipe.learning.fit import Epoch, Fit, fit
from qvpipe.learning.items import Items, read_items
from qvpipe.learning.losses import make_loss
from qvpipe.learning.metrics import Floats
from qvpipe.learning.network import Network
from qvpipe.learning.progress import Bar
from qvpipe.learning.targets import targets
from qvpipe.learning.tasks import MEASURES, activation
from qvpipe.learning.validation import judge
from qvpipe.video.images import decode_jpeg
from qvpipe.video.quality import Judgement, by_video
from qvpipe.video.store import read_facts, unpack


@dataclass(frozen=True)
class Training:
    """A member that is trained without a fold."""

    settings: Settings
    member: str
    fold: int
    # Of the name `classes`, the pickler of Ray would take torch.classes along.
    class_names: list[str]

    @property
    def model(self) -> ModelSettings:
        """What is trained."""
        return self.settings.models[self.member]

    @property
    def recipe(self) -> TrainSettings:
        """How it is trained."""
        return self.settings.recipe(self.member)


def train(settings: Settings, member: str, fold: int) -> None:
    """Train the member on all folds but one, and predict that one and the test set."""
    this = Training(settings, member, fold, files.read_classes())
    model, recipe = this.model, this.recipe
    videos = _videos(fold)
    held_out = (videos["fold"] == fold).to_numpy()
    chosen = choose_device(settings.compute.device)
    with saying_what_needs_less_memory(member), joined(chosen) as (world, device):
        learned = _items(this, videos[~held_out], device)
        judged = _items(this, videos[held_out], device)
        torch.manual_seed(settings.seed)
        network = Network(model, len(this.class_names), model.pretrained)
        training = partial(
            fit,
            network,
            learned,
            judged,
            make_loss(settings, learned.targets.sum(dim=0)),
            recipe,
            device,
            task=settings.task,
            grid=settings.superimages.grid if model.input == "superimage" else 1,
            seed=settings.seed,
            world=world,
            resume=_resume_file(settings, member, fold, videos, world),
        )
        if world.rank > 0:
            training()
            return
        with (
            tracking.fold_run(settings, member, fold, str(device)) as tracked,
            Bar(
                f"train {member} fold {fold}",
                len(learned),
                recipe.epochs,
                _epochs_elsewhere(settings, member, fold),
            ) as bar,
        ):

            def report(epoch: Epoch) -> None:
                bar.epoch(epoch)
                tracked.epoch(epoch.row())

            fitted = training(on_step=bar.step, on_epoch=report)
            result = _write(this, videos["video"][held_out], judged, fitted)
            _test(this, network, fitted, device)
            tracked.finish(result, files.fold_model(member, fold) / files.WEIGHTS)
    for finished in files.resume_file(member, fold, "").parent.glob(f"{member}-fold{fold}-*.pt"):
        finished.unlink()
    print(
        f"train: {member} fold {fold}: {len(learned)} videos learned, {len(judged)} judged, "
        f"{MEASURES[settings.task].title} {fitted.best.score[0]:.3f} in epoch "
        f"{fitted.best.number} of {len(fitted.curve)}"
    )


@contextlib.contextmanager
def saying_what_needs_less_memory(member: str) -> Iterator[None]:
    """Say of a GPU whose memory is too small what helps.

    Raises:
        QvpipeError: If it was too small for the block.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise QvpipeError(
            f"the GPU has too little memory to train {member}; raise models.{member}.train."
            "accumulate, set its checkpointing to true, or compute.cache to workers"
        ) from error


def train_at_once(settings: Settings, member: str, fold: int) -> None:
    """Train on Ray, with this member and fold, all others that DVC would have trained after it.

    They are kept until their stages are run. One that fails lets the others end, and fails again
    in its own stage.
    """
    from qvpipe.compute.cluster import at_once

    this, kept = (member, fold), _kept(settings, member, fold)
    if not kept.is_dir():
        due = ahead.due("train")
        others = [(n, k) for n in settings.members for k in settings.folds if f"{n}-{k}" in due]
        jobs = [this, *others]
        ended = at_once(partial(_train_apart, settings), jobs, settings.compute)
        failed = {}
        for job, error in tqdm(ended, f"train {len(jobs)} at once", len(jobs), unit=" trainings"):
            if error:
                failed[job] = error
                print(f"\ntrain: {job[0]} fold {job[1]}: {one_line(error)}", file=sys.stderr)
        if this in failed:
            raise failed[this]
    ahead.take(kept)
    measure = MEASURES[settings.task]
    reached = files.read_json(files.fold_metrics(member, fold))[measure.key]
    print(f"train: {member} fold {fold}: trained on Ray, {measure.title} {reached:.3f}")


def _train_apart(settings: Settings, job: tuple[str, int], threads: int) -> None:
    """Train a member without a fold, unless that has been done, and keep it for its stage."""
    torch.set_num_threads(threads)
    kept = _kept(settings, *job)
    if not kept.is_dir():
        with ahead.apart(kept):
            train(settings, *job)


def _kept(settings: Settings, member: str, fold: int) -> Path:
    """Return where the result of a training is kept that was finished ahead of its stage."""
    return _resume_file(settings, member, fold, _videos(fold), ALONE).with_suffix("")


def _epochs_elsewhere(settings: Settings, member: str, fold: int) -> int:
    """Return the epochs that the folds and members need which are not trained yet."""
    return sum(
        settings.recipe(name).epochs
        for name in settings.members
        for k in settings.folds
        if (name, k) != (member, fold) and not _is_trained(settings, name, k)
    )


def _is_trained(settings: Settings, member: str, fold: int) -> bool:
    path = files.fold_model(member, fold) / "model.json"
    return path.is_file() and files.read_json(path).get("settings") == _told(settings, member)


def _told(settings: Settings, member: str) -> dict[str, Any]:
    """Return the settings that a training depends on."""
    tree = config.as_tree(settings)
    return {
        "seed": settings.seed,
        "task": settings.task,
        "loss": {settings.loss: tree["losses"][settings.loss]},
        "model": tree["models"][member],
        "train": config.as_tree(settings.recipe(member)),
    }


def _resume_file(
    settings: Settings, member: str, fold: int, videos: pd.DataFrame, world: World
) -> Path:
    pictures = files.frames_zip
    if settings.models[member].input == "superimage":
        pictures = files.superimage
    data = [files.SPLITS, files.INDEX, files.CLASSES, files.CLEAN, *map(pictures, videos["video"])]
    told = [_told(settings, member), settings.superimages.grid, fold, world.size]
    return files.resume_file(member, fold, checkpoint.key(told, data))


def _videos(fold: int) -> pd.DataFrame:
    videos = files.read_splits()
    if not (videos["fold"] == fold).any():
        raise QvpipeError(f"data/splits.csv has no video in fold {fold}; `dvc repro` makes it anew")
    return videos


def _items(training: Training, videos: pd.DataFrame, device: torch.device) -> Items:
    model, compute = training.model, training.settings.compute
    if model.input == "superimage":
        read = partial(_superimage, model=model)
    elif model.input == "clip":
        read = partial(_clip, model=model)
    else:
        cleaned = by_video(files.read_table(files.CLEAN))
        read = partial(_frames, model=model, cleaned=cleaned)
    truth = torch.from_numpy(targets(videos["labels"], len(training.class_names))).float()
    return read_items(
        videos["video"].to_list(), read, truth, device, compute.cache, compute.workers
    )


def _superimage(video: str, model: ModelSettings) -> Views:
    return views_of([decode_jpeg(files.superimage(video).read_bytes())], model)


def _frames(video: str, model: ModelSettings, cleaned: dict[str, list[Judgement]]) -> Views:
    positions = frame_positions(cleaned[video], model)
    return views_of(unpack(files.frames_zip(video), positions).frames, model)


def _clip(video: str, model: ModelSettings) -> Views:
    path = files.frames_zip(video)
    return views_of(unpack(path, clip_positions(read_facts(path), model)).frames, model)


def _write(training: Training, videos: pd.Series, judged: Items, fitted: Fit) -> dict[str, object]:
    """Write the model, its predictions and their metrics; return the metrics."""
    settings, member, fold = training.settings, training.member, training.fold
    classes = training.class_names
    probabilities = fitted.probabilities.numpy()
    truth = judged.targets.cpu().numpy()
    result = judge(settings.task, truth, probabilities, classes, settings.data.normal)
    folder = files.fold_model(member, fold)
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(fitted.state, folder / files.WEIGHTS)
    curve = pd.DataFrame([epoch.row() for epoch in fitted.curve])
    # Speed differs from run to run, and what DVC keeps must not.
    files.write_table(folder / "curve.csv", curve.drop(columns=["items_per_s", "seconds"]))
    files.write_json(
        folder / "model.json",
        {
            "member": member,
            "fold": fold,
            "epoch": fitted.best.number,
            "classes": classes,
            "model": config.as_tree(training.model),
            "settings": _told(settings, member),
        },
    )
    files.write_table(
        files.fold_predictions(member, fold), _predictions(videos, probabilities, classes)
    )
    files.write_json(files.fold_metrics(member, fold), result)
    return result


def _test(training: Training, network: Network, fitted: Fit, device: torch.device) -> None:
    """Write the probabilities of the test set, where there is one, by the weights that are kept."""
    path, tested = files.fold_test(training.member, training.fold), files.read_test()
    if tested.empty:
        path.unlink(missing_ok=True)
        return
    recipe, items = training.recipe, _items(training, tested, device)
    network.load_state_dict(fitted.state)
    # A network that was compiled to learn would be compiled again.
    with torch.compiler.set_stance("force_eager"):
        probabilities = predict_batches(
            network,
            items.batches(torch.arange(len(items)).split(recipe.batch_size), device),
            device,
            choose_precision(device, recipe.amp),
            activation(training.settings.task),
        )
    found = _predictions(tested["video"], probabilities.cpu().numpy(), training.class_names)
    files.write_table(path, found)


def _predictions(videos: pd.Series, probabilities: Floats, classes: list[str]) -> pd.DataFrame:
    table = pd.DataFrame(probabilities, columns=classes)
    table.insert(0, "video", videos.to_numpy())
    return table


def main() -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(prog="python -m qvpipe.stages.train", description=__doc__)
    parser.add_argument("member", help="a member of params.yaml")
    parser.add_argument("fold", type=int, help="the fold that is left out")
    arguments = parser.parse_args()
    settings = files.read_settings()
    if arguments.member not in settings.members or arguments.fold not in settings.folds:
        raise QvpipeError(
            f"params.yaml trains the members {', '.join(settings.members)} and the folds "
            f"{', '.join(map(str, settings.folds))}; name one of each"
        )
    ahead_of_dvc = settings.compute.engine == "ray" and "DVC_STAGE" in os.environ
    (train_at_once if ahead_of_dvc else train)(settings, arguments.member, arguments.fold)


if __name__ == "__main__":
    run(main)
