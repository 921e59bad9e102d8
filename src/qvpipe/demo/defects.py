"""The sixteen defects, each a function that furnishes a scene with one instance of it.

All of them take the scene, a source of randomness, the place along the pipe in radii and the
strength, from 0.4 (subtle) to 1 (obvious), and return points (n, 3) by which the instance is
recognised.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np

from qvpipe.demo.geometry import TEXELS, on_wall
from qvpipe.demo.look import Colour
from qvpipe.demo.noise import (
    Floats,
    Rng,
    colourise,
    floats,
    fractal_noise,
    slope_shading,
    smooth_noise,
    smoothstep,
    to_picture,
)
from qvpipe.demo.obstacles import draw_obstacle
from qvpipe.demo.scene import Patch, Scene
from qvpipe.demo.shape import Dent, Oval, Sag, Step
from qvpipe.demo.solids import Board, Drops, Solid, Tube, premultiplied, sagging_line
from qvpipe.demo.strokes import draw_line, grow_roots, jagged_line
from qvpipe.demo.surfaces import Relief, Water

Defect = Callable[[Scene, Rng, float, float], Floats]

BOTTOM = math.pi / 2


def deposit(scene: Scene, rng: Rng, z: float, strength: float) -> Floats:
    """Sand, silt or sludge along the bottom."""
    length = float(rng.uniform(2.0, 3.2))
    height = 0.16 + 0.34 * strength * float(rng.uniform(0.7, 1.1))
    shape = (round(length * TEXELS), 2 * TEXELS)
    along = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    across = np.linspace(-1, 1, shape[1], dtype=np.float32)[None]
    lumps = fractal_noise(rng, shape, 100, 5, gain=0.5)
    lean = float(rng.uniform(-0.35, 0.35))
    hill = smoothstep(1.0, 0.35, np.abs(along + 0.5 * (smooth_noise(rng, shape, 50) - 0.5)))
    level = hill * np.clip(0.5 + 0.55 * lumps + lean * across, 0, 1)
    tones = (
        ((40, 58, 72), (104, 134, 154)),
        ((20, 27, 32), (66, 78, 86)),
        ((28, 42, 54), (84, 106, 122)),
        ((46, 54, 58), (122, 132, 136)),
    )
    dark, bright = tones[int(rng.integers(len(tones)))]
    grain = _speckle(rng, shape, float(rng.uniform(2.5, 6)))
    colour = colourise(0.5 * lumps + 0.7 * (grain - 0.15), dark, bright)
    colour *= slope_shading(level * 1.8 + 0.07 * grain, 0.7)[..., None]
    texture = np.concatenate([colour, 255 * level[..., None]], axis=-1)
    relief = Relief(z - length / 2, to_picture(texture), height, 8, level=1.0)
    scene.reliefs.append(relief)
    return relief.points()


def misaligned_joint(scene: Scene, rng: Rng, z: float, strength: float) -> Floats:
    """The next pipe is shifted sideways, so that its end face shows as a crescent."""
    shift = 0.1 + 0.24 * strength * float(rng.uniform(0.7, 1.1))
    angle = float(rng.uniform(0, 2 * math.pi))
    scene.bend(step=Step(z, shift * math.cos(angle), shift * math.sin(angle)))
    seam = scene.patch(z + 0.03, 0.06, 0, 2 * math.pi)
    seam.multiply(np.full(seam.shape, 0.35, np.float32))
    angles = (angle + np.linspace(0, 2 * math.pi, 24)).astype(np.float32)
    return on_wall(angles, np.full(24, z, np.float32))


def obstacle(scene: Scene, rng: Rng, z: float, strength: float) -> Floats:
    """A brick, stone, branch or bottle on the bottom."""
    solids = draw_obstacle(rng, z, 0.55 + 0.55 * strength)
    scene.solids.extend(solids)
    return np.concatenate([solid.points() for solid in solids])


def scaling(scene: Scene, rng: Rng, z: float, strength: float) -> Floats:
    """A rough mineral crust on the wall."""
    length = float(rng.uniform(1.6, 2.8))
    shape = (round(length * TEXELS), round(2 * math.pi * TEXELS))
    along = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    middle, arc = float(rng.uniform(0, 1)), float(rng.uniform(0.22, 0.62))
    turn = (np.linspace(0, 1, shape[1], dtype=np.float32)[None] - middle + 0.5) % 1 - 0.5
    lumps = fractal_noise(rng, shape, 60, 5, gain=0.62, wrap=True)
    ragged = 0.55 * (fractal_noise(rng, shape, 90, 3, wrap=True) - 0.5)
    zone = smoothstep(1.0, 0.6, np.abs(along) + ragged) * smoothstep(
        arc, arc * 0.6, np.abs(turn) * 2 + 0.4 * ragged
    )
    level = zone * np.clip(0.15 + 1.1 * lumps, 0, 1)
    tones = (
        ((96, 108, 114), (196, 206, 210)),
        ((78, 100, 114), (164, 188, 200)),
        ((50, 74, 94), (132, 162, 180)),
    )
    dark, bright = tones[int(rng.integers(len(tones)))]
    grain = _speckle(rng, shape, 5)
    colour = colourise(0.5 * lumps + 0.5 * grain, dark, bright)
    colour *= slope_shading(level * 1.2 + 0.08 * grain, 0.5)[..., None]
    colour *= (0.5 + 0.5 * level)[..., None]
    texture = np.concatenate([colour, 255 * level[..., None]], axis=-1)
    height = 0.12 + 0.2 * strength
    relief = Relief(z - length / 2, to_picture(texture), height, 5, level=None)
    scene.reliefs.append(relief)
    return relief.points()


def tree_roots(scene: Scene, rng: Rng, z: float, strength: float) -> Floats:
    """Bundles of fine branching fibres that grow in from a joint."""
    boards = []
    entry = float(rng.uniform(math.pi * 0.75, math.pi * 2.25))
    for _ in range(int(rng.integers(2, 4)) + round(2 * strength)):
        angle = entry + float(rng.normal(0, 0.45))
        size = 0.6 + 0.75 * strength * float(rng.uniform(0.6, 1.1))
        strands = int(rng.integers(24, 44))
        tone, cover = grow_roots(rng, 256, strands, float(rng.uniform(0.3, 1)))
        tones = (((18, 30, 44), (78, 108, 132)), ((24, 30, 36), (104, 118, 128)))
        dark, bright = tones[int(rng.integers(2))]
        colour = colourise(tone.astype(np.float32) / 255, dark, bright)
        picture = premultiplied(colour, cover.astype(np.float32) / 255)
        root = floats([math.cos(angle), math.sin(angle)])
        inward = -root * 0.75 + floats([rng.normal(0, 0.25), 0.45])
        inward /= np.linalg.norm(inward)
        aside = floats([-inward[1], inward[0]])
        place = z + float(rng.normal(0, 0.14))
        flat = [
            root - aside * size * 0.5,
            root + aside * size * 0.5,
            root + aside * size * 0.5 + inward * size,
            root - aside * size * 0.5 + inward * size,
        ]
        lean = float(rng.normal(-0.15, 0.2))
        corners = floats([[*p, place + lean * (k >= 2)] for k, p in enumerate(floats(flat))])
        boards.append(Board(corners, picture))
    scene.solids.extend(boards)
    seam = scene.patch(z, 0.1, 0, 2 * math.pi)
    seam.multiply(np.full(seam.shape, 0.55, np.float32))
    return np.concatenate([board.points() for board in boards])


def rupture(scene: Scene, rng: Rng, z: float, strength: float) -> Floats:
    """Dark jagged cracks, often with broken pieces and a hole through which soil shows."""
    angle = float(rng.uniform(math.pi * 0.9, math.pi * 2.1))
    length, arc = float(rng.uniform(1.5, 2.3)), float(rng.uniform(1.5, 2.6))
    patch = scene.patch(z, length, angle, arc)
    rows, cols = patch.shape
    cracks = np.zeros((rows, cols), np.uint8)
    thick = 3 + 7 * strength
    middle = (cols * rng.uniform(0.4, 0.6), rows * rng.uniform(0.4, 0.6))
    ends = [(0.5, 0.0), (0.5, 1.0), (0.0, 0.5), (1.0, 0.5), (0.05, 0.1), (0.95, 0.9), (0.1, 0.95)]
    for k in rng.permutation(len(ends))[: int(rng.integers(3, 7))]:
        end = (ends[k][0] * cols + rng.normal(0, 12), ends[k][1] * rows + rng.normal(0, 12))
        line = jagged_line(rng, middle, end, 0.32)
        draw_line(cracks, line, thick * rng.uniform(0.7, 1.2), 1.5)
        for _ in range(2):
            at = line[int(rng.integers(8, len(line) - 4))]
            branch = at + rng.normal(0, 45, 2).astype(np.float32)
            twig = jagged_line(rng, (float(at[0]), float(at[1])), tuple(branch), 0.3, 4)
            draw_line(cracks, twig, thick * 0.5, 1)
    opacity = cracks.astype(np.float32) / 255
    rim = cv2.GaussianBlur(np.roll(opacity, -5, axis=0), (0, 0), 2.2) * 0.55
    patch.cover(floats([190, 198, 202]), np.clip(rim - opacity, 0, 1).astype(np.float32))
    if strength > 0.62 or rng.random() < 0.35:
        _break_out(rng, patch, middle, strength)
    patch.cover(floats([10, 12, 14]), opacity * 0.96)
    return _spread(z, length * 0.85, angle, arc * 0.85)


def _break_out(rng: Rng, patch: Patch, middle: tuple[float, float], strength: float) -> None:
    rows, cols = patch.shape
    corners = int(rng.integers(6, 10))
    turn = np.sort(rng.uniform(0, 2 * math.pi, corners))
    size = min(rows, cols) * (0.14 + 0.16 * strength)
    radius = size * rng.uniform(0.6, 1.15, corners)
    outline = np.stack(
        [middle[0] + radius * np.cos(turn), middle[1] + radius * np.sin(turn)], axis=-1
    )
    hole = np.zeros((rows, cols), np.uint8)
    cv2.fillPoly(hole, [np.round(outline).astype(np.int32)], 255, cv2.LINE_AA)
    inside = hole.astype(np.float32) / 255
    edge = np.clip(cv2.GaussianBlur(inside, (0, 0), 4) - inside, 0, 1) * 2.2
    patch.cover(floats([176, 186, 192]), np.clip(edge, 0, 0.85).astype(np.float32))
    soil = fractal_noise(rng, (rows, cols), 14, 4)
    colour = colourise(soil, (6, 10, 16), (44, 72, 100))
    shadow = np.clip(np.roll(inside, round(size * 0.45), axis=0), 0, 1)
    colour *= (0.3 + 0.8 * shadow)[..., None]
    patch.cover(colour, inside)


def deformation(scene: Scene, rng: Rng, z: float, strength: float) -> Floats:
    """The section is oval, or the wall is pressed inwards."""
    length = float(rng.uniform(3.2, 4.2))
    kind = rng.random()
    angle = float(rng.uniform(math.pi * 0.85, math.pi * 2.15))
    if kind < 0.5:
        tilt = float(rng.choice([0.0, 0.0, math.pi / 2])) + float(rng.normal(0, 0.2))
        scene.bend(oval=Oval(z + 0.5, length, 0.3 + 0.26 * strength, tilt))
    if kind > 0.35:
        depth = 0.3 + 0.34 * strength * float(rng.uniform(0.8, 1.1))
        scene.bend(dent=Dent(z + 0.3, length * 0.75, angle, float(rng.uniform(3.5, 8)), depth))
    if rng.random() < 0.4:
        patch = scene.patch(z, length * 0.6, angle, 0.5)
        crease = np.zeros(patch.shape, np.uint8)
        rows, cols = patch.shape
        line = jagged_line(rng, (cols / 2, 0), (cols / 2, rows), 0.1)
        draw_line(crease, line, 2, 3)
        patch.multiply((1 - 0.6 * crease.astype(np.float32) / 255).astype(np.float32))
    return _ring(z + 0.3, length * 0.3)


def intrusion(scene: Scene, rng: Rng, z: float, strength: float) -> Floats:
    """A pipe, cable or bar that pierces the wall and crosses the section."""
    start = float(rng.uniform(0, 2 * math.pi))
    end = start + math.pi + float(rng.normal(0, 0.55))
    kinds = (
        ((44, 96, 176), 0.17, 0.4),
        ((30, 30, 32), 0.075, 0.3),
        ((120, 122, 124), 0.22, 0.4),
        ((120, 84, 52), 0.16, 0.4),
        ((44, 66, 92), 0.15, 0.1),
        ((64, 156, 180), 0.16, 0.4),
    )
    colour, radius, shine = kinds[int(rng.integers(len(kinds)))]
    radius *= 0.65 + 0.55 * strength
    solids: list[Solid] = []
    for k in range(1 + int(rng.random() < 0.3)):
        shift = floats([0.0, 0.3 * k, 0.12 * k])
        first = shift + floats([1.05 * math.cos(start), 1.05 * math.sin(start), z])
        last = shift + floats([1.05 * math.cos(end), 1.05 * math.sin(end), z])
        thick = radius * (1 - 0.35 * k)
        if thick < 0.1:
            sag = floats([0, rng.uniform(0, 0.3), rng.normal(0, 0.2)])
            line = sagging_line(rng, first, last, sag, 14)
            solids.append(Tube(line, np.full(14, thick, np.float32), colour, shine))
        else:
            solids.append(_rigid_pipe(rng, first, last, thick, colour, shine))
    scene.solids.extend(solids)
    for angle in (start, end):
        _ragged_hole(scene, rng, z, angle, radius * 1.7)
    return np.concatenate([solid.points() for solid in solids])


def _rigid_pipe(
    rng: Rng, first: Floats, last: Floats, radius: float, colour: Colour, shine: float
) -> Board:
    along = (last - first) / np.linalg.norm(last - first)
    across = floats([-along[1], along[0], 0]) * radius
    side = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    tone = 0.25 + 0.75 * np.sqrt(np.maximum(1 - (0.8 * side + 0.25) ** 2, 0))
    gloss = shine * np.exp(-((side + 0.3) ** 2) / 0.02)
    dirt = fractal_noise(rng, (64, 256), 60, 5, gain=0.65)
    level = tone * (1 - 0.55 * smoothstep(0.5, 0.75, dirt)) * (0.8 + 0.4 * dirt)
    picture = level[..., None] * floats(colour) + (gloss * (1 - dirt) * 150)[..., None]
    edge = smoothstep(1.0, 0.94, np.abs(side)) * np.ones((64, 256), np.float32)
    corners = np.stack([first - across, last - across, last + across, first + across])
    return Board(corners.astype(np.float32), premultiplied(picture, edge.astype(np.float32)))


def _ragged_hole(scene: Scene, rng: Rng, z: float, angle: float, radius: float) -> None:
    patch = scene.patch(z, radius * 3.4, angle, radius * 3.4)
    rows, cols = patch.shape
    y, x = np.mgrid[-1.7 : 1.7 : rows * 1j, -1.7 : 1.7 : cols * 1j].astype(np.float32)
    away = np.sqrt(x * x + y * y) + 0.7 * (fractal_noise(rng, (rows, cols), cols / 4, 3) - 0.5)
    patch.cover(floats([150, 158, 162]), 1 - smoothstep(1.1, 1.3, away.astype(np.float32)))
    patch.cover(floats([12, 14, 18]), 1 - smoothstep(0.85, 1.05, away.astype(np.float32)))


def scum(scene: Scene, rng: Rng, z: float, strength: float) -> Floats:
    """Foam and grease floating on the water."""
    ensure_water(scene, rng, 0.5, 0.72)
    assert scene.water is not None
    length = float(rng.uniform(2.4, 3.4))
    shape = (round(length * TEXELS), 2 * TEXELS)
    along = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    lumps = fractal_noise(rng, shape, 70, 5)
    hill = smoothstep(1.0, 0.5, np.abs(along))
    cover = smoothstep(0.62 - 0.3 * strength, 0.7 - 0.3 * strength, lumps * hill)
    bubbles = fractal_noise(rng, shape, 6, 2)
    foam = smoothstep(0.3, 0.8, bubbles)
    tones = (
        ((124, 138, 144), (206, 216, 220)),
        ((96, 122, 134), (168, 196, 208)),
        ((84, 98, 104), (160, 174, 180)),
    )
    dark, bright = tones[int(rng.integers(len(tones)))]
    colour = colourise(0.3 + 0.5 * foam + 0.2 * lumps, dark, bright)
    colour *= slope_shading(cover * 0.6 + 0.16 * bubbles, 0.7)[..., None]
    texture = np.concatenate([colour, 255 * cover[..., None]], axis=-1)
    relief = Relief(z - length / 2, to_picture(texture), 0.05, 2, level=scene.water.level)
    scene.scum.append(relief)
    return relief.points()


def corrosion(scene: Scene, rng: Rng, z: float, strength: float) -> Floats:
    """A rough, pitted, rust-brown wall with bare aggregate or steel."""
    length, arc = float(rng.uniform(2.0, 3.2)), float(rng.uniform(2.2, 4.6))
    angle = float(rng.choice([-math.pi / 2, 0.0, math.pi])) + float(rng.normal(0, 0.4))
    patch = scene.patch(z, length, angle, arc)
    shape = patch.shape
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j].astype(np.float32)
    ragged = 0.7 * (fractal_noise(rng, shape, 70, 4) - 0.5)
    zone = smoothstep(1.0, 0.65, np.maximum(np.abs(x), np.abs(y)) + ragged)
    clouds = fractal_noise(rng, shape, 50, 4)
    pits = fractal_noise(rng, shape, 12, 3)
    tones = (
        ((20, 38, 62), (56, 104, 152)),
        ((26, 48, 70), (80, 130, 162)),
        ((18, 28, 42), (52, 80, 112)),
    )
    dark, bright = tones[int(rng.integers(len(tones)))]
    colour = colourise(0.65 * clouds + 0.35 * pits, dark, bright)
    holes = smoothstep(0.4, 0.22, pits)
    colour *= (slope_shading(pits + 0.5 * clouds, 0.32) * (1 - 0.6 * holes))[..., None]
    if rng.random() < 0.55:
        stones = smoothstep(0.66, 0.8, fractal_noise(rng, shape, 9, 2, gain=0.4))
        stone_colour = colourise(clouds, (96, 112, 124), (170, 182, 190))
        colour += (stones * 0.7)[..., None] * (stone_colour - colour)
    else:
        _bare_steel(rng, colour)
    patch.cover(colour, zone * np.float32(0.55 + 0.43 * strength))
    return _spread(z, length * 0.8, angle, arc * 0.8)


def _bare_steel(rng: Rng, colour: Floats) -> None:
    rows, cols = colour.shape[:2]
    bars = np.zeros((rows, cols), np.uint8)
    for row in range(int(rng.integers(8, 30)), rows, int(rng.integers(44, 70))):
        draw_line(bars, jagged_line(rng, (0, row), (cols, row), 0.02, 4), 9, 9)
    for col in range(int(rng.integers(8, 40)), cols, int(rng.integers(70, 110))):
        draw_line(bars, jagged_line(rng, (col, 0), (col, rows), 0.02, 4), 7, 7)
    opacity = bars.astype(np.float32) / 255
    shadow = np.roll(opacity, (5, 3), axis=(0, 1)) * (1 - opacity)
    colour *= (1 - 0.7 * shadow)[..., None]
    rust = colourise(fractal_noise(rng, (rows, cols), 12, 2), (20, 44, 90), (50, 104, 176))
    colour += opacity[..., None] * (rust - colour)


def branch(scene: Scene, rng: Rng, z: float, strength: float) -> Floats:
    """The opening of a side pipe: a dark round hole with a roughly cut edge."""
    angle = float(rng.choice([-0.55, math.pi + 0.55, -math.pi / 2])) + float(rng.normal(0, 0.35))
    radius = 0.3 + 0.24 * strength * float(rng.uniform(0.8, 1.1))
    patch = scene.patch(z, radius * 3, angle, radius * 3)
    rows, cols = patch.shape
    y, x = np.mgrid[-1.5 : 1.5 : rows * 1j, -1.5 : 1.5 : cols * 1j].astype(np.float32)
    ragged = (0.1 + 0.22 * rng.random()) * (fractal_noise(rng, (rows, cols), cols / 5, 4) - 0.5)
    away = np.sqrt(x * x + y * y) + ragged
    rim_colour = colourise(fractal_noise(rng, (rows, cols), 12, 3), (90, 100, 106), (188, 198, 204))
    rim = 1 - smoothstep(1.1, 1.22, away)
    patch.cover(rim_colour, rim * np.float32(0.9))
    inside = 1 - smoothstep(0.94, 1.0, away)
    far_side = smoothstep(-0.35, 1.0, y) * (0.2 + 0.8 * smoothstep(0.1, 0.95, away))
    tint = floats(scene.look.bright) * 0.85
    patch.cover((far_side[..., None] * tint).astype(np.float32), inside)
    if rng.random() < 0.55:
        _add_stub(scene, rng, z, angle, radius)
    return _spread(z, radius * 2.1, angle, radius * 2.1)


def _add_stub(scene: Scene, rng: Rng, z: float, angle: float, radius: float) -> None:
    rows, cols = round(radius * 3 * TEXELS), round(2 * math.pi * TEXELS)
    column = (np.arange(cols) / cols * 2 * math.pi - math.pi / 2 - angle + math.pi) % (2 * math.pi)
    x = ((column - math.pi) / radius).astype(np.float32)[None]
    y = np.linspace(-1.5, 1.5, rows, dtype=np.float32)[:, None]
    ragged = 0.12 * (smooth_noise(rng, (rows, cols), 12, wrap=True) - 0.5)
    away = np.sqrt(x * x + y * y) + ragged
    ring = smoothstep(0.9, 0.97, away) * smoothstep(1.2, 1.12, away)
    shade = 0.75 + 0.35 * np.clip(-y, -1, 1)
    tones = ((70, 110, 160), (150, 156, 160), (110, 120, 124))
    tint = floats(tones[int(rng.integers(3))])
    tall = 1 - 0.4 * smooth_noise(rng, (rows, cols), 60, wrap=True)
    texture = np.concatenate(
        [np.broadcast_to(shade[..., None], (rows, cols, 1)) * tint, 255 * (ring * tall)[..., None]],
        axis=-1,
    )
    height = float(rng.uniform(0.16, 0.34))
    scene.reliefs.append(Relief(z - radius * 1.5, to_picture(texture), height, 7, level=None))


def residual_wall(scene: Scene, rng: Rng, z: float, strength: float) -> Floats:
    """What is left of a brick or concrete wall across the pipe."""
    size = 320
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    colour = _masonry(rng, size) if rng.random() < 0.65 else _rough_concrete(rng, size)
    ragged = 0.16 * (fractal_noise(rng, (size, size), 40, 4) - 0.5)
    if rng.random() < 0.6:
        top = 0.55 - 0.75 * strength * float(rng.uniform(0.8, 1.1))
        steps = 0.14 * np.round(2 * smooth_noise(rng, (1, size), 60))
        gone = y + ragged < top + steps - 0.14
    else:
        hole = 0.36 + 0.3 * (1 - strength)
        middle = float(rng.normal(0, 0.15)), float(rng.normal(-0.1, 0.15))
        away = np.sqrt((x - middle[0]) ** 2 + (y - middle[1]) ** 2)
        gone = away + 1.4 * ragged < hole
    cover = (~gone & (x * x + y * y < 1.06)).astype(np.float32)
    lip = np.clip(cover - np.roll(cover, 6, axis=0), 0, 1)
    colour *= (1 + 0.5 * cv2.GaussianBlur(lip, (0, 0), 2))[..., None]
    front = premultiplied(colour, cv2.GaussianBlur(cover, (0, 0), 0.8))
    boards = []
    for place, tone in ((0.3, 0.55), (0.2, 0.62), (0.1, 0.7), (0.0, 1.0)):
        corners = floats([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
        boards.append(Board(corners + floats([0, 0, z + place]), front, tone))
    scene.solids.extend(boards)
    return boards[-1].points()


def _masonry(rng: Rng, size: int) -> Floats:
    courses, columns = 11, 5
    row = np.linspace(0, courses, size, dtype=np.float32)[:, None]
    number = np.minimum(np.floor(row), courses - 1).astype(np.int32)
    col = np.linspace(0, columns, size, dtype=np.float32)[None] + 0.5 * (number % 2)
    wobble = 0.1 * (smooth_noise(rng, (size, size), 20) - 0.5)
    tall = np.minimum(row - number, 1 - row + number) + wobble
    wide = (np.minimum(col - np.floor(col), 1 - col + np.floor(col)) + wobble) * 2.2
    face = smoothstep(0.05, 0.13, np.minimum(tall, wide))
    tone = rng.random((courses, columns + 2), dtype=np.float32)
    level = 0.35 * tone[number, np.floor(col).astype(np.int32)]
    grain = fractal_noise(rng, (size, size), 20, 4)
    tints = (((36, 56, 110), (82, 118, 186)), ((62, 74, 88), (140, 156, 170)))
    dark, bright = tints[int(rng.integers(2))]
    brick = colourise(level + 0.65 * grain, dark, bright)
    mortar = colourise(grain, (90, 98, 102), (158, 166, 170))
    weight = face[..., None]
    return (brick * weight + mortar * (1 - weight)).astype(np.float32)


def _rough_concrete(rng: Rng, size: int) -> Floats:
    height = fractal_noise(rng, (size, size), 70, 6, gain=0.65)
    colour = colourise(height, (66, 76, 82), (168, 178, 182))
    return colour * slope_shading(height, 0.45)[..., None]


def leakage(scene: Scene, rng: Rng, z: float, strength: float) -> Floats:
    """Water that runs and sprays in from a joint or the wall and leaves shining streaks."""
    side = float(rng.choice([-1, 1]))
    angle = -math.pi / 2 + side * float(rng.uniform(0.1, 1.3))
    _wet_streaks(scene, rng, z, angle, side)
    source = floats([math.cos(angle), math.sin(angle), z])
    for k in range(int(rng.integers(2, 4)) + round(2 * strength)):
        t = np.linspace(0, 1, 14, dtype=np.float32)
        push = float(rng.uniform(0.1, 1.2)) * strength
        x = source[0] - push * math.cos(angle) * t + 0.06 * rng.normal() * t
        fall = np.sqrt(np.maximum(1 - x * x, 0.05)) - source[1]
        y = source[1] - push * math.sin(angle) * 0.25 * t * (1 - t) + fall * t * t
        path = np.stack([x, y, z + rng.normal(0, 0.12) * t], axis=-1).astype(np.float32)
        count = round(36 + 44 * strength)
        seed = int(rng.integers(2**31))
        scene.solids.append(Drops(path, 0.07, count, 1.6, 34 + 40 * strength, seed + k))
    wall_angles = angle + side * np.linspace(0, math.pi / 2 - 0.05, 16, dtype=np.float32)
    down = on_wall(wall_angles.astype(np.float32), np.full(16, z - 0.05, np.float32), 0.97)
    seed = int(rng.integers(2**31))
    scene.solids.append(Drops(down, 0.09, round(40 + 40 * strength), 0.9, 45, seed))
    return np.concatenate([down, path])


def _wet_streaks(scene: Scene, rng: Rng, z: float, angle: float, side: float) -> None:
    down = abs(BOTTOM - angle) if side > 0 else abs(-3 * math.pi / 2 - angle)
    middle = angle + side * down / 2
    patch = scene.patch(z, 1.3, middle, down)
    shape = patch.shape
    away = np.abs(np.linspace(-1, 1, shape[0], dtype=np.float32))[:, None]
    ragged = 0.9 * (smooth_noise(rng, (shape[0], max(shape[1] // 24, 2)), 12) - 0.5)
    ragged = cv2.resize(ragged, (shape[1], shape[0])).astype(np.float32)
    ends = np.sin(np.linspace(0.35, math.pi - 0.1, shape[1], dtype=np.float32))[None]
    wet = smoothstep(0.75, 0.35, away + ragged) * smoothstep(0.1, 0.55, ends)
    patch.multiply(1 - 0.52 * wet)
    runs = smooth_noise(rng, (shape[0], max(shape[1] // 16, 2)), 5)
    runs = cv2.resize(runs, (shape[1], shape[0])).astype(np.float32)
    shine = smoothstep(0.62, 0.85, runs) * wet
    patch.cover(floats([236, 238, 236]), shine * np.float32(0.72))


def undulation(scene: Scene, rng: Rng, z: float, strength: float) -> Floats:
    """The axis dips and rises again; water stands in the sag."""
    length = float(rng.uniform(5.5, 7.5))
    depth = 0.42 + 0.34 * strength
    sideways = float(rng.normal(0, 0.12))
    scene.bend(sag=Sag(z + 1.0, length, depth, sideways))
    scene.bend(sag=Sag(z + 1.0 + length * 0.85, length * 0.9, -0.5 * depth, -sideways))
    ensure_water(scene, rng, 0.72, 0.92)
    t = np.linspace(-1.0, 1.0, 8, dtype=np.float32)
    x = np.concatenate([t * 0.8, t * 0.8]).astype(np.float32)
    near = np.full(8, z - 0.2, np.float32)
    return np.stack(
        [x, np.repeat(floats([0.95, 0.35 + depth * 0.4]), 8), np.concatenate([near, near + 2.0])],
        axis=-1,
    ).astype(np.float32)


def separated_joint(scene: Scene, rng: Rng, z: float, strength: float) -> Floats:
    """The joint is open: a wide dark ring in which soil shows."""
    width = 0.14 + 0.24 * strength * float(rng.uniform(0.7, 1.1))
    patch = scene.patch(z, width + 0.3, 0, 2 * math.pi)
    shape = patch.shape
    half = width / 2 * TEXELS
    rows = np.arange(shape[0], dtype=np.float32)[:, None] - shape[0] / 2
    ragged = 5 * (fractal_noise(rng, shape, 30, 4, wrap=True) - 0.5)
    turn = np.linspace(0, 2 * math.pi, shape[1], dtype=np.float32)[None]
    uneven = 1 + 0.3 * np.cos(turn + float(rng.uniform(0, 6)))
    place = rows / uneven + ragged
    soil = fractal_noise(rng, shape, 26, 5, gain=0.7, wrap=True)
    colour = colourise(soil, (10, 14, 20), (52, 84, 112))
    colour *= (0.25 + 0.75 * smoothstep(-half, half, place))[..., None]
    face = np.exp(-((place - half - 5) ** 2) / 26).astype(np.float32)
    patch.cover(floats([186, 194, 198]), face * np.float32(0.75))
    patch.cover(colour, smoothstep(half + 1.5, half - 1.5, np.abs(place)))
    return _ring(z, width / 2)


def loose_seal(scene: Scene, rng: Rng, z: float, strength: float) -> Floats:
    """The rubber ring of a joint hangs into the pipe as a black loop."""
    middle = -math.pi / 2 + float(rng.normal(0, 0.6))
    reach = float(rng.uniform(0.6, 1.25))
    sag = 0.3 + 0.6 * strength * float(rng.uniform(0.7, 1.1))
    ends = [middle - reach, middle + reach]
    first, last = (floats([math.cos(a), math.sin(a), z]) for a in ends)
    inward = -floats([math.cos(middle), math.sin(middle), 0])
    bow = 1 - math.cos(reach)
    pull = inward * (sag * 0.8 - bow * 0.2) + floats([0, 0.15 * sag, -0.15])
    loop = sagging_line(rng, first, last, pull, 26)
    thickness = np.full(26, 0.026 + 0.02 * strength, np.float32)
    tubes = [Tube(loop, thickness, (26, 26, 28), 0.28)]
    if rng.random() < 0.45:
        tail = first + floats([0, 0.0, -0.1])
        tip = tail + inward * 0.5 + floats([rng.normal(0, 0.2), 0.5, -0.1])
        end = sagging_line(rng, tail, tip, floats([0.15, 0, 0]), 14)
        tubes.append(Tube(end, thickness[:14], (26, 26, 28), 0.28))
    scene.solids.extend(tubes)
    seam = scene.patch(z, 0.09, 0, 2 * math.pi)
    seam.multiply(np.full(seam.shape, 0.3, np.float32))
    return np.concatenate([tube.points() for tube in tubes])


def ensure_water(scene: Scene, rng: Rng, high: float, low: float) -> None:
    """Fill the pipe at least up to a level between `high` and `low` (1 is the bottom)."""
    level = float(rng.uniform(high, low))
    if scene.water is None or scene.water.level > level:
        scene.water = make_water(rng, level, scene.look.water_tint)


def make_water(rng: Rng, level: float, tint: tuple[float, float, float]) -> Water:
    """Water at a level (1 is the bottom) with ripples of its own."""
    size = 256
    grid = [smooth_noise(rng, (size, size), cell, wrap=True) for cell in (32.0, 12.0, 6.0, 3.0)]
    ripple = 0.6 * grid[0] + 0.7 * grid[1] + 0.7 * grid[2] + 0.5 * grid[3]
    seamless = np.concatenate([ripple[: size // 2], ripple[: size // 2][::-1]])
    seamless = (seamless - seamless.mean()) / (2.5 * seamless.std())
    roughness = float(rng.uniform(0.15, 0.7))
    return Water(level, tint, seamless.astype(np.float32), roughness, float(rng.uniform(0, 0.6)))


def _speckle(rng: Rng, shape: tuple[int, int], cell: float) -> Floats:
    coarse = fractal_noise(rng, shape, 3 * cell, 2)
    fine = smooth_noise(rng, shape, cell) + 0.8 * rng.random(shape, dtype=np.float32)
    return np.clip(0.45 * coarse + 0.32 * fine, 0, 1).astype(np.float32)


def _ring(z: float, half: float) -> Floats:
    angles = np.linspace(0, 2 * math.pi, 24, dtype=np.float32)
    near = on_wall(angles, np.full(24, z - half, np.float32))
    return np.concatenate([near, on_wall(angles, np.full(24, z + half, np.float32))])


def _spread(z: float, length: float, angle: float, arc: float) -> Floats:
    angles = angle + np.linspace(-arc / 2, arc / 2, 9, dtype=np.float32)
    places = z + np.linspace(-length / 2, length / 2, 7, dtype=np.float32)
    grid_angles, grid_places = np.meshgrid(angles, places)
    return on_wall(grid_angles.ravel().astype(np.float32), grid_places.ravel().astype(np.float32))


DEFECTS: Mapping[str, Defect] = MappingProxyType(
    {
        "CJ": deposit,
        "CK": misaligned_joint,
        "ZW": obstacle,
        "JG": scaling,
        "SG": tree_roots,
        "PL": rupture,
        "BX": deformation,
        "CR": intrusion,
        "FZ": scum,
        "FS": corrosion,
        "AJ": branch,
        "CQ": residual_wall,
        "SL": leakage,
        "QF": undulation,
        "TJ": separated_joint,
        "TL": loose_seal,
    }
)
"""The defects by class code."""
