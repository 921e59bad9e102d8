"""What a model sees of a video. Training and prediction share it, so that both see the same."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qvpipe.config import ModelSettings, Settings, SuperimagesSettings
from qvpipe.video.candidates import take_candidates
from qvpipe.video.choose import choose, embedded, evenly
from qvpipe.video.images import Image, decode_jpeg, square
from qvpipe.video.quality import Facts, Judgement, judge
from qvpipe.video.reader import Sample
from qvpipe.video.store import StoredFrames, pack, unpack
from qvpipe.video.superimage import superimage_jpeg

Views = NDArray[np.uint8]
"""The pictures of one item, `[views, size, size, 3]`, RGB; the views of a clip are its frames."""


def views_of(pictures: Iterable[Image], model: ModelSettings) -> Views:
    """Return pictures of one item as a model sees them.

    They are squashed and not cropped, so that what stands at an edge stays in view.

    Args:
        pictures: `[height, width, 3]` each: its super-image, or the frames that the model takes.
        model: Says how large.
    """
    return np.stack([square(picture, model.size, "squash") for picture in pictures])


def frame_positions(judged: Sequence[Judgement], model: ModelSettings) -> list[int]:
    """Return which frames of a video a model with the input `frames` sees.

    Args:
        judged: What cleaning says of all that are stored.
        model: Says how many.
    """
    return choose(judged, model.frames)


def clip_positions(stored: Sequence[Facts], model: ModelSettings) -> list[int]:
    """Return which frames of a video a model with the input `clip` sees, evenly spaced in time.

    Sharpness chooses none, since a jump to a sharper frame would look like a movement.

    Args:
        stored: What was measured of all that are stored.
        model: Says how many.
    """
    return evenly([frame.time_s for frame in stored], model.frames)


def embedded_views(stored: StoredFrames, which: Literal["middle", "all"]) -> Views:
    """Return what a model of texts and pictures sees of a video, for labels without training.

    Args:
        stored: The candidate frames of a video.
        which: Frames; see `search.frames`.

    Returns:
        The frames as they are stored, which the model itself scales and crops.
    """
    return stored.frames[embedded([frame.index for frame in stored.facts], which)]


@dataclass(frozen=True)
class Examined:
    """A video file after the steps that the stages take before any model sees it.

    Attributes:
        sample: Its candidate frames as they were decoded.
        stored: The same frames as they are stored.
        judged: What cleaning says of them.
    """

    sample: Sample
    stored: StoredFrames
    judged: Sequence[Judgement]

    def tiles(self, settings: SuperimagesSettings) -> list[int]:
        """Return the positions of the frames on the super-image, in order of time."""
        return choose(self.judged, settings.grid**2)

    def superimage(self, settings: SuperimagesSettings) -> Image:
        """Return the super-image."""
        return decode_jpeg(superimage_jpeg(self.stored.frames[self.tiles(settings)], settings))

    def views(self, settings: Settings, members: Sequence[str]) -> dict[str, Views]:
        """Return what each member sees."""
        return {member: self._seen_by(member, settings) for member in members}

    def _seen_by(self, member: str, settings: Settings) -> Views:
        if member in settings.ensemble.zeroshot:
            return embedded_views(self.stored, settings.search.frames)
        model = settings.models[member]
        if model.input == "superimage":
            return views_of([self.superimage(settings.superimages)], model)
        if model.input == "clip":
            positions = clip_positions(self.stored.facts, model)
        else:
            positions = frame_positions(self.judged, model)
        return views_of(self.stored.frames[positions], model)


def examine(path: Path, settings: Settings, *, full_size: bool = False) -> Examined:
    """Take and judge the frames of a video file.

    Args:
        path: The video.
        settings: Of the pipeline.
        full_size: Whether the sample is kept as large as the video.

    Raises:
        VideoError: If the video cannot be read.
    """
    sample = take_candidates(path, settings.frames, full_size=full_size)
    stored = unpack(pack(sample, settings.frames, content=""))
    return Examined(sample, stored, judge(stored.facts, settings.clean))


def video_views(path: Path, settings: Settings, members: Sequence[str]) -> dict[str, Views]:
    """Return what each member sees of a video file, by the very steps that the stages take.

    Raises:
        VideoError: If the video cannot be read.
    """
    return examine(path, settings).views(settings, members)
