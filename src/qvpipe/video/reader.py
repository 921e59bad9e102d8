"""Evenly spaced frames of a video, pixel for pixel those of a full sequential decode.

The packets of a file are listed first, which costs next to nothing. Where the list tells beyond
doubt which packet holds which picture, only what the wanted pictures refer to is decoded: from
the keyframe before each of them, without the pictures between that nothing refers to. Otherwise,
or as soon as anything looks odd on the way, the whole file is decoded in order. Neither way seeks,
so neither needs an index in the file, and neither holds more of it in memory than it returns.
"""

import bisect
import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias, cast

import av
import av.error
import cv2
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from qvpipe.errors import QvpipeError

Image = npt.NDArray[np.uint8]
"""A picture, [height, width, 3], RGB."""

Packet: TypeAlias = "av.Packet[VideoStream]"

ONE_PICTURE_PER_PACKET = frozenset(
    ["h264", "hevc", "vp9", "av1", "mpeg1video", "mpeg2video", "mjpeg", "prores", "ffv1"]
)
"""Codecs of which every packet of a sound file becomes exactly one picture. In MPEG-4 part 2 a
packet may hold two pictures or none, in VP8 one that is never shown."""

TELLS_TIMES = frozenset(["mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts", "mpeg", "flv"])
"""Containers that store when a picture is shown. AVI doesn't, and what FFmpeg puts there instead
can be wrong without looking so."""

SKIPPABLE = frozenset(["h264"])
"""Codecs that mark pictures to which nothing refers beyond doubt. In HEVC the mark speaks of a
picture's own temporal layer only."""

DELIMITED = frozenset(["mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flv"])
"""Containers that store where a packet ends. In the others a damaged beginning makes a packet
part of the one before, which only decoding that one reveals."""

ENDINGS = frozenset(
    [
        *[".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov"],
        *[".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".vob", ".webm", ".wmv"],
    ]
)
"""How the names of video files end, in lower case."""

DEFAULT_RATE = 25.0
"""Pictures per second of a file that tells nothing of time."""


class VideoError(QvpipeError):
    """A video that cannot be read; the message names it and the reason."""


@dataclass(frozen=True)
class Sample:
    """Frames taken from a video, evenly spaced, in order of time."""

    frames: Image
    """uint8 [count, height, width, 3], RGB as a player shows them, rotation applied."""
    indices: npt.NDArray[np.int64]
    """[count], which picture of the video each is, from 0."""
    times: npt.NDArray[np.float64]
    """[count], seconds since the first picture."""
    pictures: int
    """Number of pictures of the video that can be read."""
    note: str = ""
    """What is wrong with a video that could be read in part; empty for a sound one."""


@dataclass(frozen=True)
class Probe:
    """What a video's packets tell without decoding any."""

    frames: int
    fps: float
    duration_s: float
    width: int
    height: int
    codec: str


@dataclass(frozen=True)
class _Packet:
    pts: int | None
    key: bool
    shown: bool
    """False for what an edit list cuts away: it is decoded but never shown."""
    sound: bool


@dataclass(frozen=True)
class _Survey:
    """The packets of a video stream in the order in which they are decoded."""

    packets: Sequence[_Packet]
    container: str
    codec: str
    rate: float
    time_base: Fraction
    width: int
    height: int
    missing: int
    """Number of packets that a file which breaks off had promised beyond those there are."""

    @property
    def shown(self) -> int:
        return sum(packet.shown for packet in self.packets)


@dataclass(frozen=True)
class _Run:
    """Packets `first` to `last` are decoded without a break; `first` is a keyframe."""

    first: int
    last: int


def positions(pictures: int, count: int) -> list[int]:
    """Return the indices of `count` pictures in the middles of equal parts of a video."""
    return [(2 * i + 1) * pictures // (2 * count) for i in range(count)]


def probe(path: Path) -> Probe:
    """Count and measure a video from its packets; no picture is decoded.

    Raises:
        VideoError: If the file holds no video that can be read.
    """
    survey = _survey(path)
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
    )


def sample_frames(path: Path, count: int) -> Sample:
    """Return `count` frames of a video, each from the middle of an equal part of it.

    Position i is picture (2 i + 1) n // (2 count) of the n pictures in the order in which a
    player shows them, so a video with fewer pictures than `count` has some of them repeatedly.
    Of a damaged file the pictures that decode without error are counted and no others.

    Args:
        path: The video.
        count: How many frames, 1 or more.

    Raises:
        VideoError: If no picture can be read.
    """
    survey = _survey(path)
    return _sample_where_needed(path, survey, count) or _sample_in_full(path, survey, count)


def _sample_where_needed(path: Path, survey: _Survey, count: int) -> Sample | None:
    """Decode only what the wanted pictures need; None where that isn't safe."""
    if not _is_plain(survey):
        return None
    packets = survey.packets
    order = sorted(
        (i for i, packet in enumerate(packets) if packet.shown), key=lambda i: _pts(packets[i])
    )
    indices = positions(len(order), count)
    wanted = {order[index] for index in indices}
    runs = _runs(packets, wanted)
    found: dict[int, Image] = {}
    for number, frame in _decode(path, runs, _optional(survey) - wanted):
        if frame is None:
            return None
        if frame.is_corrupt and not _leads(packets, runs, number):
            return None
        if number in wanted:
            if frame.pts != packets[number].pts:
                return None
            found[number] = _rgb(frame)
    if found.keys() != wanted:
        return None
    start = _pts(packets[order[0]])
    seconds = [float((_pts(packets[order[i]]) - start) * survey.time_base) for i in indices]
    images = [found[order[index]] for index in indices]
    return _sample(images, indices, seconds, len(order), len(order) + survey.missing)


def _sample_in_full(path: Path, survey: _Survey, count: int) -> Sample:
    """Decode everything in order; again only if the packets promised other pictures."""
    convert: Collection[int] = set(positions(survey.shown, count))
    while True:
        images: dict[int, Image] = {}
        shown: list[int] = []
        stamps: list[int | None] = []
        damaged = {i for i, packet in enumerate(survey.packets) if not packet.sound}
        everything = [_Run(0, len(survey.packets) - 1)]
        for number, frame in _decode(path, everything, set()):
            if frame is None or frame.is_corrupt:
                damaged.add(number)
            if frame is None:
                continue
            if len(shown) in convert:
                images[len(shown)] = _rgb(frame)
            shown.append(number)
            stamps.append(frame.pts)
        sound = _sound_pictures(shown, damaged, survey.packets)
        if not sound:
            raise VideoError(f"{path.name} holds no picture that can be decoded without errors")
        indices = positions(len(sound), count)
        chosen = [sound[index] for index in indices]
        if images.keys() >= set(chosen):
            break
        convert = set(chosen)
    seconds = _seconds(stamps, survey)
    promised = survey.missing + max(len(shown), survey.shown if damaged else 0)
    return _sample(
        [images[i] for i in chosen], indices, [seconds[i] for i in chosen], len(sound), promised
    )


def _sample(
    images: Sequence[Image],
    indices: Sequence[int],
    seconds: Sequence[float],
    pictures: int,
    promised: int,
) -> Sample:
    height, width = images[0].shape[:2]
    return Sample(
        # A stream may change its size on the way; players keep their window.
        frames=np.stack(
            [
                image if image.shape[:2] == (height, width) else cv2.resize(image, (width, height))
                for image in images
            ]
        ),
        indices=np.array(indices, dtype=np.int64),
        times=np.array(seconds, dtype=np.float64),
        pictures=pictures,
        note=f"only {pictures} of {promised} pictures can be read" if pictures < promised else "",
    )


def _is_plain(survey: _Survey) -> bool:
    """Say whether the packets alone tell which of them holds which picture."""
    stamps = [packet.pts for packet in survey.packets]
    known = [pts for pts in stamps if pts is not None]
    return (
        survey.codec in ONE_PICTURE_PER_PACKET
        and survey.container in TELLS_TIMES
        and all(packet.sound for packet in survey.packets)
        and len(set(known)) == len(stamps)
        and survey.packets[0].key
        # Pictures before the first keyframe refer to what isn't there, and decoders drop them.
        and stamps[0] == min(known)
    )


def _pts(packet: _Packet) -> int:
    return cast("int", packet.pts)


def _runs(packets: Sequence[_Packet], wanted: Collection[int]) -> list[_Run]:
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


def _optional(survey: _Survey) -> set[int]:
    """Return packets whose pictures may be left out if nothing refers to them.

    Only those that are shown before one that precedes them in the file: among the others, a mark
    that nothing refers to them is more likely to be damage.
    """
    if survey.codec not in SKIPPABLE or survey.container not in DELIMITED:
        return set()
    latest = itertools.accumulate((_pts(packet) for packet in survey.packets), max)
    return {
        number
        for number, (packet, most) in enumerate(zip(survey.packets, latest, strict=True))
        if _pts(packet) < most
    }


def _leads(packets: Sequence[_Packet], runs: Sequence[_Run], number: int) -> bool:
    """Say whether a picture is shown before the keyframe at which its run starts."""
    run = runs[bisect.bisect_right(runs, number, key=lambda run: run.first) - 1]
    return _pts(packets[number]) < _pts(packets[run.first])


def _decode(
    path: Path, runs: Sequence[_Run], optional: Collection[int]
) -> Iterator[tuple[int, av.VideoFrame | None]]:
    """Decode runs of packets and yield each picture with its packet's number.

    Args:
        path: The video.
        runs: Which packets, ascending.
        optional: Packets that are left out if no picture refers to theirs.

    Yields:
        The number of a packet and its picture, or None for a packet that cannot be decoded.
    """
    with _open(path) as container:
        stream = _video_stream(container, path)
        decoder = stream.codec_context
        decoder.thread_count = 1
        decoder.copy_opaque = True
        packets = enumerate(_demux(container, stream))
        for nth, run in enumerate(runs):
            if nth:
                decoder.flush_buffers()
            packet: Packet | None
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


def _within(packets: Iterator[tuple[int, Packet]], run: _Run) -> Iterator[tuple[int, Packet]]:
    for number, packet in packets:
        if number >= run.first:
            yield number, packet
        if number == run.last:
            return


def _sound_pictures(
    shown: Sequence[int], damaged: Collection[int], packets: Sequence[_Packet]
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


def _seconds(stamps: Sequence[int | None], survey: _Survey) -> list[float]:
    """Return when each picture is shown, in seconds since the first."""
    known = [pts for pts in stamps if pts is not None]
    if len(known) == len(stamps) and all(a < b for a, b in itertools.pairwise(known)):
        return [float((pts - known[0]) * survey.time_base) for pts in known]
    return [position / survey.rate for position in range(len(stamps))]


def _rgb(frame: av.VideoFrame) -> Image:
    image = frame.to_ndarray(format="rgb24", threads=1)
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)), dtype=np.uint8)


def _survey(path: Path) -> _Survey:
    with _open(path) as container:
        stream = _video_stream(container, path)
        packets = [
            _Packet(
                pts=packet.pts,
                key=packet.is_keyframe,
                shown=not packet.is_discard,
                sound=not packet.is_corrupt,
            )
            for packet in _demux(container, stream)
        ]
        rate = stream.average_rate or stream.guessed_rate
        survey = _Survey(
            packets=packets,
            container=container.format.name,
            codec=stream.codec_context.codec.canonical_name,
            rate=float(rate) if rate else DEFAULT_RATE,
            time_base=cast("Fraction", stream.time_base),
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            # Of a whole file, an edit list may hide packets that the header counts.
            missing=0 if all(p.sound for p in packets) else max(0, stream.frames - len(packets)),
        )
    if not survey.shown:
        raise VideoError(f"{path.name} has a video stream without any picture")
    return survey


def _open(path: Path) -> InputContainer:
    try:
        if path.stat().st_size == 0:
            raise VideoError(f"{path.name} is empty (0 bytes)")
        return av.open(path, metadata_errors="replace")
    except (av.error.InvalidDataError, av.error.EOFError):
        raise VideoError(f"{path.name} {_what_it_is(path)}") from None
    except (OSError, av.error.FFmpegError) as error:
        raise VideoError(f"{path.name} cannot be opened: {error.strerror}") from None


def _what_it_is(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(1024)
    if head[4:8] == b"ftyp":
        return "is cut off or damaged: the part that says where its pictures lie is missing"
    if head.isascii() and b"\0" not in head:
        return "is a text file, not a video"
    return "is not a video, or its beginning is damaged"


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise VideoError(f"{path.name} has no video stream")
    if streams[0].codec_context is None:
        raise VideoError(f"{path.name} is coded in a way that no installed decoder knows")
    return streams[0]


def _demux(container: InputContainer, stream: VideoStream) -> Iterator[Packet]:
    """Yield the packets of a stream; a file that breaks off ends with its last whole packet."""
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except MemoryError:
        raise
    except (OSError, av.error.FFmpegError):
        return
