"""When and where a class is seen in a video: moments, frames and boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from qvpipe.inference.gradcam import Heat, heat_maps
from qvpipe.inference.intake import check_length
from qvpipe.inference.predictor import Prediction, Predictor
from qvpipe.inputs import Examined, examine
from qvpipe.learning.ensemble import Floats
from qvpipe.learning.evaluate import predict
from qvpipe.video.images import Image, square

EDGE = 0.5
"""A box goes around the heat above this share of its highest value."""

Box = tuple[int, int, int, int]
"""Left, upper, right and lower edge in pixels of the frame."""


@dataclass(frozen=True)
class Moment:
    """A frame in which a class is seen.

    Attributes:
        time_s: Seconds since the first picture of the video.
        index: Which picture of the video it is, from 0.
        share: What part of all that speaks for the class is in this frame, from 0 to 1.
        heat: What in the frame speaks for the class, from 0 to 1, `[height, width]`.
        point: The hottest point, x and y in pixels.
        box: Around the heat at that point.
        frame: The frame at full size, uint8 `[height, width, 3]`, RGB.
    """

    time_s: float
    index: int
    share: float
    heat: Heat
    point: tuple[int, int]
    box: Box
    frame: Image


@dataclass(frozen=True)
class Seeing:
    """Why a class is predicted.

    Attributes:
        name: The class.
        moments: Frames in which it is seen, the best first; none for the normal class, which is
            nowhere, and none where all members see whole clips, whose backbones show no place.
    """

    name: str
    moments: tuple[Moment, ...]


@dataclass(frozen=True)
class Explanation:
    """What an ensemble says of a video, and why.

    Attributes:
        prediction: What it says.
        seeings: Why, for each class that is explained.
        times: Seconds of the candidate frames, `[frames]`.
        frame_scores: Of each frame-wise member, the probability of each class in each candidate
            frame alone, `[frames, classes]`.
        superimage: What the members with that input see.
    """

    prediction: Prediction
    seeings: tuple[Seeing, ...]
    times: Floats
    frame_scores: dict[str, Floats]
    superimage: Image


@dataclass(frozen=True)
class Evidence:
    """What a member sees of a class, for some of the candidate frames.

    Attributes:
        positions: Which frames.
        strengths: How much speaks for the class in each; together 1.
        heats: Where, 0 or more, `[rows, columns]` each.
    """

    positions: Sequence[int]
    strengths: Floats
    heats: Sequence[Heat]


def explain(
    predictor: Predictor, path: Path, classes: Sequence[str] | None = None, moments: int = 3
) -> Explanation:
    """Explain a prediction.

    Args:
        predictor: The ensemble.
        path: Whole path of a video.
        classes: Which classes; None for those that are predicted, or for the most probable one.
        moments: How many moments of each class are wanted at most.

    Raises:
        VideoError: If the video cannot be read.
        QvpipeError: If a backbone cannot be explained.
    """
    check_length(path)
    settings, members = predictor.settings, list(predictor.networks)
    examined = examine(path, settings, full_size=True)
    views = examined.views(settings, members)
    (prediction,) = predictor.predict([(str(path), views)])
    probabilities = prediction.probabilities
    names = classes or prediction.labels or [max(probabilities, key=lambda c: probabilities[c])]
    scores = {
        member: _frame_scores(predictor, examined, member)
        for member in members
        if settings.models[member].input == "frames"
    }
    return Explanation(
        prediction,
        tuple(_seeing(predictor, examined, scores, name, moments) for name in names),
        examined.sample.times,
        scores,
        examined.superimage(settings.superimages),
    )


def _seeing(
    predictor: Predictor, examined: Examined, scores: dict[str, Floats], name: str, most: int
) -> Seeing:
    if name == predictor.rules["normal"]:
        return Seeing(name, ())
    target = predictor.classes.index(name)
    weights, found = [], []
    for member in predictor.networks:
        if predictor.settings.models[member].input == "clip":
            continue
        weights.append(predictor.rules["members"][member])
        found.append(
            _in_frames(predictor, examined, member, scores[member][:, target], target)
            if member in scores
            else _in_superimage(predictor, examined, member, target)
        )
    if not found:
        return Seeing(name, ())
    # Where a super-image is looked at, its tiles are what all members are asked about.
    positions = sorted(set.intersection(*(set(evidence.positions) for evidence in found)))
    strengths = {
        position: sum(
            weight * _at(evidence, position)[0]
            for weight, evidence in zip(weights, found, strict=True)
        )
        for position in positions
    }
    total = sum(strengths.values()) or 1.0
    best = sorted(positions, key=lambda position: -strengths[position])[:most]
    return Seeing(
        name,
        tuple(
            _moment(
                examined,
                position,
                strengths[position] / total,
                [_at(evidence, position)[1] for evidence in found],
                weights,
            )
            for position in best
        ),
    )


def _frame_scores(predictor: Predictor, examined: Examined, member: str) -> Floats:
    """Return the probability of each class in each candidate frame, `[frames, classes]`."""
    pictures = _frame_pictures(predictor, examined, member)[:, np.newaxis]
    folds = [predict(n, pictures, 16, predictor.device) for n in predictor.networks[member]]
    return torch.stack(folds).mean(dim=0).double().numpy()


def _frame_pictures(predictor: Predictor, examined: Examined, member: str) -> Tensor:
    size = predictor.settings.models[member].size
    pictures = np.stack([square(frame, size, "squash") for frame in examined.stored.frames])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)


def _in_frames(
    predictor: Predictor, examined: Examined, member: str, scores: Floats, target: int
) -> Evidence:
    pictures = _frame_pictures(predictor, examined, member)
    heats = heat_maps(predictor.networks[member], pictures, target)
    return Evidence(range(len(heats)), scores / max(scores.sum(), 1e-12), list(heats))


def _in_superimage(predictor: Predictor, examined: Examined, member: str, target: int) -> Evidence:
    settings = predictor.settings
    (view,) = examined.views(settings, [member])[member]
    picture = torch.from_numpy(view).permute(2, 0, 1)
    (heat,) = heat_maps(predictor.networks[member], picture[np.newaxis], target)
    grid, tile = settings.superimages.grid, view.shape[0] // settings.superimages.grid
    whole = cv2.resize(heat, view.shape[:2], interpolation=cv2.INTER_LINEAR)
    tiles = whole.reshape(grid, tile, grid, tile).swapaxes(1, 2).reshape(-1, tile, tile)
    height, width = examined.stored.frames.shape[1:3]
    heats = [_inner(one, width, height, settings.superimages.fit) for one in tiles]
    strengths = np.array([one.mean() for one in heats])
    return Evidence(
        examined.tiles(settings.superimages), strengths / max(strengths.sum(), 1e-12), heats
    )


def _inner(tile: Heat, width: int, height: int, fit: Literal["squash", "letterbox"]) -> Heat:
    """Return the part of a tile that shows the frame, without black bars."""
    if fit == "squash":
        return tile
    side, longer = len(tile), max(width, height)
    across, down = (max(1, round(edge * side / longer)) for edge in (width, height))
    top, left = (side - down) // 2, (side - across) // 2
    return tile[top : top + down, left : left + across]


def _at(evidence: Evidence, position: int) -> tuple[float, Heat]:
    """Return strength and heat of a frame; a short video may show it on several tiles."""
    here = [i for i, other in enumerate(evidence.positions) if other == position]
    best = max(here, key=lambda i: float(evidence.strengths[i]))
    return float(sum(evidence.strengths[i] for i in here)), evidence.heats[best]


def _moment(
    examined: Examined, position: int, share: float, heats: Sequence[Heat], weights: Sequence[float]
) -> Moment:
    sample = examined.sample
    frame = sample.frames[position]
    height, width = frame.shape[:2]
    heat = np.zeros((height, width), dtype=np.float32)
    for weight, small in zip(weights, heats, strict=True):
        large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).clip(0)
        heat += weight * large / max(float(large.max()), 1e-12)
    heat /= max(float(heat.max()), 1e-12)
    y, x = np.unravel_index(int(heat.argmax()), heat.shape)
    return Moment(
        float(sample.times[position]),
        int(sample.indices[position]),
        share,
        heat,
        (int(x), int(y)),
        _box(heat, int(x), int(y)),
        frame,
    )


def _box(heat: Heat, x: int, y: int) -> Box:
    """Return the box around the hot region that holds a point."""
    _, regions = cv2.connectedComponents((heat >= EDGE).astype(np.uint8))
    left, top, width, height = cv2.boundingRect((regions == regions[y, x]).astype(np.uint8))
    return left, top, left + width, top + height
