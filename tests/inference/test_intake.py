from pathlib import Path

import av
import pytest

from qvpipe.inference.intake import ALLOWED_FOLDER, SERVED, check_length, permitted, see
from qvpipe.video.reader import VideoError
from tests.conftest import RenderClip
from tests.inference.conftest import SETTINGS


def refused(video: Path | str) -> str:
    """Return why a video is refused; it is refused with one sentence and nothing is raised."""
    seen = see(str(video), SETTINGS, SETTINGS.members)
    assert isinstance(seen, VideoError)
    assert "\n" not in str(seen)
    return str(seen)


def test_a_sound_video_is_seen_by_every_member(videos: Path) -> None:
    seen = see(str(videos / "0.mp4"), SETTINGS, SETTINGS.members)
    assert isinstance(seen, dict)
    assert seen["still"].shape == (2, 64, 64, 3)
    assert seen["grid"].shape == (1, 96, 96, 3)


@pytest.mark.parametrize("name", ["a\nb.mp4", "a\0b.mp4", "\x1b[2J.mp4", "a\u202eb.mp4"])
def test_a_name_that_cannot_be_shown_is_refused(tmp_path: Path, name: str) -> None:
    assert "holds characters that cannot be shown; rename the file" in refused(tmp_path / name)


@pytest.mark.parametrize("name", ["concat:0.mp4|1.mp4", "http://127.0.0.1/0.mp4", "-rf", "~"])
def test_a_name_is_only_ever_a_name(
    videos: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(videos)
    assert "No such file" in refused(name)


def test_a_file_named_like_a_protocol_is_that_file(
    render_clip: RenderClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    render_clip(tmp_path / "clip.mp4", codec="mpeg4", frames=9).rename("concat:clip.mp4")
    assert isinstance(see("concat:clip.mp4", SETTINGS, SETTINGS.members), dict)


def test_a_playlist_cannot_name_other_files(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "other.mp4").write_bytes((videos / "0.mp4").read_bytes())
    playlist = tmp_path / "list.mp4"
    playlist.write_text("ffconcat version 1.0\nfile 'other.mp4'\n")
    with av.open(playlist) as container:
        assert container.format.name == "concat"
    assert refused(playlist).startswith("list.mp4 is a playlist, which names other files")


@pytest.mark.parametrize(("width", "height"), [(16_000, 12_000), (50_000, 50_000)])
def test_a_header_of_gigantic_pictures_is_refused(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "huge.avi").write_bytes(b"RIFF\xff\xff\xff\x7fAVI " + avi_lists(width, height))
    why = "huge.avi holds no picture that says its size and has no more than 67108864 pixels"
    assert refused(tmp_path / "huge.avi").startswith(why)


def avi_lists(width: int, height: int) -> bytes:
    """Return the lists of an AVI that promises uncompressed pictures of a size, and one packet."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return name + len(content).to_bytes(4, "little") + content

    def numbers(*values: int) -> bytes:
        return b"".join(value.to_bytes(4, "little") for value in values)

    main = chunk(b"avih", numbers(40_000, 0, 0, 0x10, 1, 0, 1, 0, width, height, 0, 0, 0, 0))
    stream = chunk(b"strh", b"vidsMJPG" + numbers(0, 0, 0, 1, 25, 0, 1, 0, 0, 0, 0, 0))
    size = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    format_ = chunk(b"strf", numbers(40) + size + b"\1\0\x18\0MJPG" + numbers(0, 0, 0, 0, 0))
    lists = chunk(b"LIST", b"hdrl" + main + chunk(b"LIST", b"strl" + stream + format_))
    return lists + chunk(b"LIST", b"movi" + chunk(b"00dc", b"\0" * 16))


def test_a_file_of_ten_hours_is_refused(tmp_path: Path, render_clip: RenderClip) -> None:
    path = tmp_path / "long.mkv"
    stamps = [0, 1000, 10 * 3600 * 1000]
    render_clip(path, codec="mpeg4", frames=3, stamps=stamps)
    assert "is 10.0 hours long; the longest that is read is 4 hours" in refused(path)


def test_only_paths_in_the_allowed_folder_are_read(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ALLOWED_FOLDER, str(videos))
    assert permitted(str(videos / "0.mp4")) == videos / "0.mp4"
    link = videos / "link.mp4"
    link.symlink_to("/etc/passwd")
    try:
        for path in ("/etc/passwd", f"{videos}/../x.mp4", f"{videos}2/0.mp4", str(link)):
            with pytest.raises(VideoError, match="lies outside the folder that may be read"):
                permitted(path)
    finally:
        link.unlink()


def test_a_server_reads_no_path_unless_it_was_given_a_folder(
    videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SERVED, "true")
    with pytest.raises(VideoError, match="this server reads no paths; send the video's bytes"):
        permitted(str(videos / "0.mp4"))
    monkeypatch.setenv(ALLOWED_FOLDER, str(videos))
    assert permitted(str(videos / "0.mp4")) == videos / "0.mp4"


def test_the_header_of_a_sound_file_passes(videos: Path) -> None:
    check_length(videos / "0.mp4")
