"""Frames through the package decord, for those who want it, with the checks that it leaves out.

decord repeats the last good picture for one that it cannot decode, loses count of the pictures when
it seeks where pictures refer across keyframes, deinterlaces, and pads the rows of some widths into
the picture. Where the packets reveal such a case, the pictures are read one after another, or, if
that doesn't help either, the video is refused. What packets don't reveal is not noticed: damage
inside a packet, streams that start afresh step by step instead of at a keyframe, and that a player
would mirror the pictures.
"""

import re
from collections.abc import Collection, Iterator
from pathlib import Path

import av
import decord

from qvpipe.video.images import Image
from qvpipe.video.packets import Survey, Video, VideoError, open_video
from qvpipe.video.reader import (
    DELIMITED,
    Choose,
    Prepare,
    Sample,
    assemble,
    in_order_of_time,
    is_plain,
    seconds,
)

ADVICE = "read it with frames.decoder: pyav"

SEEKABLE = frozenset(["h264", "vp9", "av1", "mjpeg"])
"""Codecs that decord seeks in without losing count, as long as no picture refers across a
keyframe."""

NO_FAULT = 1e-9
"""Share of pictures that decord may repeat in place of others: none."""

PROGRESSIVE = (0, 1)
"""FFmpeg's numbers for fields of an unknown order and for no fields."""


def sample_with_decord(
    path: Path, count: int, choose: Choose, prepare: Prepare | None = None
) -> Sample:
    """Return frames of a video as `qvpipe.video.sample_frames` does, but decoded by decord.

    Args:
        path: The video.
        count: How many frames, 1 or more.
        choose: Says which.
        prepare: What is done to each as soon as it is decoded.

    Raises:
        VideoError: If decord cannot read the video, or would give other pictures than it holds.
    """
    with open_video(path) as video:
        survey = video.survey
        _refuse_what_decord_alters(video)
    order = in_order_of_time(survey)
    keys = [index for index, number in enumerate(order) if survey.packets[number].key]
    indices = choose(len(order), count, keys)
    times = seconds([survey.packets[number].pts for number in order], indices, survey)
    wanted = sorted(set(indices))
    read = wanted if _may_seek(survey) else range(wanted[-1] + 1)
    images = {
        index: image if prepare is None else prepare(image)
        for index, image in zip(read, _read(path, read, len(order)), strict=True)
        if index in set(wanted)
    }
    return assemble(
        [images[index] for index in indices],
        indices,
        times,
        pictures=len(order),
        promised=len(order),
        pixel_aspect=survey.pixel_aspect or 1.0,
    )


def _read(path: Path, indices: Collection[int], pictures: int) -> Iterator[Image]:
    """Yield pictures of a video in the order of their indices, which ascend."""
    try:
        reader = decord.VideoReader(str(path), num_threads=1, fault_tol=NO_FAULT)
        if len(reader) != pictures:
            raise VideoError(
                f"{path.name} has {pictures} pictures, of which decord knows {len(reader)}; "
                f"{ADVICE}"
            )
        for index in indices:
            yield reader.get_batch([index]).asnumpy()[0]
    except (decord.DECORDError, decord.DECORDLimitReachedError, RuntimeError) as error:
        reason = re.sub(r"^.*(\]|\.cc:\d+:)\s*", "", str(error).splitlines()[0])
        raise VideoError(f"{path.name} cannot be read by decord ({reason}); {ADVICE}") from None


def _refuse_what_decord_alters(video: Video) -> None:
    survey, decoder, layout = video.survey, video.decoder, video.decoder.format
    reason = ""
    if survey.missing or not all(packet.sound for packet in survey.packets):
        reason = "is damaged, which decord hides"
    elif survey.container == "mpegts":
        reason = "is a transport stream, in which decord loses pictures"
    elif decoder.field_order not in PROGRESSIVE:
        reason = "is interlaced, and decord mixes the fields"
    elif (survey.width % 2 or survey.height % 2) and _subsampled(layout):
        reason = "has an odd size, which decord colours differently"
    elif layout is not None and layout.components[0].bits > 8:
        reason = "has more than 8 bits a colour, which decord rounds differently"
    if reason:
        raise VideoError(f"{video.path.name} {reason}; {ADVICE}")


def _subsampled(layout: av.VideoFormat | None) -> bool:
    """Say whether several pixels share a colour."""
    return layout is not None and (layout.chroma_width(2), layout.chroma_height(2)) != (2, 2)


def _may_seek(survey: Survey) -> bool:
    if not (is_plain(survey) and survey.codec in SEEKABLE and survey.container in DELIMITED):
        return False
    return not _refers_across_keyframes(survey)


def _refers_across_keyframes(survey: Survey) -> bool:
    """Say whether a picture follows a keyframe in the file and is shown before it."""
    key = 0
    for packet in survey.packets:
        pts = packet.pts or 0
        if packet.key:
            key = pts
        elif pts < key:
            return True
    return False
