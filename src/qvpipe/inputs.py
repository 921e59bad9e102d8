"""What a model sees of a video. Training and prediction share it, so that both see the same."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qvpipe.config import ModelSettings
from qvpipe.video.choose import choose
from qvpipe.video.images import square
from qvpipe.video.quality import Judgement
from qvpipe.video.store import StoredFrames

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


def superimage_views(superimage: NDArray[np.uint8], model: ModelSettings) -> Views:
    """Return what a model with the input `superimage` sees: a single view.

    Args:
        superimage: `[side, side, 3]`.
        model: Says how large.
    """
    return square(superimage, model.size, "squash")[np.newaxis]
