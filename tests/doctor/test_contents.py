import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from qvpipe.config import FramesSettings
from qvpipe.doctor.contents import Raw, recognise
from qvpipe.video.reader import sample_frames
from qvpipe.video.store import pack
from tests.conftest import RenderClip

LABELS = json.dumps({"d1.mp4": [1, 14], "d2.mp4": [0]}).encode()


def what(content: bytes, raw: Raw | None = None) -> str:
    return recognise(io.BytesIO(content), len(content), raw or Raw())


def zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(members: Mapping[str, bytes], mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("ending", "codec", "kind"),
    [
        ("mp4", "libx264", "an MP4 or QuickTime video"),
        ("mov", "libx264", "an MP4 or QuickTime video"),
        ("mkv", "libx264", "a Matroska or WebM video"),
        ("avi", "mpeg4", "an AVI video"),
        ("flv", "flv", "an FLV video"),
        ("ts", "libx264", "an MPEG transport stream"),
        ("m2ts", "libx264", "an MPEG transport stream"),
        ("mpg", "mpeg2video", "an MPEG video"),
        ("wmv", "wmv2", "a Windows Media video"),
    ],
)
def test_a_video_is_known_by_its_first_bytes(
    ending: str, codec: str, kind: str, tmp_path: Path, render_clip: RenderClip
) -> None:
    clip = render_clip(tmp_path / f"clip.{ending}", codec=codec, frames=30)
    assert what(clip.read_bytes()) == kind


@pytest.mark.parametrize(
    ("name", "pack_up"),
    [
        ("zip", lambda content: zipped({"readme": b"x", "deep/notes.bin": content})),
        ("tar", lambda content: tarred({"notes.bin": content}, "w")),
        ("tar.gz", lambda content: tarred({"notes.bin": content}, "w:gz")),
        ("tar.bz2", lambda content: tarred({"notes.bin": content}, "w:bz2")),
        ("gz", gzip.compress),
        ("xz", lzma.compress),
    ],
)
def test_archives_are_looked_into(
    name: str, pack_up: Callable[[bytes], bytes], tmp_path: Path, render_clip: RenderClip
) -> None:
    clip = render_clip(tmp_path / "clip.mp4", frames=5).read_bytes()
    assert what(pack_up(clip)).startswith("an archive with an MP4 or QuickTime video")
    assert what(pack_up(LABELS)).startswith("an archive with a label file")
    assert what(pack_up(b"nothing of the kind")) == ""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (LABELS, "a label file"),
        (b"\xef\xbb\xbf\n" + LABELS, "a label file"),
        (b'{"d1.mp4": [0.5, 0.1]}', ""),
        (b'{"d1.mp4": {"labels": [1]}}', ""),
        (b'{"map": [1]}', ""),
        (b"{}", ""),
        (b'{"d1.mp4": [1', ""),
    ],
)
def test_a_label_file_is_known_by_its_form(text: bytes, found: str) -> None:
    assert what(text) == found


def test_a_raw_file_is_known_by_its_bytes_whatever_they_are(tmp_path: Path) -> None:
    original = tmp_path / "d7.mp4"
    original.write_bytes(b"a format that nobody knows")
    raw = Raw({original.stat().st_size: [original]})
    assert what(original.read_bytes(), raw) == "the raw file d7.mp4"
    assert what(b"A format that nobody knows", raw) == ""
    assert what(zipped({"x": original.read_bytes()}), raw) == (
        "an archive with the raw file d7.mp4 (x)"
    )


@pytest.mark.parametrize("name", ["../../outside.bin", "/outside.bin", "a/../../outside.bin"])
def test_nothing_of_an_archive_is_written_wherever_its_members_point(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "a" / "b"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    for packed in (zipped({name: LABELS}), tarred({name: LABELS}, "w:gz")):
        assert what(packed) == f"an archive with a label file ({name})"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not Path("/outside.bin").exists()


def test_a_member_cannot_write_to_the_terminal() -> None:
    assert what(zipped({"\x1b[2J.json": LABELS})) == (
        "an archive with a label file ('\\x1b[2J.json')"
    )


def test_what_cannot_be_opened_is_not_let_through() -> None:
    good = zipped({"a.txt": b"text " * 100})
    assert "cannot be looked into" in what(good[: len(good) // 2])
    encrypted = bytearray(good)
    for signature, flag in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[good.index(signature) + flag] |= 1
    assert "is encrypted" in what(bytes(encrypted))
    assert what(b"7z\xbc\xaf'\x1c rest") == "a 7z archive, which is not looked into"


def test_what_the_pipeline_makes_is_free_to_go(tmp_path: Path, render_clip: RenderClip) -> None:
    clip = render_clip(tmp_path / "clip.mp4", frames=12)
    assert what(pack(sample_frames(clip, 3), FramesSettings(), content="")) == ""
    picture = np.zeros((8, 8, 3), np.uint8)
    for ending in (".jpg", ".png", ".webp"):
        assert what(cv2.imencode(ending, picture)[1].tobytes()) == ""
    assert what(b"") == ""
    assert what(b"\x00\x00\x00\x1cftypavif" + bytes(50)) == ""
