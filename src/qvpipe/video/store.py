"""The stored frames of one video: a zip of JPEGs that says itself what it was made from.

The name of a frame in the zip tells all that is measured of it, so judging opens no picture.
"""

import io
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from qvpipe.config import FramesSettings
from qvpipe.video.images import Image, decode_jpeg, encode_jpeg, shrink
from qvpipe.video.quality import Facts, facts
from qvpipe.video.reader import Sample, VideoError

VERSION = 4
"""Raise it whenever the same video and settings would give other frames than before."""

MEMBER = re.compile(
    r"\d+_index(\d+)_time(\d+\.\d+)_sharpness(\d+\.?\d*(?:e[+-]\d+)?)_phash([\da-f]{16})\.jpg"
)
EPOCH = (1980, 1, 1, 0, 0, 0)

UNREADABLE = (OSError, zipfile.BadZipFile, VideoError, ValueError, RuntimeError)
"""What a zip of frames that is damaged, or made by somebody else, raises: frames of several sizes
are a `ValueError`, a password is a `RuntimeError`."""


@dataclass(frozen=True)
class Origin:
    """What the frames in a zip were made from."""

    content: str
    """Hash of the video's bytes."""
    settings: FramesSettings
    pictures: int
    """Number of pictures of the video that can be read."""
    note: str
    """What was wrong with the video; empty for a sound one."""
    version: int = VERSION


@dataclass(frozen=True)
class StoredFrames:
    """Frames of a video as they were stored, in order of time."""

    frames: Image
    """uint8 [count, height, width, 3], RGB."""
    facts: Sequence[Facts]
    """What was measured of each."""


def pack(sample: Sample, settings: FramesSettings, content: str) -> bytes:
    """Return the bytes of the zip that stores a video's frames.

    Args:
        sample: The frames.
        settings: How they are stored.
        content: Hash of the video's bytes.

    Returns:
        The same bytes for the same arguments, whenever and wherever it is called.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for position, picture in enumerate(sample.frames):
            frame = shrink(picture, settings.size)
            measured = facts(frame, sample.indices[position], sample.times[position])
            member = zipfile.ZipInfo(_name(position, measured), date_time=EPOCH)
            member.create_system = 3  # Python writes another value on Windows.
            member.external_attr = 0o644 << 16
            archive.writestr(member, encode_jpeg(frame, settings.quality))
        origin = asdict(Origin(content, settings, sample.pictures, sample.note))
        del origin["settings"]["timeout_s"]  # It changes no frame.
        archive.comment = json.dumps(origin, sort_keys=True).encode()
    return buffer.getvalue()


def unpack(source: Path | bytes, positions: Sequence[int] | None = None) -> StoredFrames:
    """Read stored frames.

    Args:
        source: The zip, as a file or as its bytes.
        positions: Which of the frames, in the order wanted; None for all.

    Raises:
        VideoError: If the zip is missing or damaged.
    """
    try:
        with zipfile.ZipFile(
            io.BytesIO(source) if isinstance(source, bytes) else source
        ) as archive:
            members = _members(archive)
            chosen = members if positions is None else [members[i] for i in positions]
            frames = np.stack([decode_jpeg(archive.read(name)) for name, _ in chosen])
    except UNREADABLE as error:
        raise _unreadable(source, error) from None
    return StoredFrames(frames, [measured for _, measured in chosen])


def read_facts(path: Path) -> list[Facts]:
    """Return what was measured of the frames in a zip, in order of time; opens no picture.

    Raises:
        VideoError: If the zip is missing or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return [measured for _, measured in _members(archive)]
    except UNREADABLE as error:
        raise _unreadable(path, error) from None


def read_origin(path: Path) -> Origin | None:
    """Return what a zip of frames was made from; None if there is no such zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            fields = json.loads(archive.comment)
        return Origin(**{**fields, "settings": FramesSettings(**fields["settings"])})
    except (OSError, zipfile.BadZipFile, ValueError, TypeError, KeyError):
        return None


def _name(position: int, frame: Facts) -> str:
    return (
        f"{position:05d}_index{frame.index:06d}_time{frame.time_s:08.3f}"
        f"_sharpness{frame.sharpness:.4g}_phash{frame.phash}.jpg"
    )


def _members(archive: zipfile.ZipFile) -> list[tuple[str, Facts]]:
    """Return name and facts of the frames in a zip, in order of time; nothing else may be there."""
    members = sorted(archive.infolist(), key=lambda member: member.filename)
    return [(member.filename, _facts(member)) for member in members]


def _facts(member: zipfile.ZipInfo) -> Facts:
    match = MEMBER.fullmatch(member.filename)
    # What is only stored is no larger than the zip; what is compressed could fill the memory.
    if match is None or member.compress_type != zipfile.ZIP_STORED:
        raise VideoError(f"{member.filename!r} is no stored frame")
    return Facts(int(match[1]), float(match[2]), float(match[3]), match[4])


def _unreadable(source: Path | bytes, error: Exception) -> VideoError:
    name = "a zip of frames" if isinstance(source, bytes) else str(source)
    return VideoError(f"{name} cannot be read ({error}); remove it, and `dvc repro` makes it again")
