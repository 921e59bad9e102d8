"""Which of a video's frames are worth looking at: sharp ones that do not repeat each other."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

import cv2
import imagehash
import numpy as np
from PIL import Image as PillowImage

from qvpipe.config import CleanSettings
from qvpipe.video.images import Image, resize

if TYPE_CHECKING:
    import pandas as pd

SIDE = 192
"""Side in pixels of the square in which sharpness is measured, so that one scale holds for all
resolutions."""

Dropped = Literal["", "blurred", "duplicate"]


@dataclass(frozen=True)
class Facts:
    """What is measured of a frame when it is stored."""

    index: int
    """Which picture of the video it is, from 0."""
    time_s: float
    """Seconds since the first picture, to the millisecond."""
    sharpness: float
    """Variance of the Laplacian, to four significant digits."""
    phash: str
    """Perceptual hash of 64 bits in hexadecimal."""


@dataclass(frozen=True)
class Judgement(Facts):
    """What is known of one stored frame."""

    position: int
    """Its place among the video's stored frames, from 0."""
    dropped: Dropped
    """Why it is thrown out; empty for a frame that is kept."""


def facts(frame: Image, index: int, time_s: float) -> Facts:
    """Measure a frame.

    Args:
        frame: uint8 [height, width, 3], RGB, as small as it is stored but not yet a JPEG.
        index: Which picture of the video it is, from 0.
        time_s: Seconds since the first picture.
    """
    return Facts(
        int(index), round(float(time_s), 3), float(f"{sharpness(frame):.4g}"), phash(frame)
    )


def judge(frames: Sequence[Facts], settings: CleanSettings) -> list[Judgement]:
    """Judge the frames of one video, in order of time; at least one is always kept."""
    verdicts = decide(
        [frame.sharpness for frame in frames], [frame.phash for frame in frames], settings
    )
    return [
        Judgement(frame.index, frame.time_s, frame.sharpness, frame.phash, position, verdict)
        for position, (frame, verdict) in enumerate(zip(frames, verdicts, strict=True))
    ]


def decide(
    sharpnesses: Sequence[float], hashes: Sequence[str], settings: CleanSettings
) -> list[Dropped]:
    """Say of each frame of a video why it is thrown out, or that it is kept.

    Of frames that repeat each other the sharpest stays. A frame that repeats none is blurred if
    its sharpness is below a share of the median.
    """
    least = settings.blur_ratio * float(np.median(sharpnesses))
    bits = [int(text, 16) for text in hashes]
    verdicts: list[Dropped] = [""] * len(bits)
    distinct: list[int] = []
    for i in sorted(range(len(bits)), key=lambda i: -sharpnesses[i]):
        if any((bits[i] ^ other).bit_count() <= settings.max_distance for other in distinct):
            verdicts[i] = "duplicate"
            continue
        distinct.append(bits[i])
        if sharpnesses[i] < least:
            verdicts[i] = "blurred"
    return verdicts


def sharpness(frame: Image) -> float:
    """Return the variance of the Laplacian of a frame, at a size that is the same for all."""
    grey = cv2.cvtColor(resize(frame, SIDE, SIDE), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def phash(frame: Image) -> str:
    """Return the perceptual hash of a frame, 64 bits in hexadecimal."""
    return str(imagehash.phash(PillowImage.fromarray(frame)))


def by_video(clean: "pd.DataFrame") -> dict[str, list[Judgement]]:
    """Return the rows of the table of all frames as the judgements of each video."""
    found: dict[str, list[Judgement]] = {}
    columns = [clean[f.name].tolist() for f in fields(Judgement)]
    for video, *row in zip(clean["video"].tolist(), *columns, strict=True):
        found.setdefault(video, []).append(Judgement(*row))
    return found
