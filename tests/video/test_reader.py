import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from qvpipe.video import reader
from qvpipe.video.packets import Packet, open_video
from qvpipe.video.reader import Sample, VideoError, probe, sample_frames
from tests.conftest import REAL_CLIPS
from tests.video.reference import decode_all

X265 = "log-level=none:keyint=12:bframes=3"
FAST: dict[str, dict[str, Any]] = {
    "b_pictures.mp4": {"bf": "3", "g": "250"},
    "short_gops.mkv": {"bf": "2", "g": "12"},
    "open_gops.mp4": {"x264-params": "open-gop=1:keyint=12:bframes=3:b-pyramid=normal"},
    "open_gops.ts": {"x264-params": "open-gop=1:keyint=12:bframes=3:b-pyramid=normal"},
    "interlaced.mp4": {"x264-params": "interlaced=1:keyint=12:bframes=3"},
    "h264.flv": {"bf": "2", "g": "12"},
    "yuv444.mp4": {"pix_fmt": "yuv444p"},
    "mpeg2.mpeg": {"codec": "mpeg2video", "bf": "2", "g": "12"},
    "mpeg2.ts": {"codec": "mpeg2video", "bf": "2", "g": "12"},
    "mpeg1.mpg": {"codec": "mpeg1video", "bf": "2", "g": "12"},
    "hevc.mp4": {"codec": "libx265", "x265-params": X265},
    "hevc_open_gops.mkv": {"codec": "libx265", "x265-params": f"{X265}:open-gop=1"},
    "hevc_layers.mp4": {"codec": "libx265", "x265-params": f"{X265}:temporal-layers=3"},
    "vp9.webm": {"codec": "libvpx-vp9", "g": "12", "deadline": "realtime"},
    "vp9_hidden_pictures.mkv": {
        "codec": "libvpx-vp9", "auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8",
    },
    "variable_rate.mp4": {"stamps": [40 * k + k * k % 37 + 3 * k * k for k in range(60)]},
    "variable_rate.mkv": {"stamps": [40 * k + k * k % 37 + 3 * k * k for k in range(60)]},
    "turned_left.mp4": {"rotation": 90},
    "turned_right.mov": {"rotation": -90},
    "upside_down.mp4": {"rotation": 180},
    "odd_size.mp4": {"size": (97, 63), "pix_fmt": "yuv444p"},
    "one_picture.mp4": {"frames": 1},
    "five_pictures.mp4": {"frames": 5},
}  # fmt: skip
FULL: dict[str, dict[str, Any]] = {
    "no_times.avi": {"codec": "mpeg4", "bf": "2", "g": "12"},
    "wrong_times.avi": {"bf": "2", "g": "12"},
    "mpeg4.mp4": {"codec": "mpeg4", "bf": "2", "g": "12"},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "no_container.h264": {"bf": "2", "g": "12"},
    "no_keyframes.mp4": {"x264-params": "intra-refresh=1:keyint=12:bframes=0"},
    "vp8_hidden_pictures.webm": {
        "codec": "libvpx", "auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8",
    },
    "odd_size.avi": {"codec": "mpeg4", "size": (97, 63)},
    "animation.gif": {"codec": "gif", "pix_fmt": "rgb8"},
}  # fmt: skip

Render = Callable[..., Path]


def assert_true(path: Path, sample: Sample, count: int) -> None:
    truth = decode_all(path)
    expected = [(2 * i + 1) * len(truth) // (2 * count) for i in range(count)]
    assert sample.pictures == len(truth)
    assert sample.indices.tolist() == expected
    assert all(
        np.array_equal(frame, truth[index])
        for frame, index in zip(sample.frames, expected, strict=True)
    )
    assert sample.note.count("some repeat") == (len(truth) < count)
    assert "only" not in sample.note


def where_needed(path: Path, count: int) -> Sample | None:
    with open_video(path, briefly=True) as video:
        return reader._sample_where_needed(video, count, reader._choose_middles, None)


def without_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_sample_where_needed", lambda *_: None)


def without_full_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("decoded in full")

    monkeypatch.setattr(reader, "_sample_in_full", refuse)


def test_threads_do_not_disturb_each_other(render_clip: Render, tmp_path: Path) -> None:
    how: dict[str, Any] = {"frames": 150, "size": (320, 240)}
    clips = [render_clip(tmp_path / f"{k}.mp4", seed=k, **how) for k in range(2)]
    clips += [render_clip(tmp_path / f"{k}.avi", codec="mpeg4", seed=k, **how) for k in range(2)]
    alone = [sample_frames(clip, 9).frames for clip in clips]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda clip: sample_frames(clip, 9).frames, clips * 4))
    for first, second in zip(alone * 4, together, strict=True):
        assert np.array_equal(first, second)


@pytest.mark.parametrize("name", FAST)
def test_only_what_is_needed_is_decoded_and_equals_a_full_decode(
    name: str, render_clip: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = render_clip(tmp_path / name, **FAST[name])
    without_full_decode(monkeypatch)
    for count in (1, 9, 27):
        assert_true(path, sample_frames(path, count), count)


@pytest.mark.parametrize("name", FULL)
def test_what_cannot_be_trusted_is_decoded_in_full(
    name: str, render_clip: Render, tmp_path: Path
) -> None:
    path = render_clip(tmp_path / name, **FULL[name])
    assert where_needed(path, 27) is None
    for count in (1, 9, 27):
        assert_true(path, sample_frames(path, count), count)


@pytest.mark.parametrize("name", ["b_pictures.mp4", "open_gops.ts", "mpeg2.mpeg", "hevc.mp4"])
def test_both_ways_give_the_same(
    name: str, render_clip: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = render_clip(tmp_path / name, **FAST[name])
    fast = sample_frames(path, 9)
    without_fast_path(monkeypatch)
    full = sample_frames(path, 9)
    np.testing.assert_array_equal(fast.frames, full.frames)
    np.testing.assert_array_equal(fast.indices, full.indices)
    np.testing.assert_allclose(fast.times, full.times)


@pytest.mark.parametrize("at_keyframe", [False, True])
@pytest.mark.parametrize(
    ("name", "codec"), [("cut.ts", "libx264"), ("cut.mkv", "libx264"), ("cut.mpeg", "mpeg2video")]
)
def test_a_stream_that_starts_in_the_middle(
    name: str, codec: str, at_keyframe: bool, render_clip: Render, tmp_path: Path
) -> None:
    whole = render_clip(
        tmp_path / f"whole{Path(name).suffix}",
        codec=codec,
        bf="2",
        g="12",
        **({"x264-params": "open-gop=1"} if codec == "libx264" else {}),
    )
    with av.open(whole) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    key = [number for number, packet in enumerate(packets) if packet.is_keyframe][2]
    path = remux(whole, tmp_path / name, first=key if at_keyframe else key + 2)
    assert_true(path, sample_frames(path, 9), 9)


@pytest.mark.parametrize("gops", ["open-gop=0", "open-gop=1"])
@pytest.mark.parametrize("name", ["hidden_start.mp4", "hidden_start.mov"])
def test_pictures_that_an_edit_list_hides_do_not_count(
    name: str, gops: str, render_clip: Render, tmp_path: Path
) -> None:
    params = f"{gops}:keyint=12:min-keyint=12:scenecut=0:bframes=3"
    whole = render_clip(tmp_path / "whole.mp4", **{"x264-params": params})
    path = remux(whole, tmp_path / name, earlier_s=0.8)
    assert len(decode_all(path)) == 40
    assert_true(path, sample_frames(path, 9), 9)
    assert probe(path).frames == 40


def test_damage_reaches_as_far_as_pictures_refer() -> None:
    keys = {0, 4, 8}
    packets = [Packet(pts=0, key=i in keys, shown=True, sound=True) for i in range(10)]
    # 5 and 6 follow the keyframe 4 in the file, but are shown before it and refer to 3 as well.
    shown = [0, 2, 1, 3, 5, 6, 4, 7, 8, 9]
    sound = reader._sound_pictures(shown, {2}, packets)
    assert [shown[position] for position in sound] == [0, 1, 4, 7, 8, 9]
    assert reader._sound_pictures(shown, set(), packets) == list(range(10))
    assert [shown[p] for p in reader._sound_pictures(shown, {4}, packets)] == [0, 2, 1, 3, 8, 9]


@pytest.mark.skipif(not REAL_CLIPS.is_dir(), reason="the real clips are not here")
def test_real_clips_equal_a_full_decode() -> None:
    # Every fourth: together they cover each container, codec and source.
    for path in sorted((REAL_CLIPS / "videos").iterdir())[::4]:
        assert_true(path, sample_frames(path, 9), 9)


def test_times_are_those_at_which_a_player_shows_the_pictures(
    render_clip: Render, tmp_path: Path
) -> None:
    stamps = [0, 30, 100, 500, 510, 2000]
    path = render_clip(tmp_path / "a.mkv", frames=6, stamps=stamps)
    sample = sample_frames(path, 6)
    np.testing.assert_allclose(sample.times, np.array(stamps) / 1000)


@pytest.mark.parametrize("name", ["late_start.mpeg", "no_times.avi"])
def test_times_count_from_the_first_picture(name: str, render_clip: Render, tmp_path: Path) -> None:
    codec = "mpeg2video" if name.endswith("mpeg") else "mpeg4"
    sample = sample_frames(render_clip(tmp_path / name, codec=codec, frames=10, bf="2"), 10)
    np.testing.assert_allclose(sample.times, np.arange(10) / 25, atol=1e-4)


def test_probe_counts_pictures_of_files_that_state_no_number(
    render_clip: Render, tmp_path: Path
) -> None:
    path = render_clip(tmp_path / "a.mpeg", codec="mpeg2video", size=(80, 48), bf="2")
    with av.open(path) as container:
        assert container.streams.video[0].frames == 0
    found = probe(path)
    assert (found.frames, found.fps, found.width, found.height) == (60, 25, 80, 48)
    assert found.codec == "mpeg2video"
    assert found.duration_s == pytest.approx(2.4, abs=1e-3)


def test_a_file_that_breaks_off_gives_what_is_there(render_clip: Render, tmp_path: Path) -> None:
    whole = remux(
        render_clip(tmp_path / "a.mp4", bf="2", g="12"), tmp_path / "b.mp4", movflags="+faststart"
    )
    truth = decode_all(whole)
    path = cut(whole, tmp_path / "c.mp4", 0.6)
    sample = sample_frames(path, 9)
    assert 9 < sample.pictures < 60
    assert sample.note == f"only {sample.pictures} of 60 pictures can be read"
    for frame, index in zip(sample.frames, sample.indices, strict=True):
        np.testing.assert_array_equal(frame, truth[index])


@pytest.mark.parametrize(
    ("name", "codec", "note"),
    [
        ("damaged.mp4", "libx264", r"only \d+ of 60 pictures can be read"),
        ("damaged.avi", "mpeg4", r"only \d+ of 60 pictures can be read"),
        ("damaged.mpeg", "mpeg2video", r"only \d+ of \d+ pictures can be read"),
        ("damaged.mkv", "libx264", r"only \d+ of 60 pictures can be read"),
    ],
)
def test_no_picture_that_a_decoder_made_up_is_passed_on(
    name: str, codec: str, note: str, render_clip: Render, tmp_path: Path
) -> None:
    path = render_clip(tmp_path / name, codec=codec, bf="2", g="12")
    truth = decode_all(path)
    data = bytearray(path.read_bytes())
    with av.open(path) as container:
        packets = [p for p in container.demux(video=0) if p.size and not p.is_keyframe]
    victim = max(packets[len(packets) // 2 :], key=lambda packet: packet.size)
    start = data.index(bytes(victim)[:32])
    # Without its first bytes, a packet of a program stream would be lost without a trace.
    kept = 40 if codec == "mpeg2video" else 0
    data[start + kept : start + victim.size] = bytes(victim.size - kept)
    path.write_bytes(data)

    sample = sample_frames(path, 9)

    assert sample.pictures < 60
    assert re.fullmatch(note, sample.note)
    for frame in sample.frames:
        assert any(np.array_equal(frame, picture) for picture in truth)


def test_damage_that_hides_what_refers_to_a_picture_is_noticed(
    render_clip: Render, tmp_path: Path
) -> None:
    path = render_clip(tmp_path / "a.mp4", bf="2", g="250")
    truth = decode_all(path)
    data = bytearray(path.read_bytes())
    with av.open(path) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    latest = max(p.pts for p in packets[:30] if p.pts is not None)
    forward = next(p for p in packets[30:] if p.pts is not None and p.pts > latest)
    assert forward.pos is not None
    # The two bits say whether any picture refers to this one.
    data[forward.pos + 4] &= 0b10011111
    path.write_bytes(data)
    for frame in sample_frames(path, 9).frames:
        assert any(np.array_equal(frame, picture) for picture in truth)


def test_a_single_damaged_picture_is_an_error(render_clip: Render, tmp_path: Path) -> None:
    path = render_clip(tmp_path / "a.mpeg", codec="mpeg2video", frames=1)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(VideoError, match=r"a\.mpeg .*(decoded|picture)"):
        sample_frames(path, 9)


@pytest.mark.parametrize("read", [probe, lambda path: sample_frames(path, 9)])
@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.mp4", b"", r"empty\.mp4 is empty \(0 bytes\)"),
        ("text.mp4", b"This is no video.\n" * 50, r"text\.mp4 is a text file, not a video"),
        ("noise.mp4", bytes(range(256)) * 20, r"noise\.mp4 is not a video"),
        ("absent.mp4", None, r"absent\.mp4 cannot be opened: No such file"),
    ],
)
def test_what_is_no_video_is_an_error_with_the_reason(
    read: Callable[[Path], object], name: str, content: bytes | None, reason: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(VideoError, match=reason):
        read(tmp_path / name)


def test_a_file_without_its_end_that_says_where_pictures_lie(
    render_clip: Render, tmp_path: Path
) -> None:
    path = cut(render_clip(tmp_path / "a.mp4"), tmp_path / "cut.mp4", 0.5)
    with pytest.raises(VideoError, match=r"cut\.mp4 is cut off"):
        sample_frames(path, 9)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=8000)
        silence = av.AudioFrame.from_ndarray(
            np.zeros((1, 8000), dtype=np.float32), format="fltp", layout="mono"
        )
        silence.rate = 8000
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match=r"sound\.mp4 has no video stream"):
        sample_frames(path, 9)


def remux(source: Path, path: Path, first: int = 0, earlier_s: float = 0.0, **options: str) -> Path:
    """Copy the packets of a video from number `first` on, shown `earlier_s` seconds earlier."""
    with av.open(source) as old, av.open(path, "w", options=options) as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        for number, packet in enumerate(old.demux(stream)):
            if packet.size and number >= first:
                assert packet.pts is not None
                assert packet.dts is not None
                assert packet.time_base is not None
                packet.pts -= round(earlier_s / packet.time_base)
                packet.dts -= round(earlier_s / packet.time_base)
                packet.stream = copy
                new.mux(packet)
    return path


def cut(source: Path, path: Path, share: float) -> Path:
    """Copy the first part of a file."""
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path
