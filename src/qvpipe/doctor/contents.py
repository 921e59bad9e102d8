"""What bytes are, by their content: a video, the label file, an archive that holds either."""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from qvpipe.video.measure import content_hash
from qvpipe.video.reader import ENDINGS

Bytes = IO[bytes]

HEAD = 1024
"""Bytes at the beginning of a file that tell its kind."""

LARGEST_LABELS = 64 * 2**20
"""Bytes above which a file is not read as a label file."""

STARTS: Mapping[bytes, str] = {
    b"\x1aE\xdf\xa3": "a Matroska or WebM video",
    b"FLV\x01": "an FLV video",
    b"0&\xb2u\x8ef\xcf\x11": "a Windows Media video",
    b"OggS": "an Ogg video",
    b".RMF": "a RealMedia video",
    b"YUV4MPEG2": "a raw YUV video",
    b"\x00\x00\x01\xba": "an MPEG video",
    b"\x00\x00\x01\xb3": "an MPEG video",
}
QUICKTIME = frozenset([b"ftyp", b"moov", b"mdat", b"wide", b"pnot"])
PICTURES = frozenset([b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1", b"M4A "])
"""Kinds of MP4 file without a video: pictures and sound."""
PACKETS = ((0, 188), (4, 192))
"""Where the first packet of an MPEG transport stream begins, and how long each is."""

ZIP = b"PK\x03\x04"
COMPRESSED: Mapping[bytes, Callable[[Bytes], Any]] = {
    b"\x1f\x8b\x08": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
CLOSED: Mapping[bytes, str] = {
    b"7z\xbc\xaf'\x1c": "7z",
    b"Rar!\x1a\x07": "RAR",
    b"(\xb5/\xfd": "Zstandard",
}
"""Archives that are not looked into, and so are not let through."""

UNREADABLE = (
    # RuntimeError is what `zipfile` raises for an encrypted member.
    *(EOFError, OSError, RuntimeError, lzma.LZMAError, tarfile.TarError),
    *(zipfile.BadZipFile, zlib.error),
)


@dataclass(frozen=True)
class Raw:
    """What must not leave this machine, as far as it lies here."""

    by_size: Mapping[int, Sequence[Path]] = field(default_factory=dict)
    """The raw videos and the label file by their size in bytes."""

    def find(self, file: Bytes, size: int) -> Path | None:
        """Return the raw file with the same bytes as an open file of this size."""
        if size not in self.by_size:
            return None
        digest = hashlib.blake2b(digest_size=16)
        file.seek(0)
        while block := file.read(2**20):
            digest.update(block)
        same = (p for p in self.by_size[size] if content_hash(p) == digest.hexdigest())
        return next(same, None)


def recognise(file: Bytes, size: int, raw: Raw) -> str:
    """Say what may not leave in an open file; empty if there is nothing.

    Archives are looked into one level deep: an archive inside an archive is not, nor is a video
    inside a document, such as an HTML page.

    Args:
        file: Can be read and sought.
        size: Its size in bytes.
        raw: The raw files to compare it with.
    """
    if found := _plain(file, size, raw):
        return found
    file.seek(0)
    head = file.read(HEAD)
    if kind := _starting(head, CLOSED):
        return f"a {kind} archive, which is not looked into"
    try:
        for name, inner, inner_size in _members(file, head):
            if found := _plain(inner, inner_size, raw):
                # A name may hold what would move a terminal's cursor.
                shown = name if name.isprintable() else ascii(name)
                return f"an archive with {found}" + (f" ({shown})" if name else "")
    except UNREADABLE as error:
        return f"an archive that cannot be looked into ({error})"
    return ""


def is_label_file(text: bytes) -> bool:
    """Say whether a text is a JSON object of names of videos with lists of class indices."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(tree, dict)
        and len(tree) > 0
        and all(Path(name).suffix.lower() in ENDINGS for name in tree)
        and all(isinstance(v, list) and all(type(i) is int for i in v) for v in tree.values())
    )


def video_kind(head: bytes) -> str:
    """Return what kind of video begins with these bytes; empty if none does."""
    found: str = _starting(head, STARTS)
    if found:
        return found
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "an AVI video"
    if head[4:8] in QUICKTIME and head[8:12] not in PICTURES:
        return "an MP4 or QuickTime video"
    for start, length in PACKETS:
        syncs = head[start : start + 4 * length + 1 : length]
        if len(syncs) == 5 and set(syncs) == {0x47}:
            return "an MPEG transport stream"
    return ""


def _plain(file: Bytes, size: int, raw: Raw) -> str:
    """Say what may not leave in a file that is taken as it is."""
    if same := raw.find(file, size):
        return f"the raw file {same.name}"
    file.seek(0)
    head = file.read(HEAD)
    if kind := video_kind(head):
        return kind
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" and size <= LARGEST_LABELS:
        file.seek(0)
        if is_label_file(file.read()):
            return "a label file"
    return ""


def _members(file: Bytes, head: bytes) -> Iterator[tuple[str, Bytes, int]]:
    """Give what lies in an archive: name, content and size of each file."""
    file.seek(0)
    if head.startswith(ZIP):
        yield from _zip_members(file)
    elif unpack := _starting(head, COMPRESSED):
        with unpack(file) as inner:
            yield "", inner, inner.seek(0, io.SEEK_END)
            inner.seek(0)
            is_tar = _is_tar(inner.read(HEAD))
            inner.seek(0)
            if is_tar:
                yield from _tar_members(inner)
    elif _is_tar(head):
        yield from _tar_members(file)


def _zip_members(file: Bytes) -> Iterator[tuple[str, Bytes, int]]:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                with archive.open(member) as inner:
                    yield member.filename, inner, member.file_size


def _tar_members(file: Bytes) -> Iterator[tuple[str, Bytes, int]]:
    with tarfile.open(fileobj=file) as archive:
        for member in archive:
            inner = archive.extractfile(member)
            if inner is not None:
                with inner:
                    yield member.name, inner, member.size


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _starting(head: bytes, kinds: Mapping[bytes, Any]) -> Any:  # noqa: ANN401
    return next((kinds[start] for start in kinds if head.startswith(start)), "")
