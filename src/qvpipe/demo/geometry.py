"""Where a ray from the camera meets the pipe, and where a point of the pipe is in the picture.

The unit of length is the radius of the pipe. x points right, y down, z along the pipe; the axis
of the pipe is x = y = 0. Angles around the axis run from x to y, so pi/2 is the bottom.
"""

import math
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from qvpipe.demo.noise import Floats, floats

FAR = 10.0
"""Depth in radii beyond which nothing is lit."""

NEAR = 0.3
"""Depth in radii before which nothing is drawn."""

TEXELS = 128
"""Texture pixels per radius, along the pipe and around it."""

AROUND = round(2 * math.pi * TEXELS)
"""Texture columns once around the pipe; column 0 is the top."""


@dataclass(frozen=True)
class Camera:
    """One camera pose.

    Attributes:
        x: Position to the right of the axis.
        y: Position below the axis.
        z: Position along the pipe.
        yaw: Turn to the right in radians.
        pitch: Turn downwards in radians.
        roll: Turn around the optical axis, clockwise, in radians.
        focal: Focal length in pixels.
        width: Width of the canvas in pixels.
        height: Height of the canvas in pixels.
    """

    x: float
    y: float
    z: float
    yaw: float
    pitch: float
    roll: float
    focal: float
    width: int
    height: int

    def rotation(self) -> Floats:
        """Matrix (3, 3) that turns directions of the camera into directions of the pipe."""
        cy, sy = math.cos(self.yaw), math.sin(self.yaw)
        cp, sp = math.cos(self.pitch), math.sin(self.pitch)
        cr, sr = math.cos(self.roll), math.sin(self.roll)
        turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        nod = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
        tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        return floats(turn @ nod @ tilt)

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Project points (n, 3) of the pipe.

        Returns:
            Pixels (n, 2) on the canvas and depths (n,); pixels mean nothing where the depth is
            below `NEAR`.
        """
        seen = (points - floats([self.x, self.y, self.z])) @ self.rotation()
        depth = seen[:, 2]
        safe = np.maximum(depth, NEAR / 2)[:, None]
        middle = floats([self.width / 2, self.height / 2])
        return (seen[:, :2] / safe * self.focal + middle).astype(np.float32), depth

    def slopes(self, shrink: int = 1) -> tuple[Floats, Floats]:
        """Directions of all rays as dx/dz and dy/dz.

        Args:
            shrink: Compute only every so many pixels.

        Returns:
            Two arrays of the canvas' size divided by `shrink` (rounded up).
        """
        offset = (shrink - 1) / 2
        u = np.arange(0, self.width, shrink, dtype=np.float32) + offset - self.width / 2
        v = np.arange(0, self.height, shrink, dtype=np.float32) + offset - self.height / 2
        a, b = np.meshgrid(u / np.float32(self.focal), v / np.float32(self.focal))
        r = self.rotation()
        dz = np.maximum(r[2, 0] * a + r[2, 1] * b + r[2, 2], 0.05)
        dx = (r[0, 0] * a + r[0, 1] * b + r[0, 2]) / dz
        dy = (r[1, 0] * a + r[1, 1] * b + r[1, 2]) / dz
        return dx.astype(np.float32), dy.astype(np.float32)


@dataclass(frozen=True)
class Hits:
    """Where the rays of all pixels meet one surface.

    Attributes:
        depth: Distance along z in radii, at most `FAR`.
        column: Texture column (fraction of pixels).
    """

    depth: Floats
    column: Floats


@dataclass
class View:
    """The rays of a camera and what has been computed from them so far."""

    camera: Camera
    _slopes: tuple[Floats, Floats] | None = None
    _tubes: dict[tuple[float, float, float], Hits] = field(default_factory=dict)
    _planes: dict[float, Hits] = field(default_factory=dict)
    _mirrors: dict[float, Hits] = field(default_factory=dict)

    @property
    def slopes(self) -> tuple[Floats, Floats]:
        """Directions of all rays, see `Camera.slopes`."""
        if self._slopes is None:
            self._slopes = self.camera.slopes()
        return self._slopes

    def tube(self, radius: float = 1.0, x: float = 0.0, y: float = 0.0) -> Hits:
        """Meet a round tube with its axis through (x, y)."""
        key = (round(radius, 4), round(x, 4), round(y, 4))
        if key not in self._tubes:
            self._tubes[key] = _meet_tube(self.camera, self.slopes, radius, x, y)
        return self._tubes[key]

    def plane(self, y: float) -> Hits:
        """Meet the level plane at height y; its columns are x * TEXELS from the left wall."""
        key = round(y, 4)
        if key not in self._planes:
            self._planes[key] = _meet_plane(self.camera, self.slopes, y)
        return self._planes[key]

    def mirror(self, y: float) -> Hits:
        """Meet the wall after a reflection in the level plane at height y."""
        key = round(y, 4)
        if key not in self._mirrors:
            dx, dy = self.slopes
            below = replace(self.camera, y=2 * y - self.camera.y)
            self._mirrors[key] = _meet_tube(below, (dx, -dy), 1.0, 0.0, 0.0)
        return self._mirrors[key]


def angle_column(x: Floats, y: Floats) -> Floats:
    """Texture column of a direction around the axis, 0 to AROUND."""
    angle = cv2.phase(-y, x)
    return (angle * np.float32(AROUND / (2 * math.pi))).astype(np.float32)


def column_angle(column: float) -> float:
    """Angle around the axis of a texture column."""
    return column / AROUND * 2 * math.pi - math.pi / 2


def angle_to_column(angle: float) -> float:
    """Texture column, 0 to AROUND, of an angle around the axis."""
    return ((angle + math.pi / 2) / (2 * math.pi) * AROUND) % AROUND


def on_wall(angle: Floats, z: Floats, radius: float = 1.0) -> Floats:
    """Points (n, 3) on the wall at these angles and positions along the pipe."""
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=-1).astype(np.float32)


def _meet_tube(
    camera: Camera, slopes: tuple[Floats, Floats], radius: float, x: float, y: float
) -> Hits:
    dx, dy = slopes
    cx, cy = np.float32(camera.x - x), np.float32(camera.y - y)
    a = np.maximum(dx * dx + dy * dy, 1e-6)
    b = cx * dx + cy * dy
    inside = np.maximum(b * b - a * (cx * cx + cy * cy - np.float32(radius * radius)), 0)
    depth = np.clip((np.sqrt(inside) - b) / a, 0, FAR)
    return Hits(depth, angle_column(cx + depth * dx, cy + depth * dy))


def _meet_plane(camera: Camera, slopes: tuple[Floats, Floats], y: float) -> Hits:
    dx, dy = slopes
    towards = dy if y > camera.y else -dy
    depth = np.minimum(abs(y - camera.y) / np.maximum(towards, 1e-4), FAR).astype(np.float32)
    column = (camera.x + depth * dx + 1) * TEXELS
    return Hits(depth, column.astype(np.float32))
