"""What a model sees of a video. Training and prediction share it, so that both see the same."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qvpipe.config import ModelSettings, Settings
from qvpipe.video.candidates import take_candidates
from qvpipe.video.choose import choose
from qvpipe.video.images import Image, decode_jpeg, square
from qvpipe.video.quality import Judgement, judge
from qvpipe.video.store import StoredFrames, pack, unpack
from qvpipe.video.superimage import superimage_jpeg

Views = NDArray[np.uint8]
"""The pictures of one item, `[views, size, size, 3]`, RGB."""


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


def video_views(path: Path, settings: Settings, members: Sequence[str]) -> dict[str, Views]:
    """Return what each member sees of a video file, by the very steps that the stages take.

    Raises:
        VideoError: If the video cannot be read.
    """
    sample = take_candidates(path, settings.frames)
    stored = unpack(pack(sample, settings.frames, content=""))
    judged = judge(stored.facts, settings.clean)
    views = {}
    for member in members:
        model = settings.models[member]
        if model.input == "frames":
            views[member] = frame_views(stored, judged, model)
        else:
            chosen = stored.frames[choose(judged, settings.superimages.grid**2)]
            superimage = decode_jpeg(superimage_jpeg(chosen, settings.superimages))
            views[member] = superimage_views(superimage, model)
    return views
