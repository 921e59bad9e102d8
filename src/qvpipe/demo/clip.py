"""One clip: which pipe the camera travels through and what it meets there."""

import math
from dataclasses import dataclass

import numpy as np

from qvpipe.demo.defects import DEFECTS, make_water
from qvpipe.demo.geometry import FAR
from qvpipe.demo.journey import Journey, draw_journey
from qvpipe.demo.look import Look, draw_look
from qvpipe.demo.noise import Rng
from qvpipe.demo.plan import Clip
from qvpipe.demo.scene import Scene, Sighting
from qvpipe.demo.stamp import Stamp, stamp_of
from qvpipe.demo.wall import make_wall

_BLOCKING = ("CQ",)
_AT_JOINTS = ("CK", "SG", "SL", "TJ", "TL")
_VIEWING_DISTANCE = {"CQ": 1.75, "ZW": 2.0, "QF": 3.0, "BX": 2.0, "CR": 1.8, "CK": 1.6, "TJ": 1.5}
_REACH = {"QF": 5.5, "CQ": 3.4, "CR": 4.2, "CK": 3.2, "TJ": 3.4, "BX": 3.6}


@dataclass(frozen=True)
class Take:
    """Everything needed to render a clip.

    Attributes:
        scene: The furnished pipe.
        journey: The camera's movement.
        stamp: The text in the picture.
        seed: For the noise of the sensor.
    """

    scene: Scene
    journey: Journey
    stamp: Stamp
    seed: int


def stage_clip(clip: Clip, seed: int) -> Take:
    """Draw a clip at random; the same clip and seed give the same pixels."""
    rng = np.random.default_rng([seed, 1, clip.index])
    look = draw_look(np.random.default_rng([seed, 2, clip.inspection]))
    codes = _order(rng, [code for code in clip.codes if code != "ZC"])
    blocked = bool(codes and codes[-1] in _BLOCKING) or (not codes and rng.random() < 0.08)
    moments = _draw_moments(rng, max(len(codes), 1), clip.seconds, blocked=blocked)
    journey = draw_journey(rng, clip.seconds, moments, blocked=blocked)
    places = [
        journey.position(moment) + _VIEWING_DISTANCE.get(code, 1.9) + float(rng.normal(0, 0.15))
        for code, moment in zip(codes, moments, strict=False)
    ]
    needed = [place for code, place in zip(codes, places, strict=True) if code in _AT_JOINTS]
    scene = _build_pipe(rng, look, float(journey.z.max()) + FAR + 3, needed)
    strength = 0.4 + 0.6 * float(rng.beta(2.2, 1.4))
    for code, place in zip(codes, places, strict=True):
        level = float(np.clip(strength + rng.normal(0, 0.1), 0.4, 1))
        points = DEFECTS[code](scene, rng, place, level)
        scene.sightings.append(Sighting(code, points, _REACH.get(code, 3.8)))
    stamp = stamp_of(look, look.start_m + 3 * rng.random(), int(rng.integers(28_800, 61_200)))
    return Take(scene, journey, stamp, int(rng.integers(2**31)))


def _order(rng: Rng, codes: list[str]) -> list[str]:
    shuffled = [codes[k] for k in rng.permutation(len(codes))]
    return sorted(shuffled, key=lambda code: code in _BLOCKING)


def _draw_moments(rng: Rng, count: int, seconds: float, *, blocked: bool) -> tuple[float, ...]:
    low, high = (0.3, 0.75) if count == 1 else (0.2, 0.82)
    if blocked:
        low, high = (0.55, 0.85) if count == 1 else (0.1, 0.9)
    edges = np.linspace(low, high, count + 1)
    share = rng.uniform(0.25, 0.75, count)
    moments = (edges[:-1] + share * np.diff(edges)) * seconds
    return tuple(float(moment) for moment in moments)


def _build_pipe(rng: Rng, look: Look, length: float, needed: list[float]) -> Scene:
    length = math.ceil(length)
    grid = np.arange(rng.uniform(0.3, look.joint_spacing), length, look.joint_spacing)
    free = [float(joint) for joint in grid if all(abs(joint - z) > 1.2 for z in needed)]
    joints = (*free, *needed)
    scene = Scene(look, make_wall(rng, look, length, joints))
    if look.water_level is not None:
        scene.water = make_water(rng, look.water_level, look.water_tint)
    return scene
