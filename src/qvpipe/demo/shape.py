"""Pipes that are not straight and round: bends, dents, ovals, steps."""

from dataclasses import dataclass

import cv2
import numpy as np

from qvpipe.demo.geometry import FAR, Camera, Hits, angle_column
from qvpipe.demo.noise import Floats

_SHRINK = 3
_DEPTHS = (0.55 * 1.125 ** np.arange(26)).astype(np.float32)


@dataclass(frozen=True)
class Oval:
    """A stretch where the section is an ellipse.

    Attributes:
        z: Middle of the stretch.
        length: Length of the stretch.
        squeeze: How much shorter the short half-axis is, 0 to 0.4.
        tilt: Angle of the long axis in radians.
    """

    z: float
    length: float
    squeeze: float
    tilt: float


@dataclass(frozen=True)
class Dent:
    """A place where the wall is pressed inwards.

    Attributes:
        z: Middle along the pipe.
        length: Length along the pipe.
        angle: Middle around the axis.
        focus: Narrowness around the axis, 2 (wide) to 12 (narrow).
        depth: Height of the bulge in radii, 0 to 0.5.
    """

    z: float
    length: float
    angle: float
    focus: float
    depth: float


@dataclass(frozen=True)
class Sag:
    """A stretch where the axis dips and comes up again.

    Attributes:
        z: Deepest place.
        length: Length from rim to rim.
        depth: How far the axis sinks, in radii.
        sideways: How far it goes to the right at the same time.
    """

    z: float
    length: float
    depth: float
    sideways: float


@dataclass(frozen=True)
class Step:
    """A joint behind which the pipe is shifted sideways.

    Attributes:
        z: Place of the joint.
        x: Shift to the right.
        y: Shift downwards.
    """

    z: float
    x: float
    y: float


@dataclass(frozen=True)
class Shape:
    """Everything by which a pipe differs from a straight round tube."""

    ovals: tuple[Oval, ...] = ()
    dents: tuple[Dent, ...] = ()
    sags: tuple[Sag, ...] = ()
    steps: tuple[Step, ...] = ()

    def is_smoothly_bent(self, z: float) -> bool:
        """Whether a camera at z sees an oval, a dent or a sag."""
        parts: tuple[Oval | Dent | Sag, ...] = (*self.ovals, *self.dents, *self.sags)
        return any(part.z - part.length - 8 < z < part.z + part.length for part in parts)

    def centre(self, z: Floats) -> tuple[Floats, Floats]:
        """Position (x, y) of the axis at these z, steps not counted."""
        x, y = np.zeros_like(z), np.zeros_like(z)
        for sag in self.sags:
            dip = _bump((z - sag.z) / (sag.length / 2))
            x += np.float32(sag.sideways) * dip
            y += np.float32(sag.depth) * dip
        return x, y

    def excess(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """How far outside the wall a point lies, in radii; negative inside the pipe."""
        centre_x, centre_y = self.centre(z)
        for step in self.steps:
            beyond = (z > step.z).astype(np.float32)
            centre_x = centre_x + np.float32(step.x) * beyond
            centre_y = centre_y + np.float32(step.y) * beyond
        x, y = x - centre_x, y - centre_y
        square = np.maximum(x * x + y * y, 1e-6)
        radius = np.sqrt(square)
        limit = np.ones_like(radius)
        for oval in self.ovals:
            doubled = np.cos(2 * oval.tilt) * (x * x - y * y) + np.sin(2 * oval.tilt) * 2 * x * y
            zone = _bump((z - oval.z) / (oval.length / 2)) * np.float32(oval.squeeze)
            limit = limit + zone * (0.55 * doubled / square - 0.45)
        for dent in self.dents:
            towards = (np.cos(dent.angle) * x + np.sin(dent.angle) * y) / radius
            zone = _bump((z - dent.z) / (dent.length / 2)) * np.float32(dent.depth)
            limit = limit - zone * np.exp(np.float32(dent.focus) * (towards - 1))
        return (radius - limit).astype(np.float32)


def meet_shape(camera: Camera, shape: Shape) -> tuple[Hits, Floats]:
    """Follow every ray until it leaves the pipe.

    Args:
        camera: The camera's pose.
        shape: The pipe.

    Returns:
        The hits at full size, and how much the wall there faces the camera: a factor around 1.
    """
    dx, dy = camera.slopes(_SHRINK)
    depths = _DEPTHS[:, None]
    rays_x, rays_y = dx.ravel()[None], dy.ravel()[None]
    z = camera.z + np.broadcast_to(depths, (len(_DEPTHS), rays_x.shape[1]))
    excess = shape.excess(camera.x + rays_x * depths, camera.y + rays_y * depths, z[:, :1] * 1.0)
    outside = excess >= 0
    outside[-1] = True
    first = np.maximum(outside.argmax(axis=0), 1)
    pixels = np.arange(first.size)
    before, after = excess[first - 1, pixels], excess[first, pixels]
    share = np.clip(-before / np.maximum(after - before, 1e-4), 0, 1)
    depth = _DEPTHS[first - 1] + share * (_DEPTHS[first] - _DEPTHS[first - 1])
    hit_x, hit_y = camera.x + rays_x[0] * depth, camera.y + rays_y[0] * depth
    hit_z = (camera.z + depth).astype(np.float32)
    rise = shape.excess(hit_x, hit_y, hit_z + 0.15) - shape.excess(hit_x, hit_y, hit_z - 0.15)
    facing = np.clip(1 + 1.6 * rise, 0.35, 1.5)
    centre_x, centre_y = shape.centre(hit_z)

    def enlarge(values: Floats) -> Floats:
        size = (dx.shape[1] * _SHRINK, dx.shape[0] * _SHRINK)
        large = cv2.resize(values.reshape(dx.shape).astype(np.float32), size)
        return large[: camera.height, : camera.width].astype(np.float32)

    far = np.float32(FAR)
    return (
        Hits(
            np.minimum(1 / enlarge(1 / np.maximum(depth, 0.05)), far),
            angle_column(enlarge(hit_x - centre_x), enlarge(hit_y - centre_y)),
        ),
        enlarge(facing),
    )


def _bump(t: Floats) -> Floats:
    inside = np.clip(1 - t * t, 0, 1)
    return inside * inside * (3 - 2 * inside)
