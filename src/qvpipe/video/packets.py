"""The packets of a video file: opened, listed, and given again, without any being decoded."""

import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

import av
import av.error
from av.container import InputContainer
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from qvpipe.errors import QvpipeError

DataPacket: TypeAlias = "av.Packet[VideoStream]"

VIDEO_ENDINGS = frozenset(
    [
        *[".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".m1v", ".m2ts"],
        *[".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg"],
        *[".mts", ".mxf", ".ogv", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv"],
    ]
)
"""How the names of video files end, in lower case."""

IMAGE_ENDINGS = frozenset([".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"])
"""How the names of image files end, in lower case."""

DEFAULT_RATE = 25.0
"""Pictures per second of a file that tells nothing of time."""

MAX_PIXELS = 8192 * 8192
"""A picture with more is refused before memory is taken for it. 8K video has half of that."""

NAME_OTHERS = frozenset(
    [
        *["concat", "dash", "hls", "image2", "imf", "lavfi", "rtsp", "sap", "sdp", "vobsub"],
        "webm_dash_manifest",
    ]
)
"""Formats that name other files or addresses, which FFmpeg would open."""

DECODER_OPTIONS = {"max_pixels": str(MAX_PIXELS)}

STRICT = {"err_detect": "bitstream+buffer+explode"}
"""Lets a decoder fail where it would otherwise guess. Sound files that don't keep to the letter of
their standard would suffer, so it is for files that are known to be damaged."""

KEPT_BYTES = 64 * 2**20
"""Packets are kept in memory up to this size in all; a larger file is read again instead."""

PACKET_BYTES = 1024
"""What an empty packet takes in memory, roughly."""

MAX_GAPS = 1000
"""So often is a file read on behind a place that FFmpeg cannot read. In a transport stream, each
attempt goes 64 KB ahead."""

MATROSKA_LENGTH = re.compile(r"(\d{1,6}):(\d\d):(\d\d\.\d+)")
"""Hours, minutes and seconds."""

DECODE_NOTHING = {"skip_frame": "all"}
"""Opens a file without decoding its first pictures, which FFmpeg does to learn what is then
learned from the packets. It takes as long as a tenth of all the work on a short clip."""

ANALYSE_NOTHING = {"analyzeduration": "1"}
"""Opens a file without reading ahead, in microseconds of video. For the MP4 family alone, whose
header names all streams; in a stream without a header, what is read ahead decides which are found
and how time stamps are worked out."""


class VideoError(QvpipeError):
    """A video that cannot be read; the message names it and the reason."""


class Packet(NamedTuple):
    """What a packet tells of its picture."""

    pts: int | None
    key: bool
    shown: bool
    """False for what an edit list cuts away: it is decoded but never shown."""
    sound: bool
    duration: int = 0
    """In the units of `pts`; 0 where the file doesn't tell."""


@dataclass(frozen=True)
class Survey:
    """The packets of a video stream in the order in which they are decoded."""

    packets: Sequence[Packet]
    container: str
    codec: str
    rate: float
    time_base: Fraction
    width: int
    height: int
    pixel_aspect: float
    """Width of a pixel over its height; 0 where the container doesn't tell."""
    missing: int
    """Number of packets that a file which breaks off had promised beyond those there are; about, if
    it promised a length."""

    @cached_property
    def shown(self) -> int:
        """Number of pictures that a player shows."""
        return sum(packet.shown for packet in self.packets)


@dataclass(frozen=True)
class Video:
    """An open video file."""

    path: Path
    stream: VideoStream
    survey: Survey
    kept: Sequence[DataPacket] | None
    """All packets; None if they are too large to be kept."""

    @property
    def decoder(self) -> VideoCodecContext:
        """The decoder of the stream; it uses one thread."""
        return self.stream.codec_context

    def packets(self) -> Iterator[DataPacket]:
        """Yield all packets in the order of the survey."""
        if self.kept is not None:
            yield from self.kept
            return
        # Not by seeking back, which skips what an edit list hides.
        with _open(self.path) as container:
            for packet in _demux(container, _video_stream(container, self.path)):
                if packet is not None:
                    yield packet


def header_length_s(path: Path) -> float:
    """Return how long a video is by its header, in seconds; 0 if that doesn't tell.

    Raises:
        VideoError: If the file holds no video that can be read.
    """
    with _open(path, briefly=True) as container:
        _video_stream(container, path)
        return float((container.duration or 0) / av.time_base)


@contextmanager
def open_video(path: Path, *, briefly: bool = False, strict: bool = False) -> Iterator[Video]:
    """Open a video file and list its packets; no picture is decoded.

    Args:
        path: The file.
        briefly: Whether to believe what the file's header says of the pictures.
        strict: Whether the decoder is to fail wherever something is not as it should be.

    Raises:
        VideoError: If the file holds no video that can be read.
    """
    try:
        with _open(path, briefly) as container:
            stream = _video_stream(container, path)
            if strict:
                stream.codec_context.options = DECODER_OPTIONS | STRICT
            packets, kept = _list(path, container, stream)
            yield Video(path, stream, _survey(path, container, stream, packets), kept)
    except MemoryError:
        raise
    except (ValueError, LookupError, av.error.FFmpegError) as error:
        # What PyAV was not prepared for is to cost one video and not the run.
        raise VideoError(f"{path.name} cannot be read: {error}") from error


def _list(
    path: Path, container: InputContainer, stream: VideoStream
) -> tuple[list[Packet], list[DataPacket] | None]:
    packets: list[Packet] = []
    kept: list[DataPacket] | None = []
    size = 0
    after_gap = False
    for packet in _demux(container, stream):
        if packet is None:
            after_gap = bool(packets)
            continue
        if not packets and packet.has_sidedata("encryption_info"):
            raise VideoError(f"{path.name} is encrypted; decrypt it first")
        # The next packet is often the rest of one that began before the gap.
        sound = not (packet.is_corrupt or after_gap)
        shown = not packet.is_discard
        packets.append(Packet(packet.pts, packet.is_keyframe, shown, sound, packet.duration or 0))
        after_gap = False
        size += packet.size + PACKET_BYTES
        if kept is not None and size <= KEPT_BYTES:
            kept.append(packet)
        else:
            kept = None
    return (_with_doubtful_end(packets) if after_gap else packets), kept


def _survey(
    path: Path, container: InputContainer, stream: VideoStream, packets: Sequence[Packet]
) -> Survey:
    decoder = stream.codec_context
    rate = float(stream.average_rate or stream.guessed_rate or DEFAULT_RATE)
    missing = _missing(container, stream, packets, rate)
    survey = Survey(
        packets=_with_doubtful_end(packets) if missing else packets,
        container=container.format.name,
        codec=decoder.codec.canonical_name,
        rate=rate,
        time_base=cast("Fraction", stream.time_base),
        width=decoder.width,
        height=decoder.height,
        pixel_aspect=float(stream.sample_aspect_ratio or 0),
        missing=missing,
    )
    if not survey.shown:
        raise VideoError(f"{path.name} has a video stream without any picture")
    return survey


def _with_doubtful_end(packets: Sequence[Packet]) -> list[Packet]:
    """Return packets with the last as not sound, as where a file breaks off in the midst of it."""
    return [*packets[:-1], *(last._replace(sound=False) for last in packets[-1:])]


def _missing(
    container: InputContainer, stream: VideoStream, packets: Sequence[Packet], rate: float
) -> int:
    """Return how many packets the header promises beyond those there are."""
    # Of a whole file, an edit list may hide packets that the header counts.
    if not all(packet.sound for packet in packets) and stream.frames:
        return max(0, stream.frames - len(packets))
    # A Matroska file that breaks off ends like a whole one, but says how long its streams are.
    stated = MATROSKA_LENGTH.fullmatch(stream.metadata.get("DURATION", ""))
    if "matroska" not in container.format.name or stated is None:
        return 0
    length = 3600 * int(stated[1]) + 60 * int(stated[2]) + float(stated[3])
    end = max(((p.pts or 0) + p.duration for p in packets), default=0)
    lacking = (length - float(end * cast("Fraction", stream.time_base))) * rate
    return round(lacking) if lacking > 1 else 0


def _open(path: Path, briefly: bool = False) -> InputContainer:
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            kind = "a folder" if stat.S_ISDIR(facts.st_mode) else "a pipe, a socket or a device"
            raise VideoError(f"{path.name} is {kind}, not a video file")
        if facts.st_size == 0:
            raise VideoError(f"{path.name} is empty (0 bytes)")
        options = {**DECODER_OPTIONS, "format_whitelist": _formats()}
        if briefly:
            options |= DECODE_NOTHING | (ANALYSE_NOTHING if _is_mp4(path) else {})
        return av.open(f"file:{path}", metadata_errors="replace", options=options)
    except (av.error.InvalidDataError, av.error.EOFError):
        raise VideoError(f"{path.name} {_what_it_is(path)}") from None
    except av.error.ArgumentError:
        if path.suffix.lower() in IMAGE_ENDINGS:
            raise VideoError(f"{path.name} {_what_it_is(path)}") from None
        raise VideoError(
            f"{path.name} is a playlist, which names other files, or damaged; take the videos "
            "themselves"
        ) from None
    except (OSError, av.error.FFmpegError) as error:
        raise VideoError(f"{path.name} cannot be opened: {error.strerror}") from None


@cache
def _formats() -> str:
    return ",".join(sorted(av.formats_available - NAME_OTHERS))


def _is_mp4(path: Path) -> bool:
    """Say whether a file is of the MP4 family: mp4, mov, m4v, 3gp."""
    with path.open("rb") as file:
        return file.read(8)[4:] == b"ftyp"


def _what_it_is(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(1024)
    if head[4:8] == b"ftyp":
        return "is cut off or damaged: the part that says where its pictures lie is missing"
    if head.isascii() and b"\0" not in head:
        return "is a text file, not a video"
    return "is neither a video nor an image, or its beginning is damaged"


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise VideoError(f"{path.name} has no video stream")
    stream = streams[0]
    if stream.codec_context is None:
        raise VideoError(f"{path.name} is coded in a way that no installed decoder knows")
    stream.codec_context.thread_count = 1
    stream.codec_context.options = DECODER_OPTIONS
    return stream


def _demux(container: InputContainer, stream: VideoStream) -> "Iterator[DataPacket | None]":
    """Yield the packets of a stream, and None for a place that could not be read.

    A file that breaks off ends with its last whole packet.
    """
    for _ in range(MAX_GAPS):
        try:
            yield from (packet for packet in container.demux(stream) if packet.size)
        except MemoryError:
            raise
        except (OSError, av.error.FFmpegError):
            yield None
        else:
            return
