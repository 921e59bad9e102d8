"""Random lines: cracks and roots."""

import math

import cv2
import numpy as np

from qvpipe.demo.noise import Floats, Picture, Rng, floats


def jagged_line(
    rng: Rng, start: tuple[float, float], end: tuple[float, float], jag: float, depth: int = 6
) -> Floats:
    """Break a line at random.

    Args:
        rng: Source of randomness.
        start: First point (x, y) in pixels.
        end: Last point.
        jag: How far the middle may move, as a part of the length.
        depth: How often every piece is halved.

    Returns:
        Points (2 ** depth + 1, 2).
    """
    points = floats([start, end])
    for _ in range(depth):
        middle = (points[:-1] + points[1:]) / 2
        along = points[1:] - points[:-1]
        across = np.stack([-along[:, 1], along[:, 0]], axis=-1)
        middle = middle + across * rng.uniform(-jag, jag, (len(middle), 1)).astype(np.float32)
        woven = np.empty((len(points) + len(middle), 2), np.float32)
        woven[0::2], woven[1::2] = points, middle
        points = woven
    return points


def draw_line(mask: Picture, points: Floats, first: float, last: float, value: int = 255) -> None:
    """Draw a line whose thickness (pixels) changes from `first` to `last`, in place."""
    fixed = np.round(points * 16).astype(np.int32)
    for i in range(len(points) - 1):
        thickness = first + (last - first) * i / max(len(points) - 2, 1)
        start, end = fixed[i].tolist(), fixed[i + 1].tolist()
        cv2.line(mask, start, end, value, max(1, round(thickness)), cv2.LINE_AA, 4)


def grow_roots(rng: Rng, size: int, strands: int, curl: float) -> tuple[Picture, Picture]:
    """Draw a bundle of roots that enters at the middle of the upper edge and hangs down.

    Args:
        rng: Source of randomness.
        size: Width and height of the picture.
        strands: Number of main roots.
        curl: How strongly they wind, 0 to 1.

    Returns:
        Brightness of the roots and their opacity, both (size, size) from 0 to 255.
    """
    tone = np.zeros((size, size), np.uint8)
    cover = np.zeros((size, size), np.uint8)
    for _ in range(strands):
        heading = math.pi / 2 + rng.normal(0, 0.5)
        start = (size / 2 + rng.normal(0, size * 0.05), -2.0)
        length = size * rng.uniform(0.45, 0.98)
        thickness = size * rng.choice([0.006, 0.01, 0.02], p=[0.6, 0.3, 0.1])
        _grow(rng, tone, cover, start, heading, length, thickness, curl, 3)
    return tone, cover


def _grow(
    rng: Rng,
    tone: Picture,
    cover: Picture,
    start: tuple[float, float],
    heading: float,
    length: float,
    thickness: float,
    curl: float,
    depth: int,
) -> None:
    steps = 14
    turns = rng.normal(0, 0.22 * curl + 0.05, steps) + 0.05 * (math.pi / 2 - heading)
    headings = heading + np.cumsum(turns)
    step = length / steps
    xs = start[0] + np.concatenate([[0], np.cumsum(np.cos(headings))]) * step
    ys = start[1] + np.concatenate([[0], np.cumsum(np.sin(headings))]) * step
    line = np.stack([xs, ys], axis=-1).astype(np.float32)
    brightness = int(rng.integers(70, 256))
    draw_line(cover, line, thickness, max(thickness / 3, 1))
    draw_line(tone, line, thickness, max(thickness / 3, 1), brightness)
    if depth == 0:
        return
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(2, steps))
        side = float(headings[at - 1]) + rng.choice([-1, 1]) * rng.uniform(0.3, 0.9)
        point = (float(xs[at]), float(ys[at]))
        rest = length * rng.uniform(0.3, 0.6)
        _grow(rng, tone, cover, point, side, rest, max(thickness * 0.55, 1), curl, depth - 1)
