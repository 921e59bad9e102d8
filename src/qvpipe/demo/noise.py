"""Random textures that every other module of the demo builds on."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating[Any]]
Picture = NDArray[np.uint8]
Rng = np.random.Generator


def floats(values: ArrayLike) -> Floats:
    """Make an array of single-precision numbers."""
    return np.asarray(values, np.float32)


def smooth_noise(rng: Rng, shape: tuple[int, int], cell: float, *, wrap: bool = False) -> Floats:
    """Draw one octave of noise.

    Args:
        rng: Source of randomness.
        shape: Rows and columns.
        cell: Size of a blob in pixels, at least 1.
        wrap: Whether the last column continues in the first one.

    Returns:
        Array of that shape with values from 0 to 1.
    """
    rows, cols = shape
    grid_rows = max(2, round(rows / cell) + 1)
    grid_cols = max(2, round(cols / cell))
    grid = rng.random((grid_rows, grid_cols), dtype=np.float32)
    if not wrap:
        return cv2.resize(grid, (cols, rows), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    pad = 2
    grid = np.concatenate([grid[:, -pad:], grid, grid[:, :pad]], axis=1)
    step = cols / grid_cols
    whole = cv2.resize(
        grid, (round(cols + 2 * pad * step), rows), interpolation=cv2.INTER_CUBIC
    ).astype(np.float32)
    start = round(pad * step)
    return whole[:, start : start + cols]


def fractal_noise(
    rng: Rng,
    shape: tuple[int, int],
    cell: float,
    octaves: int = 4,
    *,
    gain: float = 0.55,
    wrap: bool = False,
) -> Floats:
    """Sum octaves of noise, each half as large as the one before.

    Args:
        rng: Source of randomness.
        shape: Rows and columns.
        cell: Size in pixels of the largest blobs.
        octaves: How many sizes are summed, at least 1.
        gain: Height of an octave relative to the one before.
        wrap: Whether the last column continues in the first one.

    Returns:
        Array of that shape, stretched to values from 0 to 1.
    """
    total = np.zeros(shape, np.float32)
    weight = 1.0
    for _ in range(octaves):
        total += np.float32(weight) * smooth_noise(rng, shape, max(cell, 1.0), wrap=wrap)
        weight *= gain
        cell /= 2
    total -= total.min()
    return total / max(float(total.max()), 1e-6)


def smoothstep(low: float, high: float, values: Floats) -> Floats:
    """Rise softly from 0 where `values` is `low` to 1 where it is `high`."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return floats(t * t * (3 - 2 * t))


def slope_shading(height: Floats, strength: float) -> Floats:
    """Light a relief from the camera's side.

    Args:
        height: Relief, rows along the pipe, away from the camera.
        strength: Change of brightness for a slope of 0.1 per pixel.

    Returns:
        Factor around 1 by which the colour is to be multiplied, 0.3 to 1.8.
    """
    along = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=1.25)
    across = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=1.25)
    return np.clip(1 + strength * (along - 0.4 * across), 0.4, 1.6).astype(np.float32)


def colourise(level: Floats, dark: tuple[float, ...], bright: tuple[float, ...]) -> Floats:
    """Turn levels from 0 to 1 into colours between `dark` and `bright` (BGR, 0 to 255)."""
    low, high = floats(dark), floats(bright)
    return (low + level[..., None] * (high - low)).astype(np.float32)


def to_picture(values: Floats) -> Picture:
    """Round and clip to the 8 bits of a picture."""
    rounded: Picture = np.clip(values + 0.5, 0, 255).astype(np.uint8)
    return rounded
