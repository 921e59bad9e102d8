"""The unrolled wall of a sound pipe: a picture with rows along the pipe and columns around it."""

import cv2
import numpy as np

from qvpipe.demo.geometry import AROUND, TEXELS
from qvpipe.demo.look import Look
from qvpipe.demo.noise import (
    Floats,
    Picture,
    Rng,
    colourise,
    floats,
    fractal_noise,
    slope_shading,
    smooth_noise,
    smoothstep,
    to_picture,
)

_COARSE = 2


def make_wall(rng: Rng, look: Look, length: float, joints: tuple[float, ...]) -> Picture:
    """Paint the wall of a sound, used pipe.

    Args:
        rng: Source of randomness.
        look: Material and tint.
        length: Length in radii.
        joints: Positions of the joints in radii.

    Returns:
        Picture (length * TEXELS, AROUND, 3) in BGR.
    """
    rows = round(length * TEXELS)
    shape = (rows // _COARSE, AROUND // _COARSE)
    level = _MATERIAL_LEVELS[look.material](rng, shape)
    colour = colourise(level, look.dark, look.bright)
    _stain(rng, colour, look, joints)
    wall = cv2.resize(to_picture(colour), (AROUND, rows), interpolation=cv2.INTER_LINEAR)
    wall = _add_grain(rng, wall.astype(np.uint8), 0.5 if look.material in ("pvc", "clay") else 1.0)
    for joint in joints:
        _draw_joint(rng, wall, look, joint)
    return wall


def _concrete(rng: Rng, shape: tuple[int, int]) -> Floats:
    clouds = fractal_noise(rng, shape, 110, 6, gain=0.62, wrap=True)
    pores = smooth_noise(rng, shape, 3, wrap=True)
    rough = 0.5 + 1.35 * (clouds - 0.5)
    return rough * slope_shading(clouds, 0.25) - 0.3 * smoothstep(0.9, 1.0, pores)


def _clay(rng: Rng, shape: tuple[int, int]) -> Floats:
    clouds = fractal_noise(rng, shape, 160, 3, wrap=True)
    rings = smooth_noise(rng, (shape[0], 2), 5)[:, :1]
    return 0.3 + 0.45 * clouds + 0.14 * rings


def _pvc(rng: Rng, shape: tuple[int, int]) -> Floats:
    clouds = fractal_noise(rng, shape, 220, 2, wrap=True)
    scratches = smooth_noise(rng, (max(8, shape[0] // 60), shape[1]), 2, wrap=True)
    scratches = cv2.resize(scratches, (shape[1], shape[0])).astype(np.float32)
    return 0.55 + 0.3 * clouds + 0.12 * smoothstep(0.8, 1.0, scratches)


def _brick(rng: Rng, shape: tuple[int, int]) -> Floats:
    rows, cols = shape
    courses = 26
    row = np.arange(rows, dtype=np.float32)[:, None]
    col = np.arange(cols, dtype=np.float32)[None]
    wobble = 3 * (smooth_noise(rng, shape, 14, wrap=True) - 0.5)
    course = (col + wobble) * np.float32(courses / cols)
    number = np.floor(course).astype(np.int32) % courses
    length = 0.42 * TEXELS / _COARSE
    along = (row + wobble) / np.float32(length) + 0.5 * (number % 2)
    across = course - np.floor(course)
    inside = along - np.floor(along)
    mortar = np.minimum(
        np.minimum(across, 1 - across) * cols / courses, np.minimum(inside, 1 - inside) * length
    )
    tone = rng.random((courses, int(along.max()) + 2), dtype=np.float32)
    brick = tone[number, np.maximum(np.floor(along), 0).astype(np.int32)]
    clouds = fractal_noise(rng, shape, 40, 4, wrap=True)
    face = 0.22 + 0.4 * brick + 0.38 * clouds
    joint = 0.5 * clouds + 0.62
    weight = smoothstep(0.6, 2.0, mortar.astype(np.float32))
    shade = slope_shading(weight, 0.1)
    return ((face * weight + joint * (1 - weight)) * shade).astype(np.float32)


_MATERIAL_LEVELS = {"concrete": _concrete, "clay": _clay, "pvc": _pvc, "brick": _brick}


def _stain(rng: Rng, colour: Floats, look: Look, joints: tuple[float, ...]) -> None:
    rows, cols = colour.shape[:2]
    _darken_invert(rng, colour, look)
    blots = fractal_noise(rng, (rows, cols), 120, 4, wrap=True)
    mask = smoothstep(0.62, 0.85, blots) * np.float32(0.55 * look.dirt)
    tint = floats([34, 46, 52]) + floats(rng.uniform(-8, 14, 3))
    colour += mask[..., None] * (tint - colour)
    for _ in range(int(rng.poisson(1 + 3 * look.dirt))):
        _harmless_spot(rng, colour)
    for joint in joints:
        if rng.random() < 0.25 + 0.5 * look.dirt:
            _streak_below_joint(rng, colour, round(joint * TEXELS / _COARSE))


def _darken_invert(rng: Rng, colour: Floats, look: Look) -> None:
    rows, cols = colour.shape[:2]
    offset = np.abs(np.arange(cols, dtype=np.float32) - cols / 2) / cols
    border = 0.09 + 0.05 * rng.random()
    ragged = 0.05 * (smooth_noise(rng, (rows, cols), 40, wrap=True) - 0.5)
    worn = 1 - smoothstep(border - 0.03, border + 0.035, offset[None] + ragged)
    strength = np.float32(0.2 + 0.4 * look.dirt)
    tint = floats(look.dark) * np.float32(rng.uniform(0.45, 0.9))
    colour += (worn * strength)[..., None] * (tint - colour)


def _harmless_spot(rng: Rng, colour: Floats) -> None:
    rows, cols = colour.shape[:2]
    height = int(rng.integers(12, 60))
    width = int(rng.integers(12, 60))
    row = int(rng.integers(0, rows - height))
    columns = (int(rng.integers(0, cols)) + np.arange(width)) % cols
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    away = np.sqrt(x * x + y * y) + 0.8 * (fractal_noise(rng, (height, width), 16, 3) - 0.5)
    mask = (1 - smoothstep(0.5, 0.95, away)) * np.float32(rng.uniform(0.2, 0.65))
    tints = ((40, 48, 54), (168, 176, 180), (48, 76, 104))
    patch = colour[row : row + height][:, columns]
    tint = floats(tints[int(rng.integers(len(tints)))])
    colour[row : row + height, columns] = patch + mask[..., None] * (tint - patch)


def _streak_below_joint(rng: Rng, colour: Floats, row: int) -> None:
    rows, cols = colour.shape[:2]
    half = int(rng.integers(4, 14))
    low, high = max(row - half, 0), min(row + half, rows)
    if high - low < 4:
        return
    first = int(rng.integers(0, cols))
    width = int(rng.integers(cols // 12, cols // 4))
    columns = (first + np.arange(width)) % cols
    shape = (high - low, width)
    ragged = smooth_noise(rng, shape, 6)
    away = np.abs(np.arange(low, high) - row)[:, None] / np.float32(half)
    ends = np.sin(np.linspace(0, np.pi, width, dtype=np.float32))[None]
    mask = np.clip(1 - away - 0.6 * ragged, 0, 1) * ends * np.float32(rng.uniform(0.3, 0.8))
    pale, rust = floats([170, 180, 182]), floats([44, 74, 104])
    tint = pale if rng.random() < 0.5 else rust
    patch = colour[low:high][:, columns]
    colour[low:high, columns] = patch + mask[..., None] * (tint - patch)


def _add_grain(rng: Rng, wall: Picture, strength: float) -> Picture:
    tile = np.clip(rng.normal(128, 9 * strength, (512, AROUND)), 0, 255).astype(np.uint8)
    repeats = -(-wall.shape[0] // 512)
    grain = np.tile(tile, (repeats, 1))[: wall.shape[0]]
    return cv2.addWeighted(wall, 1, cv2.merge([grain] * 3), 1, -128).astype(np.uint8)


def _draw_joint(rng: Rng, wall: Picture, look: Look, joint: float) -> None:
    middle = round(joint * TEXELS)
    reach = 14
    if middle < reach or middle + reach >= wall.shape[0]:
        return
    rows = np.arange(middle - reach, middle + reach, dtype=np.float32)[:, None] - middle
    ragged = 2.2 * (smooth_noise(rng, (2 * reach, AROUND), 24, wrap=True) - 0.5)
    half = look.joint_width * TEXELS / 2 * (0.6 + 0.7 * rng.random())
    gap = 1 - smoothstep(half - 1, half + 1.2, np.abs(rows + ragged))
    lip = np.exp(-((rows + ragged - half - 3) ** 2) / 6) * np.float32(rng.uniform(0.1, 0.4))
    darkness = np.float32(rng.uniform(0.6, 0.92))
    band = wall[middle - reach : middle + reach]
    band[:] = to_picture(
        band * (1 - gap * darkness)[..., None] + (lip * (1 - gap))[..., None] * 110
    )
