"""The choice of a fixed number of frames from those that a video has."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from qvpipe.video.quality import Judgement


def choose(judged: Sequence[Judgement], count: int) -> list[int]:
    """Choose exactly `count` frames of a video, spread over its length.

    The video is cut into `count` equal stretches of time, and each gives its sharpest frame that
    isn't a duplicate, even a blurred one, so that there is no hole. A stretch of nothing but
    duplicates takes the next best: a kept frame of the nearest stretch that has one to spare, then
    its own or the nearest frame that was thrown out. Only a video with fewer frames than `count`
    shows some of them twice.

    Args:
        judged: All stored frames of the video, one or more, in order of time.
        count: How many frames are wanted, 1 or more.

    Returns:
        Positions of frames, ascending.
    """
    stretches = _stretches([frame.time_s for frame in judged], count)
    distinct = [i for i, frame in enumerate(judged) if frame.dropped != "duplicate"]
    chosen: list[int | None] = [
        _best(judged, stretches, [i for i in distinct if stretches[i] == stretch], stretch)
        for stretch in range(count)
    ]
    for stretch, choice in enumerate(chosen):
        if choice is None:
            spare = [i for i in range(len(judged)) if i not in chosen] or range(len(judged))
            chosen[stretch] = _best(judged, stretches, spare, stretch)
    return sorted(judged[i].position for i in chosen if i is not None)


def evenly(times: Sequence[float], count: int) -> list[int]:
    """Choose `count` frames of a video that are evenly spaced in time, whatever they show.

    They are the frames nearest to the middles of `count` equal stretches of time.

    Args:
        times: Of all stored frames, one or more, in seconds, ascending.
        count: How many frames are wanted, 1 or more; some come twice where there are fewer.

    Returns:
        Positions of frames, ascending.
    """
    span = times[-1] - times[0]
    if span <= 0:
        return [i * len(times) // count for i in range(count)]
    margin = span / (len(times) - 1) / 2
    edges = np.linspace(times[0] - margin, times[-1] + margin, count + 1)
    middles = (edges[:-1] + edges[1:]) / 2
    distances = np.abs(np.asarray(times)[:, np.newaxis] - middles)
    return [int(position) for position in distances.argmin(axis=0)]


def embedded(indices: Sequence[int], which: Literal["middle", "all"]) -> list[int]:
    """Return the positions of the frames of a video that are embedded, in order of time.

    Args:
        indices: Which picture of the video each stored frame is; short videos have some twice.
        which: The middle one, or each picture once.
    """
    if which == "middle":
        return [len(indices) // 2]
    first = {index: position for position, index in reversed(list(enumerate(indices)))}
    return sorted(first.values())


def _stretches(times: Sequence[float], count: int) -> list[int]:
    """Return in which of `count` equal stretches each time lies; a frame stands for its middle."""
    span = times[-1] - times[0]
    if span <= 0:
        return [i * count // len(times) for i in range(len(times))]
    margin = span / (len(times) - 1) / 2
    whole = span + 2 * margin
    return [min(count - 1, int((time - times[0] + margin) / whole * count)) for time in times]


def _best(
    judged: Sequence[Judgement],
    stretches: Sequence[int],
    candidates: Sequence[int],
    stretch: int,
) -> int | None:
    """Return the candidate that serves a stretch best: kept, then near, then sharp."""
    return min(
        candidates,
        key=lambda i: (
            bool(judged[i].dropped),
            abs(stretches[i] - stretch),
            -judged[i].sharpness,
        ),
        default=None,
    )
