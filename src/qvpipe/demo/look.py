"""What all clips of one inspection share: the pipe's material, its light, the camera, the text."""

import datetime
import math
from dataclasses import dataclass

import numpy as np

from qvpipe.demo.noise import Floats, Rng, smoothstep

Colour = tuple[float, float, float]

_MATERIALS = {"concrete": 0.42, "clay": 0.18, "pvc": 0.24, "brick": 0.16}

_PVC: tuple[tuple[Colour, Colour], ...] = (
    ((60, 88, 120), (96, 138, 182)),
    ((108, 110, 108), (172, 172, 168)),
    ((116, 132, 138), (172, 190, 196)),
    ((88, 98, 86), (142, 154, 138)),
    ((118, 106, 92), (178, 164, 146)),
)
_CONCRETE: tuple[tuple[Colour, Colour], ...] = (
    ((58, 70, 78), (148, 164, 172)),
    ((70, 74, 76), (164, 168, 168)),
    ((52, 72, 88), (132, 158, 178)),
    ((64, 76, 70), (146, 162, 154)),
)
_CLAY: tuple[tuple[Colour, Colour], ...] = (
    ((40, 62, 104), (92, 126, 176)),
    ((52, 84, 116), (112, 152, 188)),
    ((44, 54, 78), (96, 112, 142)),
)
_BRICK: tuple[tuple[Colour, Colour], ...] = (
    ((44, 56, 92), (98, 118, 164)),
    ((58, 72, 96), (118, 138, 162)),
    ((52, 58, 66), (116, 124, 134)),
)
_TINTS = {"pvc": _PVC, "concrete": _CONCRETE, "clay": _CLAY, "brick": _BRICK}


@dataclass(frozen=True)
class Light:
    """The lamps around the lens.

    Attributes:
        exposure: Overall gain, around 1.
        reach: Depth in radii at which the gain has fallen to `exposure`.
        fall: Exponent of the decrease with depth.
        dark: Depth at which the last light is gone.
        cast: Gain of blue, green and red.
        lamps: Positions (x, y from -1 to 1) and gains of bright spots in the picture.
    """

    exposure: float
    reach: float
    fall: float
    dark: float
    cast: Colour
    lamps: tuple[tuple[float, float, float], ...]

    def gain(self, depth: Floats) -> Floats:
        """Brightness at these depths, 0 to 1.4."""
        near = np.minimum((self.reach / np.maximum(depth, 0.4)) ** self.fall, 1.2)
        left = 1 - smoothstep(0.45 * self.dark, self.dark, depth)
        return (self.exposure * near * left).astype(np.float32)

    def pattern(self, width: int, height: int) -> Floats:
        """Uneven light and vignette over a canvas, array (height, width) around 1."""
        x = np.linspace(-1, 1, width, dtype=np.float32)[None]
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        light = 1.0 - 0.22 * (x * x + y * y)
        for lamp_x, lamp_y, gain in self.lamps:
            light = light + gain * np.exp(-((x - lamp_x) ** 2 + (y - lamp_y) ** 2) / 0.16)
        return light.astype(np.float32)


@dataclass(frozen=True)
class Look:
    """What all clips of one inspection share.

    Attributes:
        material: One of concrete, clay, pvc, brick.
        dark: Colour (BGR) of the wall's darkest places.
        bright: Colour (BGR) of its brightest places.
        dirt: How stained the wall is, 0 to 1.
        joint_spacing: Distance between joints in radii.
        joint_width: Width of a joint in radii.
        radius_m: Radius of the pipe in metres.
        field_of_view: Horizontal opening of the lens in radians.
        camera_x: Position of the camera to the right of the axis, in radii.
        camera_y: Position of the camera below the axis, in radii.
        yaw: Lasting turn of the camera to the right, in radians.
        pitch: Lasting turn downwards, in radians.
        light: The lamps.
        water_level: Height y of the water in radii (1 is the bottom), or None in a dry pipe.
        water_tint: Colour (BGR) of the water.
        noise: Standard deviation of the sensor's noise, 0 to 255.
        softness: Blur of the lens in pixels.
        date: Date stamped into the picture.
        pipe: Name of the pipe stamped into the picture.
        text_style: Number of the style of the stamp, 0 to 3.
        start_m: Reading of the counter where the inspection begins.
    """

    material: str
    dark: Colour
    bright: Colour
    dirt: float
    joint_spacing: float
    joint_width: float
    radius_m: float
    field_of_view: float
    camera_x: float
    camera_y: float
    yaw: float
    pitch: float
    light: Light
    water_level: float | None
    water_tint: Colour
    noise: float
    softness: float
    date: datetime.date
    pipe: str
    text_style: int
    start_m: float


def draw_look(rng: Rng) -> Look:
    """Draw an inspection at random."""
    material = str(rng.choice(list(_MATERIALS), p=list(_MATERIALS.values())))
    dark, bright = _draw_tint(rng, material)
    spacing = {"concrete": (4.5, 7.5), "clay": (3.2, 5.0), "pvc": (6.0, 10.0), "brick": (7.0, 12.0)}
    return Look(
        material=material,
        dark=dark,
        bright=bright,
        dirt=float(rng.beta(2, 2)) * (0.5 if material == "pvc" else 1.0),
        joint_spacing=float(rng.uniform(*spacing[material])),
        joint_width=float(rng.uniform(0.025, 0.055)),
        radius_m=float(rng.choice([0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.4])),
        field_of_view=math.radians(float(rng.uniform(82, 100))),
        camera_x=float(rng.normal(0, 0.07)),
        camera_y=float(rng.normal(0.04, 0.09)),
        yaw=math.radians(float(rng.normal(0, 2.5))),
        pitch=math.radians(float(rng.normal(0, 2.5))),
        light=_draw_light(rng),
        water_level=float(rng.uniform(0.84, 0.97)) if rng.random() < 0.62 else None,
        water_tint=_draw_water_tint(rng),
        noise=float(rng.uniform(1.2, 3.6)),
        softness=float(rng.choice([0.0, 0.0, 0.5, 0.8])),
        date=datetime.date(2015, 1, 5) + datetime.timedelta(days=int(rng.integers(0, 2500))),
        pipe=_draw_pipe_name(rng),
        text_style=int(rng.integers(0, 4)),
        start_m=float(rng.uniform(0, 60)),
    )


def _draw_tint(rng: Rng, material: str) -> tuple[Colour, Colour]:
    tints = _TINTS[material]
    dark, bright = tints[int(rng.integers(len(tints)))]
    jitter = rng.normal(1, 0.03, 3) * rng.uniform(0.85, 1.1)
    low, high = np.multiply(dark, jitter), np.multiply(bright, jitter)
    return (
        (float(low[0]), float(low[1]), float(low[2])),
        (float(high[0]), float(high[1]), float(high[2])),
    )


def _draw_light(rng: Rng) -> Light:
    warmth = float(rng.normal(0, 0.05))
    lamps = tuple(
        (float(rng.uniform(-0.8, 0.8)), float(rng.uniform(-0.8, 0.6)), float(rng.uniform(0, 0.3)))
        for _ in range(int(rng.integers(1, 4)))
    )
    return Light(
        exposure=float(rng.uniform(0.82, 1.15)),
        reach=float(rng.uniform(1.7, 2.4)),
        fall=float(rng.uniform(0.95, 1.35)),
        dark=float(rng.uniform(7.0, 9.8)),
        cast=(1 - warmth, 1.0 + float(rng.normal(0, 0.018)), 1 + warmth),
        lamps=lamps,
    )


def _draw_water_tint(rng: Rng) -> Colour:
    tints: tuple[Colour, ...] = ((38, 52, 56), (44, 60, 50), (58, 72, 80), (30, 34, 36))
    blue, green, red = tints[int(rng.integers(len(tints)))]
    return blue, green, red


def _draw_pipe_name(rng: Rng) -> str:
    kind = str(rng.choice(["WS", "YS", "HS", "Y", "W"]))
    first = int(rng.integers(1, 380))
    return f"{kind}{first}-{kind}{first + int(rng.integers(1, 4))}"
