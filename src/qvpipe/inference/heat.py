"""Where the networks of an ensemble look, for the items that it was judged on."""

from pathlib import Path

import cv2
import numpy as np
import torch

from qvpipe import files
from qvpipe.errors import QvpipeError
from qvpipe.inference.gradcam import heat_maps
from qvpipe.inference.pictures import overlay
from qvpipe.inference.predictor import Predictor
from qvpipe.inputs import views_of
from qvpipe.results import examples
from qvpipe.results.examples import Captioned
from qvpipe.results.pictures import QUALITY, SHOWN, Judged, label_names
from qvpipe.video.images import Image, decode_jpeg, encode_jpeg


def draw_heat(folder: Path, predictor: Predictor, judged: Judged) -> None:
    """Draw `heat.jpg`: where the networks look in the surest items of each class (Grad-CAM).

    Members that do not see super-images have no part in it, nor have backbones without maps of
    features; where no member is left, there is no picture.

    Args:
        folder: Where the picture comes to lie.
        predictor: The ensemble.
        judged: The items, with the ensemble's probabilities.
    """
    chosen = judged.scores.argmax(axis=1)
    rows: dict[str, Captioned] = {}
    try:
        for target, name in enumerate(predictor.classes):
            surest = np.argsort(-judged.scores[:, target], kind="stable")
            rows[f"taken for {name}, the surest first"] = [
                (
                    _heated(predictor, judged.videos[i], target),
                    f"{judged.videos[i][-24:]}\np {judged.scores[i, target]:.2f}, label "
                    f"{label_names(judged.truth[i], predictor.classes)}",
                )
                for i in surest[chosen[surest] == target][:SHOWN]
            ]
    except QvpipeError as error:
        print(f"warning: no picture of where the networks look, as {error}")
        return
    rows = {title: shown for title, shown in rows.items() if shown}
    title = f"Where the networks look, {judged.name}"
    (folder / "heat.jpg").write_bytes(encode_jpeg(examples.sheet(title, rows), QUALITY))


def _heated(predictor: Predictor, video: str, target: int) -> Image:
    """Return the super-image of an item with what in it speaks for a class."""
    superimage = decode_jpeg(files.superimage(video).read_bytes())
    height, width = superimage.shape[:2]
    heat = np.zeros((height, width), dtype=np.float32)
    for member, networks in predictor.networks.items():
        model = predictor.settings.models[member]
        if model.input == "superimage":
            view = torch.from_numpy(views_of([superimage], model)).permute(0, 3, 1, 2)
            (found,) = heat_maps(networks, view, target)
            large = cv2.resize(found, (width, height), interpolation=cv2.INTER_CUBIC).clip(0)
            heat += predictor.rules["members"][member] * large
    return overlay(superimage, heat / max(float(heat.max()), 1e-12))
