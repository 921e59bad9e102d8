"""Things that stand in the pipe: flat pictures in space, tubes, running drops."""

import math
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from qvpipe.demo.geometry import NEAR, Camera
from qvpipe.demo.look import Colour, Light
from qvpipe.demo.noise import Floats, Picture, floats, smooth_noise, to_picture

_STRIPS = tuple(
    (1 - 0.85 * k / 7, 0.3 + 0.85 * math.sin(math.pi / 2 * k / 7), 0.3 * k / 7) for k in range(8)
)
"""Width, brightness and shift of the strips that make a tube look round."""


class Solid(Protocol):
    """Anything that can be drawn over the picture of the pipe."""

    @property
    def z(self) -> float:
        """Position along the pipe by which solids are sorted."""

    def points(self) -> Floats:
        """Points (n, 3) that span it."""

    def draw(self, canvas: Picture, camera: Camera, light: Light, second: float) -> None:
        """Draw it over a canvas that is changed in place."""


@dataclass(frozen=True)
class Board:
    """A flat picture hung up in the pipe.

    Attributes:
        corners: Upper left, upper right, lower right, lower left corner, (4, 3) in radii.
        picture: Colour in BGR, multiplied by the opacity, and opacity, (rows, columns, 4).
        shade: Gain of its light.
    """

    corners: Floats
    picture: Picture
    shade: float = 1.0

    @property
    def z(self) -> float:
        """Mean position along the pipe."""
        return float(self.corners[:, 2].mean())

    def points(self) -> Floats:
        """Points on the opaque parts."""
        small = cv2.resize(self.picture[..., 3], (9, 9), interpolation=cv2.INTER_AREA)
        rows, cols = np.nonzero(small > 40)
        down, right = ((rows + 0.5) / 9)[:, None], ((cols + 0.5) / 9)[:, None]
        upper = self.corners[0] + right * (self.corners[1] - self.corners[0])
        lower = self.corners[3] + right * (self.corners[2] - self.corners[3])
        return floats(upper + down * (lower - upper))

    def draw(self, canvas: Picture, camera: Camera, light: Light, second: float) -> None:
        """Draw it in perspective; not at all once a corner is behind the lens."""
        pixels, depth = camera.project(self.corners)
        if depth.min() < NEAR or depth.max() > light.dark:
            return
        low = np.maximum(np.floor(pixels.min(axis=0)), 0).astype(int)
        high = np.minimum(np.ceil(pixels.max(axis=0)) + 1, [canvas.shape[1], canvas.shape[0]])
        width, height = int(high[0]) - int(low[0]), int(high[1]) - int(low[1])
        if width < 2 or height < 2:
            return
        picture = self.picture
        extent = float(np.ptp(pixels, axis=0).max())
        while max(picture.shape) > 2 * extent and min(picture.shape[:2]) > 8:
            picture = cv2.pyrDown(picture).astype(np.uint8)
        rows, cols = picture.shape[:2]
        frame = floats([[0, 0], [cols, 0], [cols, rows], [0, rows]])
        matrix = cv2.getPerspectiveTransform(frame, pixels - low.astype(np.float32))
        piece = cv2.warpPerspective(picture, matrix, (width, height), flags=cv2.INTER_LINEAR)
        gain = float(light.gain(floats([depth.mean()]))[0]) * self.shade
        part = canvas[low[1] : low[1] + height, low[0] : low[0] + width]
        left = cv2.merge([cv2.bitwise_not(cv2.extractChannel(piece, 3))] * 3)
        lit = cv2.convertScaleAbs(cv2.cvtColor(piece, cv2.COLOR_BGRA2BGR), alpha=gain)
        cv2.add(cv2.multiply(part, left, scale=1 / 255), lit, part)


@dataclass(frozen=True)
class Tube:
    """A round bar, cable, pipe or root along a line.

    Attributes:
        line: Points (n, 3) of its axis.
        radii: Radius at each of them.
        colour: Colour (BGR).
        shine: Brightness of the highlight, 0 to 1.
    """

    line: Floats
    radii: Floats
    colour: Colour
    shine: float = 0.5

    @property
    def z(self) -> float:
        """Mean position along the pipe."""
        return float(self.line[:, 2].mean())

    def points(self) -> Floats:
        """Points on its outline."""
        spread = self.radii[:, None] * floats([0, 1, 0])
        side = self.radii[:, None] * floats([1, 0, 0])
        return np.concatenate(
            [self.line + spread, self.line - spread, self.line + side, self.line - side]
        ).astype(np.float32)

    def draw(self, canvas: Picture, camera: Camera, light: Light, second: float) -> None:
        """Draw it as strips, dark at the rim and bright where it faces the lamps."""
        pixels, depth = camera.project(self.line)
        if depth.max() < NEAR:
            return
        gains = light.gain(depth)
        widths = self.radii * camera.focal / np.maximum(depth, NEAR)
        for width, tone, shift in _STRIPS:
            shine = 260 * self.shine * max(tone - 0.95, 0)
            for i in range(len(pixels) - 1):
                if min(depth[i], depth[i + 1]) < NEAR or max(depth[i], depth[i + 1]) > light.dark:
                    continue
                gain = float(gains[i]) * tone
                ends = pixels[i : i + 2] - widths[i : i + 2, None] * shift
                first, last = (_fixed_point(end) for end in ends)
                colour = [min(gain * c + shine * float(gains[i]), 255.0) for c in self.colour]
                thickness = max(1, round(2 * float(widths[i]) * width))
                cv2.line(canvas, first, last, colour, thickness, cv2.LINE_AA, 4)


@dataclass(frozen=True)
class Drops:
    """Water running or spraying along a path.

    Attributes:
        path: Points (n, 3) from its source to its end.
        spread: How far single drops stray, in radii.
        count: Number of drops.
        speed: Runs through the path per second.
        brightness: Brightness added by a drop, 0 to 255.
        seed: Makes the drops stray in their own way.
    """

    path: Floats
    spread: float
    count: int
    speed: float
    brightness: float
    seed: int

    @property
    def z(self) -> float:
        """Mean position along the pipe."""
        return float(self.path[:, 2].mean())

    def points(self) -> Floats:
        """Points of the path."""
        return self.path

    def draw(self, canvas: Picture, camera: Camera, light: Light, second: float) -> None:
        """Add short bright dashes at the places where the drops are at this moment."""
        rng = np.random.default_rng(self.seed)
        phase = rng.random(self.count)
        pace = rng.uniform(0.75, 1.25, self.count)
        stray = rng.normal(0, self.spread, (self.count, 3))
        share = (phase + second * self.speed * pace) % 1.0
        dash = rng.uniform(0.05, 0.16, self.count)
        heads = self._at(share) + stray * share[:, None]
        tails = self._at(np.maximum(share - dash, 0)) + stray * (share - dash)[:, None]
        head_pixels, depth = camera.project(heads.astype(np.float32))
        tail_pixels, _ = camera.project(tails.astype(np.float32))
        if depth.min() < NEAR or depth.max() > light.dark:
            return
        layer = np.zeros(canvas.shape[:2], np.uint8)
        gain = light.gain(depth)
        thickness = max(1, round(0.009 * camera.focal / float(depth.mean())))
        for i in range(self.count):
            ends = _fixed_point(tail_pixels[i]), _fixed_point(head_pixels[i])
            tone = min(self.brightness * float(gain[i]), 255.0)
            cv2.line(layer, *ends, tone, thickness, cv2.LINE_AA, 4)
        layer = cv2.blur(layer, (2, 3)).astype(np.uint8)
        cv2.add(canvas, cv2.merge([layer, layer, layer]), canvas)

    def _at(self, share: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Floats:
        knots = np.linspace(0, 1, len(self.path))
        columns = [np.interp(share, knots, self.path[:, axis]) for axis in range(3)]
        return np.stack(columns, axis=-1).astype(np.float32)


def upright(picture: Picture, x: float, y: float, z: float, width: float) -> Board:
    """Hang a picture (premultiplied) across the pipe.

    Args:
        picture: Colour and opacity.
        x: Middle in radii.
        y: Lower edge in radii.
        z: Position along the pipe.
        width: Width in radii; the height follows from the picture's proportions.
    """
    height = width * picture.shape[0] / picture.shape[1]
    left, right, top = x - width / 2, x + width / 2, y - height
    corners = floats([[left, top, z], [right, top, z], [right, y, z], [left, y, z]])
    return Board(corners, picture)


def premultiplied(colour: Floats, opacity: Floats) -> Picture:
    """Join colour (0 to 255) and opacity (0 to 1) into the picture of a `Board`."""
    joined = np.concatenate([colour * opacity[..., None], 255 * opacity[..., None]], axis=-1)
    return to_picture(joined)


def sagging_line(
    rng: np.random.Generator, start: Floats, end: Floats, sag: Floats, points: int = 16
) -> Floats:
    """Line (points, 3) between two places, pulled by `sag` in its middle, slightly irregular."""
    t = np.linspace(0, 1, points, dtype=np.float32)[:, None]
    straight = start + t * (end - start)
    wobble = smooth_noise(rng, (points, 3), max(points / 4, 1)) - 0.5
    pull = np.sin(math.pi * t)
    return floats(straight + pull * (sag + 0.12 * wobble))


def _fixed_point(pixel: Floats) -> tuple[int, int]:
    x, y = np.clip(pixel, -2000, 2000)
    return round(float(x) * 16), round(float(y) * 16)
