"""Which of a video's frames are worth looking at: sharp ones that do not repeat each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import imagehash
import numpy as np
import pandas as pd
from PIL import Image as PillowImage

from qvpipe.config import CleanSettings
from qvpipe.video.images import Image, resize
from qvpipe.video.store import StoredFrames

SIDE = 192
"""Side in pixels of the square in which sharpness is measured, so that one scale holds for all
resolutions."""

Dropped = Literal["", "blurred", "duplicate"]


@dataclass(frozen=True)
class Judgement:
    """What is known of one stored frame."""

    position: int
    """Its place among the video's stored frames, from 0."""
    index: int
    """Which picture of the video it is, from 0."""
    time_s: float
    """Seconds since the first picture."""
    sharpness: float
    """Variance of the Laplacian, to four significant digits."""
    phash: str
    """Perceptual hash of 64 bits in hexadecimal."""
    dropped: Dropped
    """Why it is thrown out; empty for a frame that is kept."""


def judge(stored: StoredFrames, settings: CleanSettings) -> list[Judgement]:
    """Judge the frames of one video; at least one is always kept."""
    sharpnesses = [float(f"{sharpness(frame):.4g}") for frame in stored.frames]
    hashes = [phash(frame) for frame in stored.frames]
    verdicts = decide(sharpnesses, hashes, settings)
    return [
        Judgement(
            position=position,
            index=int(stored.indices[position]),
            time_s=float(stored.times[position]),
            sharpness=sharpnesses[position],
            phash=hashes[position],
            dropped=verdicts[position],
        )
        for position in range(len(verdicts))
    ]


def decide(
    sharpnesses: Sequence[float], hashes: Sequence[str], settings: CleanSettings
) -> list[Dropped]:
    """Say of each frame of a video, in order of time, why it is thrown out or that it is kept."""
    least = settings.blur_ratio * float(np.median(sharpnesses))
    verdicts: list[Dropped] = []
    kept: list[int] = []
    for value, text in zip(sharpnesses, hashes, strict=True):
        bits = int(text, 16)
        if value < least:
            verdicts.append("blurred")
        elif any((bits ^ other).bit_count() <= settings.max_distance for other in kept):
            verdicts.append("duplicate")
        else:
            kept.append(bits)
            verdicts.append("")
    return verdicts


def sharpness(frame: Image) -> float:
    """Return the variance of the Laplacian of a frame, at a size that is the same for all."""
    grey = cv2.cvtColor(resize(frame, SIDE, SIDE), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def phash(frame: Image) -> str:
    """Return the perceptual hash of a frame, 64 bits in hexadecimal."""
    return str(imagehash.phash(PillowImage.fromarray(frame)))


def by_video(clean: pd.DataFrame) -> dict[str, list[Judgement]]:
    """Return the rows of the table of all frames as the judgements of each video."""
    return {
        str(video): [
            Judgement(
                position=int(row["position"]),
                index=int(row["index"]),
                time_s=float(row["time_s"]),
                sharpness=float(row["sharpness"]),
                phash=str(row["phash"]),
                dropped=row["dropped"],
            )
            for row in rows.to_dict("records")
        ]
        for video, rows in clean.groupby("video")
    }
