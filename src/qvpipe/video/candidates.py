"""The candidate frames of a video, as the settings want them."""

from functools import partial
from pathlib import Path

from qvpipe.config import FramesSettings
from qvpipe.video.images import shrink
from qvpipe.video.reader import Sample, sample_frames


def take_candidates(path: Path, settings: FramesSettings, *, full_size: bool = False) -> Sample:
    """Return the candidate frames of a video, each scaled as soon as it is decoded.

    Args:
        path: The video.
        settings: Say how many, which, and how large.
        full_size: Whether they stay as large as the video.

    Raises:
        VideoError: If no picture can be read.
    """
    return sample_frames(
        path,
        settings.count,
        sampling=settings.sampling,
        decoder=settings.decoder,
        prepare=None if full_size else partial(shrink, side=settings.size),
    )
