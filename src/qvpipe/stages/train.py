"""Train one member without one fold: frames or super-images to a model and its predictions."""

import argparse
import dataclasses
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
import safetensors.torch
import torch
from torch import Tensor
from tqdm import tqdm

from qvpipe import config, files, tracking
from qvpipe.config import ModelSettings, Settings
from qvpipe.errors import QvpipeError, run
from qvpipe.inputs import Views, frame_views, superimage_views
from qvpipe.learning import metrics
from qvpipe.learning.augment import flip, shuffle_tiles
from qvpipe.learning.evaluate import choose_device
from qvpipe.learning.fit import Augmentation, Epoch, Fit, Items, fit
from qvpipe.learning.losses import make_loss
from qvpipe.learning.network import Network
from qvpipe.learning.targets import targets
from qvpipe.video.images import decode_jpeg
from qvpipe.video.quality import Judgement, by_video
from qvpipe.video.store import unpack


def train(settings: Settings, member: str, fold: int) -> None:
    """Train the member on all folds but one and predict the videos of that one."""
    model, recipe = settings.models[member], settings.recipe(member)
    classes = files.read_classes()
    videos = _videos(fold)
    held_out = (videos["fold"] == fold).to_numpy()
    device = choose_device(settings.compute.device)
    items = _items(videos, model, len(classes)).to(device)
    learned, judged = _part(items, ~held_out), _part(items, held_out)
    torch.manual_seed(settings.seed)
    network = Network(model, len(classes), model.pretrained)
    loss = make_loss(settings, learned.targets.sum(dim=0))

    with (
        tracking.fold_run(settings, member, fold, str(device)) as tracked,
        tqdm(total=recipe.epochs, desc=f"train {member} fold {fold}", unit="epoch") as bar,
    ):

        def report(epoch: Epoch) -> None:
            bar.set_postfix(loss=f"{epoch.loss:.4f}", mAP=f"{epoch.map:.3f}")
            bar.update()
            tracked.epoch(dataclasses.asdict(epoch))

        augmentation = _augmentation(settings, member)
        fitted = fit(network, learned, judged, loss, augmentation, recipe, device, report)
        result = _write(settings, member, fold, classes, videos["video"][held_out], judged, fitted)
        tracked.finish(result, files.fold_model(member, fold) / files.WEIGHTS)
    print(
        f"train: {member} fold {fold}: {len(learned)} videos learned, {len(judged)} judged, "
        f"mAP {fitted.best.map:.3f} in epoch {fitted.best.number} of {len(fitted.curve)}"
    )


def _videos(fold: int) -> pd.DataFrame:
    splits = files.read_table(files.SPLITS)
    videos = splits.merge(files.read_table(files.INDEX)[["video", "labels"]], on="video")
    if not (videos["fold"] == fold).any():
        raise QvpipeError(f"data/splits.csv has no video in fold {fold}; `dvc repro` makes it anew")
    return videos


def _items(videos: pd.DataFrame, model: ModelSettings, classes: int) -> Items:
    if model.input == "superimage":
        read = partial(_superimage, model=model)
    else:
        cleaned = by_video(files.read_table(files.CLEAN))
        read = partial(_frames, model=model, cleaned=cleaned)
    with ThreadPoolExecutor() as pool:
        pictures = np.stack(list(pool.map(read, videos["video"])))
    return Items(
        torch.from_numpy(pictures).permute(0, 1, 4, 2, 3),
        torch.from_numpy(targets(videos["labels"], classes)).float(),
    )


def _superimage(video: str, model: ModelSettings) -> Views:
    return superimage_views(decode_jpeg(files.superimage(video).read_bytes()), model)


def _frames(video: str, model: ModelSettings, cleaned: dict[str, list[Judgement]]) -> Views:
    return frame_views(unpack(files.frames_zip(video)), cleaned[video], model)


def _part(items: Items, chosen: np.ndarray) -> Items:
    positions = torch.from_numpy(np.flatnonzero(chosen)).to(items.targets.device)
    return Items(items.pictures[positions], items.targets[positions])


def _augmentation(settings: Settings, member: str) -> Augmentation:
    recipe, model = settings.recipe(member), settings.models[member]

    def augment(pictures: Tensor) -> Tensor:
        pictures = flip(pictures, recipe.flip)
        if model.input == "superimage":
            pictures = shuffle_tiles(pictures, settings.superimages.grid, recipe.tile_shuffle)
        return pictures

    return augment


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
    result = metrics.summary(
        judged.targets.cpu().numpy(), probabilities, classes, settings.data.normal
    )
    folder = files.fold_model(member, fold)
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(fitted.state, folder / files.WEIGHTS)
    curve = pd.DataFrame([dataclasses.asdict(epoch) for epoch in fitted.curve])
    # Speed differs from run to run, and what DVC keeps must not.
    files.write_table(folder / "curve.csv", curve.drop(columns="items_per_s"))
    files.write_json(
        folder / "model.json",
        {
            "member": member,
            "fold": fold,
            "epoch": fitted.best.number,
            "classes": classes,
            "model": config.as_tree(settings.models[member]),
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
