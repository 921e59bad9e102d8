"""What a model sees of a video. Training and prediction share it, so that both see the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qvpipe.config import ModelSettings, Settings, SuperimagesSettings
from qvpipe.video.candidates import take_candidates
from qvpipe.video.choose import choose, embedded, evenly
from qvpipe.video.images import Image, decode_jpeg, square
from qvpipe.video.quality import Judgement, judge
from qvpipe.video.reader import Sample
from qvpipe.video.store import StoredFrames, pack, unpack
from qvpipe.video.superimage import superimage_jpeg

Views = NDArray[np.uint8]
"""The pictures of one item, `[views, size, size, 3]`, RGB; the views of a clip are its frames."""


def frame_views(stored: StoredFrames, judged: Sequence[Judgement], model: ModelSettings) -> Views:
    """Return what a model with the input `frames` sees: one view a frame.

    Args:
        stored: The candidate frames of a video.
        judged: What cleaning says of them.
        model: Says how many frames, and how large.
    """
    return np.stack(
        [square(stored.frames[i], model.size, "squash") for i in choose(judged, model.frames)]
    )


def superimage_views(superimage: Image, model: ModelSettings) -> Views:
    """Return what a model with the input `superimage` sees: a single view.

    Args:
        superimage: `[side, side, 3]`.
        model: Says how large.
    """
    return square(superimage, model.size, "squash")[np.newaxis]


def clip_views(stored: StoredFrames, model: ModelSettings) -> Views:
    """Return what a model with the input `clip` sees: frames evenly spaced in time.

    Sharpness chooses none, since a jump to a sharper frame would look like a movement. The frames
    are squashed and not cropped, so that what stands at an edge stays in view.

    Args:
        stored: The candidate frames of a video.
        model: Says how many frames, and how large.
    """
    positions = evenly([frame.time_s for frame in stored.facts], model.frames)
    return np.stack([square(stored.frames[i], model.size, "squash") for i in positions])


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
            return superimage_views(self.superimage(settings.superimages), model)
        if model.input == "clip":
            return clip_views(self.stored, model)
        return frame_views(self.stored, self.judged, model)


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
