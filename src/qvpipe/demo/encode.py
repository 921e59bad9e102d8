"""Writing of video files, byte for byte the same on every run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import cv2
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.stream import VideoStream

from qvpipe.demo.noise import Picture


@dataclass(frozen=True)
class Format:
    """How a file is encoded.

    Attributes:
        ending: Ending of the file name, without the dot.
        container: Name of the muxer.
        codec: Name of the encoder.
        pixels: Pixel format, yuv420p or its full-range twin.
        options: Settings of the encoder.
        bit_rate: Bits per second, or None where the quality is set by an option.
    """

    ending: str
    container: str
    codec: str
    pixels: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=dict)
    bit_rate: int | None = None


FORMATS = (
    Format(
        "mp4",
        "mp4",
        "libx264",
        options={
            "preset": "superfast",
            "crf": "26",
            "g": "75",
            "bf": "2",
            "x264-params": "aq-mode=0:rc-lookahead=5:weightp=0:b-adapt=0:me=dia:subme=0",
        },
    ),
    Format("avi", "avi", "mpeg4", options={"bf": "1", "g": "50"}, bit_rate=900_000),
    Format("mpeg", "mpeg", "mpeg2video", options={"bf": "2", "g": "15"}, bit_rate=1_800_000),
    Format(
        "mkv",
        "matroska",
        "libx265",
        options={
            "preset": "ultrafast",
            "crf": "27",
            "x265-params": "pools=none:frame-threads=1:log-level=none:bframes=3:keyint=60",
        },
    ),
    Format("avi", "avi", "mjpeg", pixels="yuvj420p", bit_rate=4_000_000),
    Format("mov", "mov", "libx264", options={"preset": "superfast", "crf": "25", "g": "250"}),
)
"""The formats of the demo; the first is by far the most frequent one."""


def write_video(path: Path, pictures: Iterable[Picture], file_format: Format, fps: int) -> None:
    """Encode pictures into a file.

    Args:
        path: The file, overwritten if it exists; its ending doesn't matter.
        pictures: BGR pictures of one even size; at least one.
        file_format: Container and codec.
        fps: Pictures per second.
    """
    remaining = iter(pictures)
    first = next(remaining)
    # Without this some muxers write the version of the library or a random id.
    exact = {"fflags": "+bitexact"}
    with av.open(
        str(path), "w", format=file_format.container, container_options=exact
    ) as container:
        stream = _add_stream(container, first, file_format, fps)
        for number, picture in enumerate(chain([first], remaining)):
            planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420).astype(np.uint8, copy=False)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            if file_format.pixels != "yuv420p":
                frame = frame.reformat(format=file_format.pixels)
            frame.pts = number
            frame.time_base = Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _add_stream(
    container: OutputContainer, picture: Picture, file_format: Format, fps: int
) -> VideoStream:
    stream = container.add_stream(file_format.codec, rate=fps, options=dict(file_format.options))
    assert isinstance(stream, VideoStream)
    stream.height, stream.width = picture.shape[:2]
    stream.pix_fmt = file_format.pixels
    # With several threads the bytes would depend on the machine.
    stream.thread_count = 1
    stream.codec_context.flags |= Flags.bitexact
    if file_format.bit_rate is not None:
        stream.bit_rate = file_format.bit_rate
    return stream
