"""Where and when the defects of a clip can be seen."""

from dataclasses import dataclass

import numpy as np

from qvpipe.demo.geometry import Camera
from qvpipe.demo.journey import FPS
from qvpipe.demo.noise import floats
from qvpipe.demo.picture import Renderer
from qvpipe.demo.scene import Sighting

STEP_S = 0.2
"""Time between two rows for the same defect."""

_LEAST_AREA = 0.015
_LEAST_SHARE = 0.4
_NEAREST = 0.5


@dataclass(frozen=True)
class Visible:
    """A defect at one moment.

    Attributes:
        code: Class code.
        time_s: The moment in seconds.
        x0: Left edge in pixels of the video.
        y0: Upper edge.
        x1: Right edge.
        y1: Lower edge.
    """

    code: str
    time_s: float
    x0: float
    y0: float
    x1: float
    y1: float


def boxes_of(renderer: Renderer) -> list[Visible]:
    """Find for all defects the moments, `STEP_S` apart, at which they can be seen."""
    frames = range(0, renderer.take.journey.frames, round(STEP_S * FPS))
    found = []
    for sighting in renderer.take.scene.sightings:
        for number in frames:
            box = _box(renderer, sighting, renderer.camera(number), renderer.corner(number))
            if box is not None:
                found.append(Visible(sighting.code, number / FPS, *box))
    return found


def _box(
    renderer: Renderer, sighting: Sighting, camera: Camera, corner: tuple[int, int]
) -> tuple[float, float, float, float] | None:
    pixels, depth = camera.project(sighting.points)
    in_front = (depth > _NEAREST) & (depth < sighting.reach)
    pixels = pixels - floats(corner)
    size = floats([renderer.width, renderer.height])
    inside = in_front & (pixels >= 0).all(axis=1) & (pixels < size).all(axis=1)
    if inside.mean() < _LEAST_SHARE:
        return None
    low = np.clip(pixels[in_front].min(axis=0), 0, size)
    high = np.clip(pixels[in_front].max(axis=0), 0, size)
    if float(np.prod(high - low)) < _LEAST_AREA * float(np.prod(size)):
        return None
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
