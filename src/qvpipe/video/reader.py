"""Frames of a video, pixel for pixel those of a full sequential decode.

The packets of a file are listed first, which costs next to nothing. Where the list tells beyond
doubt which packet holds which picture, only what the wanted pictures refer to is decoded: from
the keyframe before each of them, without the pictures between that nothing refers to. Otherwise,
or as soon as anything looks odd on the way, the whole file is decoded in order. Neither way seeks,
so neither needs an index in the file.

An image file is a video of one picture that takes no time.
"""

import bisect
import itertools
import operator
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

import av
import av.error
import cv2
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from qvpipe.video.images import Image
from qvpipe.video.packets import (
    IMAGE_ENDINGS,
    MAX_PIXELS,
    VIDEO_ENDINGS,
    DataPacket,
    Packet,
    Survey,
    Video,
    VideoError,
    header_length_s,
    open_video,
)
from qvpipe.video.stills import image_format, read_image

__all__ = ["ENDINGS", "Probe", "Sample", "VideoError", "positions", "probe"]
__all__ += ["promised_length_s", "sample_frames"]

ENDINGS = VIDEO_ENDINGS | IMAGE_ENDINGS
"""How the names of files end that are taken for videos and images, in lower case."""

Sampling = Literal["even", "keyframe"]
Decoder = Literal["pyav", "decord"]

Choose: TypeAlias = Callable[[int, int, Sequence[int]], list[int]]
"""Says which pictures to take: from their number, how many are wanted, and which are keyframes."""

Prepare: TypeAlias = Callable[[Image], Image]

ONE_PICTURE_PER_PACKET = frozenset(
    ["h264", "hevc", "vp9", "av1", "mpeg1video", "mpeg2video", "mjpeg", "prores", "ffv1"]
)
"""Codecs of which every packet of a sound file becomes exactly one picture. In MPEG-4 part 2 a
packet may hold two pictures or none, in VP8 one that is never shown."""

TELLS_TIMES = frozenset(["mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts", "mpeg", "flv"])
"""Containers that store when a picture is shown. AVI doesn't, and what FFmpeg puts there instead
can be wrong without looking so."""

SKIPPABLE = frozenset(["h264", "mpeg1video", "mpeg2video"])
"""Codecs that mark pictures to which nothing refers beyond doubt. In HEVC the mark speaks of a
picture's own temporal layer only."""

UNAWARE = frozenset(["hevc", "vp8", "vp9", "av1"])
"""Codecs whose decoders notice damage where a packet begins, but hardly within one. It mostly
begins within one, so the packet before the first that fails isn't trusted either."""

DELIMITED = frozenset(["mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flv"])
"""Containers that store where a packet ends. In the others a damaged beginning makes a packet
part of the one before, which only decoding that one reveals."""


@dataclass(frozen=True)
class Sample:
    """Frames taken from a video, in order of time."""

    frames: Image
    """uint8 [count, height, width, 3], RGB as a player shows them, turned and mirrored; one pixel
    for each that is stored, also where `pixel_aspect` is not 1."""
    indices: npt.NDArray[np.int64]
    """[count], which picture of the video each is, from 0."""
    times: npt.NDArray[np.float64]
    """[count], seconds since the first picture."""
    pictures: int
    """Number of pictures of the video that can be read."""
    note: str = ""
    """What is wrong with a video that could be read in part, or that it has fewer pictures than
    were wanted; empty otherwise."""
    pixel_aspect: float = 1.0
    """Width over height of a pixel in `frames`."""
    damaged: bool = False
    """Whether some pictures of the video cannot be read."""


@dataclass(frozen=True)
class Probe:
    """What a video's packets tell without decoding any, or what an image is."""

    frames: int
    fps: float
    """0 for an image, as is its duration."""
    duration_s: float
    width: int
    height: int
    codec: str
    pixel_aspect: float = 1.0
    """Width of a stored pixel over its height."""


@dataclass(frozen=True)
class _Run:
    """Packets `first` to `last` are decoded without a break; `first` is a keyframe."""

    first: int
    last: int


def positions(pictures: int, count: int) -> list[int]:
    """Return the indices of `count` pictures in the middles of equal parts of a video."""
    return [(2 * i + 1) * pictures // (2 * count) for i in range(count)]


def keyframe_positions(pictures: int, count: int, keys: Sequence[int]) -> list[int]:
    """Return for each of `count` equal parts the keyframe nearest to its middle.

    Args:
        pictures: Number of pictures of the video.
        count: How many are wanted.
        keys: Indices of the pictures that are keyframes, ascending.

    Returns:
        Indices, ascending; that of the middle where no keyframe lies in the part.
    """
    # A picture belongs to the part in which the middle of its own time lies.
    bounds = [-((count - 2 * i * pictures) // (2 * count)) for i in range(count + 1)]
    parts = [
        keys[bisect.bisect_left(keys, first) : bisect.bisect_left(keys, last)]
        for first, last in itertools.pairwise(bounds)
    ]
    return [
        min(part, key=lambda key: abs(key - middle), default=middle)
        for part, middle in zip(parts, positions(pictures, count), strict=True)
    ]


def probe(path: Path) -> Probe:
    """Count and measure a video from its packets; no picture is decoded but an image's own.

    Raises:
        VideoError: If the file holds no video and no image that can be read.
    """
    if codec := image_format(path):
        height, width, _ = read_image(path).shape
        return Probe(1, 0.0, 0.0, width, height, codec)
    with open_video(path) as video:
        survey = video.survey
    stamps = [packet.pts for packet in survey.packets if packet.shown and packet.pts is not None]
    length = survey.shown / survey.rate
    if len(stamps) == survey.shown:
        length = float((max(stamps) - min(stamps)) * survey.time_base) + 1 / survey.rate
    return Probe(
        frames=survey.shown,
        fps=survey.rate,
        duration_s=length,
        width=survey.width,
        height=survey.height,
        codec=survey.codec,
        pixel_aspect=survey.pixel_aspect or 1.0,
    )


def promised_length_s(path: Path) -> float:
    """Return how long a video is by its header, in seconds; 0 if that doesn't tell.

    Raises:
        VideoError: If the file holds no video and no image that can be read.
    """
    return 0.0 if image_format(path) else header_length_s(path)


def sample_frames(
    path: Path,
    count: int,
    *,
    sampling: Sampling = "even",
    decoder: Decoder = "pyav",
    prepare: Prepare | None = None,
) -> Sample:
    """Return `count` frames of a video, one from each of `count` equal parts of it.

    Frame i is picture (2 i + 1) n // (2 count) of the n pictures in the order in which a player
    shows them, so a video with fewer pictures than `count` has some of them repeatedly. Of a
    damaged file the pictures that decode without error are counted and no others.

    Args:
        path: The video, or an image.
        count: How many frames, 1 or more.
        sampling: `even`, or `keyframe` to take the keyframe nearest to that picture where one
            lies in the same part. It decodes much less of a long video. Where a file's packets
            do not tell which of them holds which picture, all are decoded in either way.
        decoder: `pyav`, or `decord` for the package of that name; see `qvpipe.video.decord`.
        prepare: What is done to each picture, [height, width, 3], as soon as it is decoded. Where
            it makes them smaller, no two have to lie in memory at their full size.

    Raises:
        VideoError: If no picture can be read.
    """
    if image_format(path):
        return _sample_image(path, count, prepare)
    choose = {"even": _choose_middles, "keyframe": keyframe_positions}[sampling]
    if decoder == "decord":
        from qvpipe.video.decord import sample_with_decord

        return sample_with_decord(path, count, choose, prepare)
    with open_video(path, briefly=True) as video:
        sample = _sample_where_needed(video, count, choose, prepare)
    if sample is not None:
        return sample
    with open_video(path) as video:
        sample = _sample_in_full(video, count, choose, prepare)
    if not sample.damaged:
        return sample
    # What is known to be damaged is judged more strictly, as long as that leaves anything.
    try:
        with open_video(path, strict=True) as video:
            return _sample_in_full(video, count, choose, prepare)
    except VideoError:
        return sample


def _sample_image(path: Path, count: int, prepare: Prepare | None) -> Sample:
    image = read_image(path)
    frame = image if prepare is None else prepare(image)
    return assemble(
        [frame] * count, [0] * count, [0.0] * count, pictures=1, promised=1, pixel_aspect=1.0
    )


def _choose_middles(pictures: int, count: int, keys: Sequence[int]) -> list[int]:
    return positions(pictures, count)


def _sample_where_needed(
    video: Video, count: int, choose: Choose, prepare: Prepare | None
) -> Sample | None:
    """Decode only what the wanted pictures need; None where that isn't safe."""
    survey = video.survey
    if not is_plain(survey):
        return None
    packets = survey.packets
    order = in_order_of_time(survey)
    keys = [index for index, number in enumerate(order) if packets[number].key]
    indices = choose(len(order), count, keys)
    wanted = {order[index] for index in indices}
    runs = _runs(packets, wanted)
    _allow_reordering(video, runs)
    optional = _optional(survey, runs) - wanted
    found: dict[int, Image] = {}
    decoded: list[int] = []
    sizes: set[tuple[int, int]] = set()
    reformatter = VideoReformatter()
    for number, frame in _decode(video, runs, optional):
        if frame is None:
            return None
        if _leads(packets, runs, number):
            continue
        if frame.is_corrupt or frame.pts != packets[number].pts:
            return None
        decoded.append(number)
        sizes.add((frame.width, frame.height))
        if number in wanted:
            found[number] = _rgb(video, frame, reformatter, prepare)
            turned = frame.rotation % 180 != 0
    if len(sizes) != 1 or not _as_expected(packets, runs, optional, decoded):
        return None
    return assemble(
        [found[order[index]] for index in indices],
        indices,
        seconds([packets[number].pts for number in order], indices, survey),
        pictures=len(order),
        promised=len(order) + survey.missing,
        pixel_aspect=_pixel_aspect(video, turned),
    )


def _sample_in_full(video: Video, count: int, choose: Choose, prepare: Prepare | None) -> Sample:
    """Decode everything in order; again only if the packets promised other pictures."""
    survey = video.survey
    packets = survey.packets
    everything = [_Run(0, len(packets) - 1)]
    order = in_order_of_time(survey)
    convert: Collection[int] = set(
        choose(survey.shown, count, [i for i, number in enumerate(order) if packets[number].key])
    )
    reformatter = VideoReformatter()
    while True:
        images: dict[int, Image] = {}
        shown: list[int] = []
        stamps: list[int | None] = []
        damaged = {i for i, packet in enumerate(packets) if not packet.sound}
        for number, frame in _decode(video, everything, set()):
            if frame is None or frame.is_corrupt:
                damaged.add(number)
            if frame is None:
                if survey.codec in UNAWARE:
                    damaged.add(number - 1)
                continue
            if len(shown) in convert:
                images[len(shown)] = _rgb(video, frame, reformatter, prepare)
                turned = frame.rotation % 180 != 0
            shown.append(number)
            stamps.append(frame.pts)
        sound = _sound_pictures(shown, damaged, packets)
        if not sound:
            # FFmpeg forgets a size that is beyond its limit.
            what = "can be decoded without errors"
            if not survey.width:
                what = f"says its size and has no more than {MAX_PIXELS} pixels"
            raise VideoError(f"{video.path.name} holds no picture that {what}")
        keys = [i for i, position in enumerate(sound) if packets[shown[position]].key]
        indices = choose(len(sound), count, keys)
        chosen = [sound[index] for index in indices]
        if images.keys() >= set(chosen):
            break
        convert = set(chosen)
    return assemble(
        [images[i] for i in chosen],
        indices,
        seconds(stamps, chosen, survey),
        pictures=len(sound),
        promised=survey.missing + max(len(shown), survey.shown if damaged else 0),
        pixel_aspect=_pixel_aspect(video, turned),
    )


def assemble(
    images: Sequence[Image],
    indices: Sequence[int],
    times: Sequence[float],
    *,
    pictures: int,
    promised: int,
    pixel_aspect: float,
) -> Sample:
    """Return frames as a sample.

    Args:
        images: The frames, [height, width, 3] each, in order of time.
        indices: Which pictures they are.
        times: When they are shown, in seconds.
        pictures: Number of pictures that can be read.
        promised: Number of pictures that the file should have.
        pixel_aspect: Width of a pixel over its height.
    """
    height, width = images[0].shape[:2]
    notes = []
    if pictures < promised:
        notes.append(f"only {pictures} of {promised} pictures can be read")
    if pictures < len(indices):
        notes.append(f"{pictures} pictures are fewer than {len(indices)} frames, so some repeat")
    # A stream may change its size on the way; players keep their window.
    frames = np.empty((len(images), height, width, 3), dtype=np.uint8)
    for frame, image in zip(frames, images, strict=True):
        same = image.shape[:2] == (height, width)
        frame[:] = image if same else cv2.resize(image, (width, height))
    return Sample(
        frames=frames,
        indices=np.array(indices, dtype=np.int64),
        times=np.array(times, dtype=np.float64),
        pictures=pictures,
        note="; ".join(notes),
        damaged=pictures < promised,
        pixel_aspect=pixel_aspect,
    )


def is_plain(survey: Survey) -> bool:
    """Say whether the packets alone tell which of them holds which picture."""
    return not doubt(survey)


def doubt(survey: Survey) -> str:
    """Return why the packets alone don't tell which of them holds which picture; empty if so."""
    stamps = [packet.pts for packet in survey.packets]
    known = [pts for pts in stamps if pts is not None]
    doubts = {
        "a codec with more or fewer pictures than packets": (
            survey.codec not in ONE_PICTURE_PER_PACKET
        ),
        "a container without times": survey.container not in TELLS_TIMES,
        "damaged packets": not all(packet.sound for packet in survey.packets),
        "packets without times of their own": len(set(known)) < len(stamps),
        "no keyframe at the start": not survey.packets[0].key,
        # They refer to what isn't there, and decoders drop them.
        "pictures before the first keyframe": bool(known) and stamps[0] != min(known),
    }
    return next((reason for reason, applies in doubts.items() if applies), "")


def in_order_of_time(survey: Survey) -> list[int]:
    """Return the numbers of the packets that are shown, in the order in which a player does.

    Where not all tell when, it is that of the file.
    """
    shown = [i for i, packet in enumerate(survey.packets) if packet.shown]
    stamps = [packet.pts for packet in survey.packets]
    if None in stamps and any(stamps[i] is None for i in shown):
        return shown
    return sorted(shown, key=cast("list[int]", stamps).__getitem__)


def _pts(packet: Packet) -> int:
    return cast("int", packet.pts)


def _runs(packets: Sequence[Packet], wanted: Collection[int]) -> list[_Run]:
    """Return the least that must be decoded for the wanted packets, in order, without overlaps."""
    keys = [i for i, packet in enumerate(packets) if packet.key]
    runs: list[_Run] = []
    for number in sorted(wanted):
        before = reversed(keys[: bisect.bisect_right(keys, number)])
        # A picture shown before the keyframe that it follows also refers to what precedes that.
        first = next(key for key in before if _pts(packets[key]) <= _pts(packets[number]))
        while runs and first <= runs[-1].last:
            first = min(first, runs.pop().first)
        runs.append(_Run(first, number))
    return runs


def _optional(survey: Survey, runs: Sequence[_Run]) -> set[int]:
    """Return packets of runs whose pictures may be left out if nothing refers to them.

    Only those that are shown before one that precedes them in the file: among the others, a mark
    that nothing refers to them is more likely to be damage.
    """
    if survey.codec not in SKIPPABLE or survey.container not in DELIMITED:
        return set()
    optional: set[int] = set()
    for run in runs:
        latest = _pts(survey.packets[run.first])
        for number in range(run.first, run.last + 1):
            latest = max(latest, pts := _pts(survey.packets[number]))
            if pts < latest:
                optional.add(number)
    return optional


def _as_expected(
    packets: Sequence[Packet],
    runs: Sequence[_Run],
    optional: Collection[int],
    decoded: Sequence[int],
) -> bool:
    """Say whether all pictures of runs came out, in order of time.

    Otherwise the packets' times are wrong, or packets are missing in between, which a decoder may
    not notice: it gives other pictures then, or drops some, when it comes from further ahead.
    """
    expected = {
        number
        for run in runs
        for number in range(run.first, run.last + 1)
        if packets[number].shown and not _leads(packets, runs, number)
    }
    in_order = all(_pts(packets[a]) < _pts(packets[b]) for a, b in itertools.pairwise(decoded))
    return in_order and expected.difference(optional) <= set(decoded)


def _leads(packets: Sequence[Packet], runs: Sequence[_Run], number: int) -> bool:
    """Say whether a picture is shown before the keyframe at which its run starts."""
    run = runs[bisect.bisect_right(runs, number, key=lambda run: run.first) - 1]
    return _pts(packets[number]) < _pts(packets[run.first])


def _decode(
    video: Video, runs: Sequence[_Run], optional: Collection[int]
) -> Iterator[tuple[int, av.VideoFrame | None]]:
    """Decode runs of packets and yield each picture with its packet's number.

    Args:
        video: The video.
        runs: Which packets, ascending.
        optional: Packets that are left out if no picture refers to theirs.

    Yields:
        The number of a packet and its picture, or None for a packet that cannot be decoded.
    """
    decoder = video.decoder
    decoder.copy_opaque = True
    packets = enumerate(video.packets())
    for run in runs:
        decoder.flush_buffers()
        packet: DataPacket | None
        for number, packet in itertools.chain(_within(packets, run), [(run.last, None)]):
            if packet is not None:
                # A new object for each packet: PyAV tells opaque objects apart by identity,
                # which small integers share between packets and threads.
                packet.opaque = [number]
            decoder.skip_frame = "NONREF" if number in optional else "DEFAULT"
            try:
                frames = decoder.decode(packet)
            except MemoryError:
                raise
            except av.error.FFmpegError:
                yield number, None
                continue
            for frame in frames:
                # A decoder that forgets the number is one that gives pictures at once.
                yield (cast("list[int]", frame.opaque)[0] if frame.opaque else number), frame


def _allow_reordering(video: Video, runs: Sequence[_Run]) -> None:
    """Let the decoder hold back as many pictures as their order needs."""
    if video.survey.codec == "h264":
        # The stream need not say it, and a decoder that guesses too little loses pictures.
        depth = _reorder_depth(video.survey.packets, runs)
        video.decoder.reorder_depth = max(video.decoder.reorder_depth, depth)


def _reorder_depth(packets: Sequence[Packet], runs: Sequence[_Run]) -> int:
    """Return how many pictures of a run at most are decoded before one and shown after it."""
    depth = 0
    for run in runs:
        before: list[int] = []
        for pts in map(_pts, packets[run.first : run.last + 1]):
            place = bisect.bisect(before, pts)
            depth = max(depth, len(before) - place)
            before.insert(place, pts)
    return depth


def _within(
    packets: Iterator[tuple[int, DataPacket]], run: _Run
) -> Iterator[tuple[int, DataPacket]]:
    for number, packet in packets:
        if number >= run.first:
            yield number, packet
        if number == run.last:
            return


def _sound_pictures(
    shown: Sequence[int], damaged: Collection[int], packets: Sequence[Packet]
) -> list[int]:
    """Return which of the pictures refer to nothing damaged.

    Decoders hide damage by repeating or greying, and go on as if nothing were wrong until the
    next keyframe.

    Args:
        shown: The packets of the pictures in the order in which they came out.
        damaged: Packets with an error.
        packets: All packets.

    Returns:
        Positions in `shown`, ascending.
    """
    keys = [i for i, packet in enumerate(packets) if packet.key]
    errors = sorted(damaged)
    place = {number: position for position, number in enumerate(shown)}

    def start(number: int) -> int:
        """Return the keyframe from which on the picture of a packet can be decoded."""
        nth = bisect.bisect_right(keys, number) - 1
        while nth >= 0 and place.get(keys[nth], -1) > place[number]:
            nth -= 1
        return keys[nth] if nth >= 0 else 0

    def hurt(number: int) -> bool:
        return bisect.bisect_left(errors, start(number)) < bisect.bisect_right(errors, number)

    return [position for position, number in enumerate(shown) if not hurt(number)]


def seconds(stamps: Sequence[int | None], chosen: Sequence[int], survey: Survey) -> list[float]:
    """Return when some of the pictures are shown, in seconds since the first.

    Args:
        stamps: The time stamps of all pictures, in the order in which they are shown.
        chosen: Positions of the pictures in question.
        survey: Says what the stamps count, or, where they don't ascend, how fast pictures follow.
    """
    known = [pts for pts in stamps if pts is not None]
    if len(known) == len(stamps) and all(map(operator.lt, known, known[1:])):
        return [float((known[i] - known[0]) * survey.time_base) for i in chosen]
    return [i / survey.rate for i in chosen]


def _rgb(
    video: Video, frame: av.VideoFrame, reformatter: VideoReformatter, prepare: Prepare | None
) -> Image:
    try:
        image = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    except MemoryError:
        raise
    except av.error.FFmpegError:
        raise VideoError(
            f"{video.path.name} has colours of a kind that cannot be converted to RGB "
            f"({frame.format.name}, colour space {frame.colorspace}); convert it first"
        ) from None
    shown = _as_shown(np.asarray(image, dtype=np.uint8), frame)
    return shown if prepare is None else prepare(np.ascontiguousarray(shown))


def _as_shown(image: Image, frame: av.VideoFrame) -> Image:
    """Return a picture turned and mirrored as the frame's display matrix says."""
    try:
        # PyAV's own types know of motion vectors alone.
        side_data = cast("Mapping[str, bytes]", frame.side_data)
    except ValueError:
        # PyAV gives none where it doesn't know the kind of one, such as Exif.
        return np.rot90(image, round(frame.rotation / 90))
    if "DISPLAYMATRIX" not in side_data:
        return image
    # x' = right * x + across * y and y' = along * x + down * y; the rest doesn't matter here.
    matrix = np.frombuffer(side_data["DISPLAYMATRIX"], dtype=np.int32)
    right, along, _, across, down = matrix[:5]
    if abs(along) > abs(right):
        image = image.swapaxes(0, 1)
        right, down = across, along
    return image[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]


def _pixel_aspect(video: Video, turned: bool) -> float:
    """Return width over height of a pixel of the frames; the decoder knows what no header says."""
    aspect = video.survey.pixel_aspect or float(video.decoder.sample_aspect_ratio or 1)
    return 1 / aspect if turned else aspect
