"""The slow plain truth: every picture of a video, decoded in order."""

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt


def decode_all(path: Path) -> list[npt.NDArray[np.uint8]]:
    """Return all pictures in the order in which a player shows them."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        return [
            np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
            for frame in container.decode(stream)
        ]
