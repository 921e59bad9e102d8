"""Things that may lie in a pipe."""

import math

import cv2
import numpy as np

from qvpipe.demo.noise import (
    Floats,
    Rng,
    colourise,
    floats,
    fractal_noise,
    slope_shading,
    smoothstep,
)
from qvpipe.demo.solids import Board, Solid, Tube, premultiplied, upright


def draw_obstacle(rng: Rng, z: float, size: float) -> list[Solid]:
    """Lay something on the bottom of the pipe.

    Args:
        rng: Source of randomness.
        z: Place along the pipe in radii.
        size: Width in radii.
    """
    x = float(rng.normal(0, 0.16))
    y = math.sqrt(max(1 - x * x, 0)) - 0.02
    makers = (_brick, _stone, _branch, _bottle, _brick, _stone)
    maker = makers[int(rng.integers(len(makers)))]
    return [_shadow(x, y, z, size), *maker(rng, x, y, z, size)]


def _shadow(x: float, y: float, z: float, size: float) -> Board:
    rows, cols = np.mgrid[-1:1:48j, -1:1:48j].astype(np.float32)
    opacity = 0.75 * smoothstep(1.0, 0.45, np.sqrt(rows * rows + cols * cols))
    half = size * 0.62
    level = y - 0.02
    corners = floats(
        [
            [x - half, level, z + 0.5],
            [x + half, level, z + 0.5],
            [x + half, level, z - 0.25],
            [x - half, level, z - 0.25],
        ]
    )
    return Board(corners, premultiplied(np.zeros((48, 48, 3), np.float32), opacity))


def _brick(rng: Rng, x: float, y: float, z: float, size: float) -> list[Solid]:
    tints = (((36, 52, 110), (76, 112, 196)), ((84, 92, 98), (170, 178, 182)))
    dark, bright = tints[int(rng.integers(2))]
    turn = float(rng.uniform(-0.9, 0.9))
    width, depth, height = size, size * 0.5, size * float(rng.uniform(0.34, 0.5))
    ax = floats([math.cos(turn), 0, math.sin(turn)]) * width / 2
    az = floats([-math.sin(turn), 0, math.cos(turn)]) * depth / 2
    up = floats([float(rng.normal(0, 0.1)), -height, 0])
    base = floats([x, y, z])

    def face(corners: list[Floats], tone: float) -> Board:
        level = fractal_noise(rng, (64, 96), 24, 4, gain=0.7)
        colour = colourise(level, dark, bright) * slope_shading(level, 0.3)[..., None]
        return Board(np.stack(corners), premultiplied(colour * tone, np.ones((64, 96), np.float32)))

    low = [base - ax - az, base + ax - az, base + ax + az, base - ax + az]
    high = [corner + up for corner in low]
    side = (1, 2) if turn < 0 else (3, 0)
    return [
        face([high[side[0]], high[side[1]], low[side[1]], low[side[0]]], 0.55),
        face([high[3], high[2], high[1], high[0]], 1.2),
        face([high[0], high[1], low[1], low[0]], 0.9),
    ]


def _stone(rng: Rng, x: float, y: float, z: float, size: float) -> list[Solid]:
    boards: list[Solid] = []
    for k in range(int(rng.integers(1, 4))):
        side = 160
        rows, cols = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].astype(np.float32)
        lumps = fractal_noise(rng, (side, side), 60, 5, gain=0.6)
        away = np.sqrt(cols * cols + rows * rows) + 0.5 * (lumps - 0.5)
        cover = smoothstep(0.9, 0.86, away)
        dome = np.sqrt(np.clip(1 - away * away, 0.02, 1))
        tints = (((48, 56, 60), (150, 158, 162)), ((40, 62, 84), (124, 152, 176)))
        dark, bright = tints[int(rng.integers(2))]
        light = 0.35 + 0.8 * np.clip(0.6 * dome - 0.4 * rows - 0.15 * cols, 0, 1)
        shading = slope_shading(lumps, 0.55) * light
        picture = premultiplied(colourise(lumps, dark, bright) * shading[..., None], cover)
        flat = cv2.resize(picture, (side, round(side * rng.uniform(0.65, 0.9)))).astype(np.uint8)
        width = size * (0.95 if k == 0 else float(rng.uniform(0.35, 0.6)))
        place = x + (0 if k == 0 else float(rng.choice([-1, 1])) * size * 0.5)
        floor = math.sqrt(max(1 - place * place, 0.1))
        boards.append(upright(flat, place, floor + 0.03, z - 0.1 * k, width))
    return boards


def _branch(rng: Rng, x: float, y: float, z: float, size: float) -> list[Solid]:
    tubes: list[Solid] = []
    tint = (48.0, 72.0, 96.0) if rng.random() < 0.6 else (40.0, 48.0, 56.0)
    for k in range(int(rng.integers(2, 5))):
        points = 12
        t = np.linspace(0, 1, points, dtype=np.float32)[:, None]
        start = floats([x - size * 0.85, y - 0.25 + rng.normal(0, 0.12), z - 0.15 * k])
        end = floats([x + size * 0.85, y - 0.3 + rng.normal(0, 0.16), z + rng.normal(0, 0.3)])
        bend = fractal_noise(rng, (points, 3), 5, 2) - 0.5
        line = start + t * (end - start) + 0.22 * bend
        radii = np.linspace(0.085, 0.04, points, dtype=np.float32) * (1.0 if k == 0 else 0.5)
        tubes.append(Tube(line.astype(np.float32), radii, tint, 0.12))
    return tubes


def _bottle(rng: Rng, x: float, y: float, z: float, size: float) -> list[Solid]:
    tints = ((58.0, 92.0, 52.0), (150.0, 146.0, 128.0), (46.0, 66.0, 104.0))
    tint = tints[int(rng.integers(3))]
    t = np.linspace(0, 1, 16, dtype=np.float32)
    turn = float(rng.uniform(-0.5, 0.5))
    line = np.stack(
        [
            x + (t - 0.5) * size * 1.3 * math.cos(turn),
            np.full(16, y - 0.2, np.float32) + (t - 0.5) * 0.1,
            z + (t - 0.5) * size * 1.3 * math.sin(turn),
        ],
        axis=-1,
    )
    radii = np.where(t < 0.62, 0.2, np.where(t < 0.78, 0.2 - (t - 0.62) * 0.8, 0.07))
    return [Tube(line.astype(np.float32), (radii * size).astype(np.float32), tint, 0.8)]
