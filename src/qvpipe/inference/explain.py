"""When and where a class is seen in a video: moments, frames and boxes."""

from collections.abc import Callable, Mapping, Sequence
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
from qvpipe.inputs import Examined, Views, examine
from qvpipe.learning.ensemble import Floats
from qvpipe.learning.evaluate import predict
from qvpipe.learning.network import Network
from qvpipe.learning.tasks import activation
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

    @property
    def timeless(self) -> bool:
        """Whether it is of a single picture, so that a moment says only where."""
        return len(set(self.times.tolist())) == 1


@dataclass(frozen=True)
class Evidence:
    """What a member sees of a class, in some of the candidate frames.

    Attributes:
        strengths: How much speaks for the class in each, by the frame's position; together 1.
        heats: Gives where it does in frames at some of the positions, 0 or more, `[rows, columns]`
            each. It is asked for a few alone, since it costs much more.
    """

    strengths: Mapping[int, float]
    heats: Callable[[Sequence[int]], Sequence[Heat]]


def explain(
    predictor: Predictor, path: Path, classes: Sequence[str] | None = None, moments: int = 3
) -> Explanation:
    """Explain what an ensemble says of a video file.

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
    examined = examine(path, predictor.settings, full_size=True)
    views = examined.views(predictor.settings, predictor.settings.voters)
    (prediction,) = predictor.predict([(str(path), views)])
    return explain_prediction(predictor, examined, views, prediction, classes, moments)


def explain_prediction(
    predictor: Predictor,
    examined: Examined,
    views: Mapping[str, Views],
    prediction: Prediction,
    classes: Sequence[str] | None = None,
    moments: int = 3,
) -> Explanation:
    """Explain a prediction that has been made; see `explain`.

    Args:
        predictor: The ensemble that made it.
        examined: The video.
        views: What each member saw of it.
        prediction: What was said.
        classes: See `explain`.
        moments: See `explain`.

    Raises:
        QvpipeError: If a backbone cannot be explained.
    """
    settings, probabilities = predictor.settings, prediction.probabilities
    names = classes or prediction.labels or [max(probabilities, key=lambda c: probabilities[c])]
    pictures = {
        member: _frame_pictures(predictor, examined, member)
        for member in predictor.networks
        if settings.models[member].input == "frames"
    }
    scores = {
        member: _frame_scores(predictor, frames, member) for member, frames in pictures.items()
    }

    def seeing(name: str) -> Seeing:
        if name == predictor.rules["normal"]:
            return Seeing(name, ())
        target = predictor.classes.index(name)
        evidence = {
            member: _in_frames(networks, pictures[member], scores[member][:, target], target)
            if member in pictures
            else _in_superimage(predictor, examined, views[member], member, target)
            for member, networks in predictor.networks.items()
            # Attention over a whole clip says nothing of one frame.
            if settings.models[member].input != "clip"
        }
        if not evidence:
            return Seeing(name, ())
        weights = [float(predictor.rules["members"][member]) for member in evidence]
        return Seeing(name, _moments(examined, list(evidence.values()), weights, moments))

    return Explanation(
        prediction,
        tuple(seeing(name) for name in names),
        examined.sample.times,
        scores,
        examined.superimage(settings.superimages),
    )


def _moments(
    examined: Examined, found: Sequence[Evidence], weights: Sequence[float], most: int
) -> tuple[Moment, ...]:
    """Return the frames in which members of some weights see most of a class."""
    # Where a super-image is looked at, its tiles are what all members are asked about.
    positions = sorted(set.intersection(*(set(evidence.strengths) for evidence in found)))
    strengths = {
        position: sum(
            weight * evidence.strengths[position]
            for weight, evidence in zip(weights, found, strict=True)
        )
        for position in positions
    }
    total = sum(strengths.values()) or 1.0
    best = sorted(positions, key=lambda position: -strengths[position])[:most]
    heats = zip(*(evidence.heats(best) for evidence in found), strict=True)
    return tuple(
        _moment(examined, position, strengths[position] / total, of_members, weights)
        for position, of_members in zip(best, heats, strict=True)
    )


def _frame_pictures(predictor: Predictor, examined: Examined, member: str) -> Tensor:
    """Return all candidate frames as a frame-wise member sees them, uint8 `[frames, 3, h, w]`."""
    size = predictor.settings.models[member].size
    pictures = np.stack([square(frame, size, "squash") for frame in examined.stored.frames])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)


def _frame_scores(predictor: Predictor, pictures: Tensor, member: str) -> Floats:
    """Return the probability of each class in each candidate frame, `[frames, classes]`."""
    items, activate = pictures[:, np.newaxis], activation(predictor.settings.task)
    folds = [
        predict(network, items, len(items), predictor.device, activate=activate)
        for network in predictor.networks[member]
    ]
    return torch.stack(folds).mean(dim=0).double().numpy()


def _in_frames(
    networks: Sequence[Network], pictures: Tensor, scores: Floats, target: int
) -> Evidence:
    shares = scores / max(scores.sum(), 1e-12)

    def heats(positions: Sequence[int]) -> Sequence[Heat]:
        return list(heat_maps(networks, pictures[list(positions)], target))

    return Evidence(dict(enumerate(shares)), heats)


def _in_superimage(
    predictor: Predictor, examined: Examined, views: Views, member: str, target: int
) -> Evidence:
    settings = predictor.settings
    (view,) = views
    picture = torch.from_numpy(view).permute(2, 0, 1)
    (heat,) = heat_maps(predictor.networks[member], picture[np.newaxis], target)
    grid, tile = settings.superimages.grid, view.shape[0] // settings.superimages.grid
    whole = cv2.resize(heat, view.shape[:2], interpolation=cv2.INTER_LINEAR)
    tiles = whole.reshape(grid, tile, grid, tile).swapaxes(1, 2).reshape(-1, tile, tile)
    height, width = examined.stored.frames.shape[1:3]
    inner = [_inner(one, width, height, settings.superimages.fit) for one in tiles]
    shares = np.array([one.mean() for one in inner])
    shares /= max(shares.sum(), 1e-12)
    # A short video may show a frame on several tiles.
    tiles_of: dict[int, list[int]] = {}
    for number, position in enumerate(examined.tiles(settings.superimages)):
        tiles_of.setdefault(position, []).append(number)

    def heats(positions: Sequence[int]) -> Sequence[Heat]:
        return [inner[max(tiles_of[p], key=lambda i: float(shares[i]))] for p in positions]

    return Evidence({p: float(shares[numbers].sum()) for p, numbers in tiles_of.items()}, heats)


def _inner(tile: Heat, width: int, height: int, fit: Literal["squash", "letterbox"]) -> Heat:
    """Return the part of a tile that shows the frame, without black bars."""
    if fit == "squash":
        return tile
    side, longer = len(tile), max(width, height)
    across, down = (max(1, round(edge * side / longer)) for edge in (width, height))
    top, left = (side - down) // 2, (side - across) // 2
    return tile[top : top + down, left : left + across]


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
