"""Train one member without one fold: what it sees of videos to a model and its predictions."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import safetensors.torch
import torch

from qvpipe import config, files, tracking
from qvpipe.config import ModelSettings, Settings
from qvpipe.errors import QvpipeError, run
from qvpipe.inputs import Views, clip_views, frame_views, superimage_views
from qvpipe.learning import checkpoint, metrics
from qvpipe.learning.distributed import World, joined
from qvpipe.learning.evaluate import choose_device
from qvpipe.learning.fit import Epoch, Fit, fit
from qvpipe.learning.items import Items, read_items
from qvpipe.learning.losses import make_loss
from qvpipe.learning.network import Network
from qvpipe.learning.progress import Bar
from qvpipe.learning.targets import targets
from qvpipe.learning.tasks import decisions
from qvpipe.video.images import decode_jpeg
from qvpipe.video.quality import Judgement, by_video
from qvpipe.video.store import unpack


def train(settings: Settings, member: str, fold: int) -> None:
    """Train the member on all folds but one and predict the videos of that one."""
    model, recipe = settings.models[member], settings.recipe(member)
    classes = files.read_classes()
    videos = _videos(fold)
    held_out = (videos["fold"] == fold).to_numpy()
    with joined(choose_device(settings.compute.device)) as (world, device):
        learned = _items(settings, videos[~held_out], model, len(classes), device)
        judged = _items(settings, videos[held_out], model, len(classes), device)
        torch.manual_seed(settings.seed)
        network = Network(model, len(classes), model.pretrained)
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
            names = videos["video"][held_out]
            result = _write(settings, member, fold, classes, names, judged, fitted)
            tracked.finish(result, files.fold_model(member, fold) / files.WEIGHTS)
    for finished in files.resume_file(member, fold, "").parent.glob(f"{member}-fold{fold}-*.pt"):
        finished.unlink()
    print(
        f"train: {member} fold {fold}: {len(learned)} videos learned, {len(judged)} judged, "
        f"mAP {fitted.best.map:.3f} in epoch {fitted.best.number} of {len(fitted.curve)}"
    )


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


def _items(
    settings: Settings,
    videos: pd.DataFrame,
    model: ModelSettings,
    classes: int,
    device: torch.device,
) -> Items:
    if model.input == "superimage":
        read = partial(_superimage, model=model)
    elif model.input == "clip":
        read = partial(_clip, model=model)
    else:
        cleaned = by_video(files.read_table(files.CLEAN))
        read = partial(_frames, model=model, cleaned=cleaned)
    truth = torch.from_numpy(targets(videos["labels"], classes)).float()
    compute = settings.compute
    return read_items(
        videos["video"].to_list(), read, truth, device, compute.cache, compute.workers
    )


def _superimage(video: str, model: ModelSettings) -> Views:
    return superimage_views(decode_jpeg(files.superimage(video).read_bytes()), model)


def _frames(video: str, model: ModelSettings, cleaned: dict[str, list[Judgement]]) -> Views:
    return frame_views(unpack(files.frames_zip(video)), cleaned[video], model)


def _clip(video: str, model: ModelSettings) -> Views:
    return clip_views(unpack(files.frames_zip(video)), model)


def _write(
    settings: Settings,
    member: str,
    fold: int,
    classes: list[str],
    videos: pd.Series,
    judged: Items,
    fitted: Fit,
) -> dict[str, object]:
    """Write the model, its predictions and their metrics; return the metrics."""
    probabilities = fitted.probabilities.numpy()
    truth = judged.targets.cpu().numpy()
    result = {
        **metrics.summary(truth, probabilities, classes, settings.data.normal),
        **decisions(settings.task, truth, probabilities, classes),
    }
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
            "model": config.as_tree(settings.models[member]),
            "settings": _told(settings, member),
        },
    )
    predictions = pd.DataFrame(probabilities, columns=classes)
    predictions.insert(0, "video", videos.to_numpy())
    files.write_table(files.fold_predictions(member, fold), predictions)
    files.write_json(files.fold_metrics(member, fold), result)
    return result


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
    train(settings, arguments.member, arguments.fold)


if __name__ == "__main__":
    run(main)
