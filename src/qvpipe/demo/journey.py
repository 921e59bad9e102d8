"""How the camera travels through the pipe during a clip."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qvpipe.demo.noise import Floats, Rng

FPS = 25


@dataclass(frozen=True)
class Journey:
    """The camera's movement, one value for each frame.

    Attributes:
        z: Position along the pipe in radii, 0 at the start.
        sway: Shift (frames, 2) of the picture in pixels, within 7.
        roll: Rotation of the picture in radians.
        yaw: Turn of the camera's head to the right in radians, mostly 0.
        pitch: Turn of the head downwards in radians, mostly 0.
        blur: Radius of the blur in pixels, mostly 0.
        shake: Direction of the blur in radians; NaN where the lens is out of focus.
    """

    z: Floats
    sway: Floats
    roll: float
    yaw: Floats
    pitch: Floats
    blur: Floats
    shake: Floats

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.z)

    def position(self, second: float) -> float:
        """Position along the pipe at a moment."""
        return float(self.z[min(round(second * FPS), self.frames - 1)])


def draw_journey(
    rng: Rng, seconds: float, moments: tuple[float, ...], *, blocked: bool = False
) -> Journey:
    """Draw a movement at random.

    Args:
        rng: Source of randomness.
        seconds: Duration of the clip.
        moments: Seconds at which there is something to look at; the camera may stop there.
        blocked: Whether the camera cannot go on after the last of the moments.

    Returns:
        The movement, `seconds` times 25 frames.
    """
    frames = round(seconds * FPS)
    speed = _draw_speed(rng, frames, moments, blocked)
    travel = rng.uniform(7.0, 10.5)
    share = np.cumsum(speed) / max(float(np.abs(speed).sum()), 1e-6)
    z = (share - share[0]) * travel
    moving = np.convolve(np.abs(speed), np.ones(9) / 9, mode="same")
    yaw, pitch = _draw_head_turn(rng, frames, speed)
    blur, shake = _draw_blur(rng, frames)
    amplitude = rng.uniform(0.5, 5.0)
    phase = np.cumsum(moving) / FPS * 2 * math.pi
    sway = np.stack(
        [
            amplitude * np.sin(phase * rng.uniform(0.3, 0.8) + rng.uniform(0, 6)),
            amplitude * 0.6 * np.sin(phase * rng.uniform(0.5, 1.2) + rng.uniform(0, 6)),
        ],
        axis=-1,
    )
    return Journey(
        z=z.astype(np.float32),
        sway=sway.astype(np.float32),
        roll=float(rng.normal(0, 0.045)),
        yaw=yaw.astype(np.float32),
        pitch=pitch.astype(np.float32),
        blur=blur.astype(np.float32),
        shake=shake.astype(np.float32),
    )


def _draw_speed(
    rng: Rng, frames: int, moments: tuple[float, ...], blocked: bool
) -> NDArray[np.float64]:
    time = np.arange(frames) / FPS
    speed = 1 + 0.15 * np.sin(time * rng.uniform(0.5, 2) + rng.uniform(0, 6))
    for moment in moments:
        if rng.random() < 0.7:
            half = rng.uniform(0.04, 0.11) * frames / FPS
            speed *= np.clip((np.abs(time - moment) - half) / 0.35, 0, 1)
    if blocked:
        end = moments[-1]
        back = -0.7 if rng.random() < 0.35 else 0.0
        rest = end + rng.uniform(0.6, 1.2)
        after = np.clip((time - rest) / 0.5, 0, 1) * back
        speed = np.where(time < end, speed * np.clip((end - time) / 0.4, 0, 1), after)
    return speed


def _draw_head_turn(
    rng: Rng, frames: int, speed: NDArray[np.float64]
) -> tuple[
    NDArray[np.float64],
    NDArray[np.float64],
]:
    yaw, pitch = np.zeros(frames), np.zeros(frames)
    if rng.random() < 0.14:
        still = np.flatnonzero(speed < 0.3)
        middle = rng.choice(still) if len(still) else rng.integers(frames)
        half = rng.uniform(0.7, 1.2) * FPS
        bump = np.clip(1 - ((np.arange(frames) - middle) / half) ** 2, 0, 1)
        direction = rng.uniform(0, 2 * math.pi)
        angle = math.radians(rng.uniform(12, 28))
        yaw = bump * angle * math.cos(direction)
        pitch = bump * angle * 0.6 * math.sin(direction)
    return yaw, pitch


def _draw_blur(
    rng: Rng, frames: int
) -> tuple[
    NDArray[np.float64],
    NDArray[np.float64],
]:
    blur, shake = np.zeros(frames), np.full(frames, np.nan)
    for _ in range(int(rng.integers(0, 3))):
        start = int(rng.integers(0, frames))
        length = int(rng.integers(3, 14))
        part = slice(start, start + length)
        blur[part] = rng.uniform(1.5, 5)
        shake[part] = np.nan if rng.random() < 0.4 else rng.uniform(0, math.pi)
    return blur, shake
