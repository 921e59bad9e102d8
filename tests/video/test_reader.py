import os
import re
import subprocess
import sys
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from qvpipe.video import packets, reader
from qvpipe.video.images import Image
from qvpipe.video.packets import Packet, open_video
from qvpipe.video.reader import (
    Sample,
    VideoError,
    keyframe_positions,
    positions,
    probe,
    sample_frames,
)
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
    "ten_bits.mkv": {"codec": "libx265", "pix_fmt": "yuv420p10le", "x265-params": X265},
    "mpeg2.mkv": {"codec": "mpeg2video", "bf": "2", "g": "12"},
    "mjpeg.mov": {"codec": "mjpeg", "pix_fmt": "yuvj422p"},
    "av1.mp4": {"codec": "libsvtav1", "preset": "12", "g": "12", "svtav1-params": "lp=1"},
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
    "flash.flv": {"codec": "flv"},
    "windows.wmv": {"codec": "wmv2"},
    "mpeg4.avi": {"codec": "mpeg4", "g": "12"},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "no_container.h264": {"bf": "2", "g": "12"},
    "no_keyframes.mp4": {"x264-params": "intra-refresh=1:keyint=12:bframes=0"},
    "vp8_hidden_pictures.webm": {
        "codec": "libvpx", "auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8",
    },
    "odd_size.avi": {"codec": "mpeg4", "size": (97, 63)},
    "animation.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    "exif.mov": {"codec": "tiff", "pix_fmt": "rgb24"},
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


@pytest.mark.slow
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


@pytest.mark.parametrize("name", [*FAST, *FULL])
def test_opening_briefly_tells_the_same_of_every_packet(
    name: str, render_clip: Render, tmp_path: Path
) -> None:
    path = render_clip(tmp_path / name, **{**FAST, **FULL}[name])
    with open_video(path) as video, open_video(path, briefly=True) as brief:
        assert brief.survey.packets == video.survey.packets
        assert brief.survey.rate == video.survey.rate


@pytest.mark.parametrize("name", ["b_pictures.mp4", "mpeg2.mpeg", "no_times.avi"])
def test_packets_that_do_not_fit_into_memory_are_read_again(
    name: str, render_clip: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = render_clip(tmp_path / name, **{**FAST, **FULL}[name])
    monkeypatch.setattr(packets, "KEPT_BYTES", 5000)
    with open_video(path) as video:
        assert video.kept is None
    assert_true(path, sample_frames(path, 9), 9)


@pytest.mark.parametrize(
    ("pictures", "count", "keys", "expected"),
    [
        (100, 4, [0, 10, 30, 45, 60, 99], [10, 30, 60, 99]),
        (100, 4, [], [12, 37, 62, 87]),
        # 24 and 25 belong to different quarters; of two at the same distance the earlier is taken.
        (100, 4, [24, 25, 36, 38], [24, 36, 62, 87]),
        (3, 6, [0, 1, 2], [0, 0, 1, 1, 2, 2]),
        (1, 3, [0], [0, 0, 0]),
    ],
)
def test_the_keyframe_nearest_to_the_middle_of_a_part_is_taken(
    pictures: int, count: int, keys: list[int], expected: list[int]
) -> None:
    assert keyframe_positions(pictures, count, keys) == expected


@pytest.mark.parametrize("pictures", range(1, 60))
def test_a_part_holds_its_own_middle(pictures: int) -> None:
    for count in range(1, pictures + 1):
        every = list(range(pictures))
        assert keyframe_positions(pictures, count, every) == positions(pictures, count)


@pytest.mark.parametrize(
    "name",
    [
        *["short_gops.mkv", "open_gops.mp4", "mpeg2.mpeg", "hevc_open_gops.mkv", "vp9.webm"],
        *["mpeg4.mp4", "no_times.avi", "animation.gif"],
    ],
)
def test_sampled_keyframes_are_the_pictures_that_they_say_they_are(
    name: str, render_clip: Render, tmp_path: Path
) -> None:
    path = render_clip(tmp_path / name, **{**FAST, **FULL}[name])
    truth = decode_all(path)
    keys = keyframes(path)
    for count in (1, 4, 9, 27):
        even = sample_frames(path, count)
        sample = sample_frames(path, count, sampling="keyframe")
        assert sample.indices.tolist() == keyframe_positions(len(truth), count, keys)
        for frame, index in zip(sample.frames, sample.indices, strict=True):
            np.testing.assert_array_equal(frame, truth[index])
        assert sample.times.tolist() == pytest.approx((sample.indices / 25).tolist(), abs=2e-3)
        assert sample.pictures == even.pictures == len(truth)


def test_nothing_but_keyframes_is_decoded_where_each_part_has_one(
    render_clip: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = render_clip(tmp_path / "a.mp4", **{"x264-params": "keyint=6:bframes=2:open-gop=1"})
    without_full_decode(monkeypatch)
    decoded: list[int] = []
    within = reader._within

    def count(packets: Any, run: Any) -> Any:  # noqa: ANN401
        for number, packet in within(packets, run):
            decoded.append(number)
            yield number, packet

    monkeypatch.setattr(reader, "_within", count)
    sample_frames(path, 9, sampling="keyframe")
    assert len(decoded) == 9
    decoded.clear()
    sample_frames(path, 9)
    assert len(decoded) > 9


@pytest.mark.parametrize("name", ["b_pictures.mp4", "turned_left.mp4", "no_times.avi"])
def test_each_picture_is_prepared_as_soon_as_it_is_decoded(
    name: str, render_clip: Render, tmp_path: Path
) -> None:
    path = render_clip(tmp_path / name, **{**FAST, **FULL}[name])

    def halve(image: Image) -> Image:
        assert image.flags.c_contiguous
        return image[::2, ::2]

    whole = sample_frames(path, 9).frames
    np.testing.assert_array_equal(sample_frames(path, 9, prepare=halve).frames, whole[:, ::2, ::2])


def test_a_video_with_fewer_pictures_says_that_some_repeat(
    render_clip: Render, tmp_path: Path
) -> None:
    sample = sample_frames(render_clip(tmp_path / "a.mp4", frames=5), 9)
    assert sample.indices.tolist() == [0, 0, 1, 1, 2, 3, 3, 4, 4]
    assert sample.note == "5 pictures are fewer than 9 frames, so some repeat"


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_pictures_are_turned_and_mirrored_as_players_do(
    rotation: int, mirrored: bool, render_clip: Render, tmp_path: Path
) -> None:
    path = render_clip(tmp_path / "a.mp4", frames=5, rotation=rotation, mirrored=mirrored)
    with av.open(path) as container:
        stored = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    turned = np.rot90(stored, rotation // 90, axes=(1, 2))
    expected = turned[:, :, ::-1] if mirrored else turned
    np.testing.assert_array_equal(sample_frames(path, 5).frames, expected)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.mpeg"])
@pytest.mark.parametrize("rotation", [0, 90])
def test_the_shape_of_pixels_is_told(name: str, rotation: int, tmp_path: Path) -> None:
    codec = {"a.avi": "mpeg4", "a.mpeg": "mpeg2video"}.get(name, "libx264")
    path = tmp_path / name
    with av.open(path, "w") as container:
        stream = cast("VideoStream", container.add_stream(codec, rate=25))
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        # An aspect of the picture that MPEG-2 can name: 16 to 9.
        stream.codec_context.sample_aspect_ratio = Fraction(32, 27)
        if rotation and name == "a.mp4":
            stream.set_display_rotation(rotation)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame(96, 64, "yuv420p")))
        container.mux(stream.encode(None))
    sample = sample_frames(path, 3)
    turned = rotation and name == "a.mp4"
    assert sample.frames.shape[1:3] == ((96, 64) if turned else (64, 96))
    assert sample.pixel_aspect == pytest.approx(27 / 32 if turned else 32 / 27, rel=1e-3)
    assert probe(path).pixel_aspect == pytest.approx(32 / 27, rel=1e-3)


@pytest.mark.slow
def test_a_long_video(render_clip: Render, tmp_path: Path) -> None:
    path = render_clip(tmp_path / "a.mp4", frames=10_000, size=(32, 32), preset="ultrafast")
    sample = sample_frames(path, 9)
    assert sample.pictures == 10_000
    with av.open(path) as container:
        for k, frame in enumerate(container.decode(video=0)):
            for place in np.flatnonzero(sample.indices == k):
                np.testing.assert_array_equal(
                    sample.frames[place], frame.to_ndarray(format="rgb24")
                )


@pytest.mark.slow
def test_8k_video_is_read_in_less_than_a_gibibyte(tmp_path: Path) -> None:
    path = tmp_path / "8k.mp4"
    with av.open(path, "w") as container:
        options = {"preset": "ultrafast", "threads": "2"}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 7680, 4320, "yuv420p"
        frame = av.VideoFrame(7680, 4320, "yuv420p")
        for _ in range(9):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    script = (
        "import sys; from pathlib import Path\n"
        "from qvpipe.config import FramesSettings\n"
        "from qvpipe.video.candidates import take_candidates\n"
        "sample = take_candidates(Path(sys.argv[1]), FramesSettings(count=27, size=448))\n"
        "assert sample.frames.shape == (27, 448, 796, 3), sample.frames.shape\n"
        "status = Path('/proc/self/status').read_text().split()\n"
        # Unlike ru_maxrss, it does not count the process that started this one.
        "print(status[status.index('VmHWM:') + 1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 2**20


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


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mkv", "libx264"), ("a.mp4", "libx264"), ("a.mkv", "mpeg2video")]
)
@pytest.mark.parametrize(
    "how", [{"in_stored_order": True}, {"lost": [20, 21, 22, 33]}, {"lost": [12, 24, 36]}]
)
def test_times_that_are_not_in_the_order_of_the_pictures(
    name: str, codec: str, how: dict[str, Any], render_clip: Render, tmp_path: Path
) -> None:
    whole = render_clip(tmp_path / "whole.mp4", codec=codec, bf="2", g="12", sc_threshold="0")
    path = remux(whole, tmp_path / name, **how)
    for count in (9, 27):
        assert_true(path, sample_frames(path, count), count)


def test_a_stream_that_changes_its_size_is_decoded_in_full(
    render_clip: Render, tmp_path: Path
) -> None:
    how: dict[str, Any] = {"codec": "mpeg2video", "bf": "2", "g": "12"}
    first = render_clip(tmp_path / "first.mpeg", size=(96, 64), **how)
    second = render_clip(tmp_path / "second.mpeg", size=(128, 64), **how)
    later = remux(second, tmp_path / "later.mpeg", earlier_s=-5)
    path = tmp_path / "both.mpeg"
    path.write_bytes(first.read_bytes() + later.read_bytes())
    # As the size changes, the decoder loses a picture that it has not shown yet.
    assert sample_frames(path, 9).pictures == len(decode_all(path)) < 120


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
    ("name", "codec", "promised"), [("a.mkv", "libx264", r"60"), ("a.rm", "rv20", r"\d+")]
)
def test_a_stream_without_a_number_of_pictures_that_breaks_off(
    name: str, codec: str, promised: str, render_clip: Render, tmp_path: Path
) -> None:
    whole = render_clip(tmp_path / name, codec=codec, g="12", bf="0")
    truth = decode_all(whole)
    sample = sample_frames(cut(whole, tmp_path / f"cut_{name}", 0.6), 9)
    assert 9 < sample.pictures < 60
    assert re.fullmatch(rf"only \d+ of {promised} pictures can be read", sample.note)
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
    # On several threads an encoder may give other bytes, and so other damage, from time to time.
    path = render_clip(tmp_path / name, codec=codec, bf="2", g="12", threads="1")
    truth = decode_all(path)
    data = bytearray(path.read_bytes())
    with av.open(path) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    # What follows a keyframe, and is large, is what the rest of its group refers to.
    key = next(i for i in range(len(packets) // 2, len(packets)) if packets[i].is_keyframe)
    victim = max(packets[key + 1 : key + 5], key=lambda packet: packet.size)
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


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_what_lies_behind_a_hole_is_read(codec: str, render_clip: Render, tmp_path: Path) -> None:
    path = render_clip(tmp_path / "a.ts", codec=codec, bf="2", g="12", threads="1")
    truth = decode_all(path)
    data = path.read_bytes()
    middle = len(data) // 376 * 188
    path.write_bytes(data[:middle] + bytes(300_000) + data[middle + 1880 :])
    sample = sample_frames(path, 60)
    assert 30 < sample.pictures < 60
    assert re.fullmatch(r"only \d+ of \d+ pictures can be read;.*", sample.note)
    found = [
        next((k for k, picture in enumerate(truth) if np.array_equal(frame, picture)), None)
        for frame in sample.frames
    ]
    assert None not in found
    assert found[-1] == len(truth) - 1


def test_colours_that_cannot_be_converted_are_an_error_with_the_reason(
    render_clip: Render, tmp_path: Path
) -> None:
    path = render_clip(tmp_path / "a.mp4", **{"x264-params": "colormatrix=YCgCo"})
    with pytest.raises(VideoError, match=r"a\.mp4 has colours .*cannot be converted to RGB"):
        sample_frames(path, 9)


def test_what_pyav_is_not_prepared_for_costs_one_video(
    render_clip: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("31 is not a valid Type")

    monkeypatch.setattr(reader, "_as_shown", fail)
    with pytest.raises(VideoError, match=r"a\.mp4 cannot be read: 31 is not a valid Type"):
        sample_frames(render_clip(tmp_path / "a.mp4"), 9)


@pytest.mark.parametrize("codec", ["libx265", "libvpx-vp9"])
def test_the_packet_before_one_that_cannot_be_decoded_is_not_trusted(
    codec: str, render_clip: Render, tmp_path: Path
) -> None:
    params = {"x265-params": X265} if codec == "libx265" else {"deadline": "realtime", "g": "12"}
    path = render_clip(tmp_path / "a.mp4", codec=codec, **params)
    truth = decode_all(path)
    with av.open(path) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    # From the second half of one packet to the end of the next all is noise.
    start = data.index(bytes(packets[30])) + packets[30].size // 2
    end = data.index(bytes(packets[31])) + packets[31].size
    data[start:end] = np.random.default_rng(0).bytes(end - start)
    path.write_bytes(data)
    sample = sample_frames(path, 60)
    assert 12 < sample.pictures < 60
    for frame in sample.frames:
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
        ("noise.mp4", bytes(range(256)) * 20, r"noise\.mp4 is neither a video nor an image"),
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


def test_a_file_that_breaks_off_before_its_first_picture(
    render_clip: Render, tmp_path: Path
) -> None:
    path = render_clip(tmp_path / "a.mkv")
    data = path.read_bytes()
    cluster = data.index(b"\x1f\x43\xb6\x75")
    path.write_bytes(data[: cluster + 40])
    with pytest.raises(VideoError, match=r"a\.mkv has a video stream without any picture"):
        sample_frames(path, 9)


def test_a_file_without_its_end_that_says_where_pictures_lie(
    render_clip: Render, tmp_path: Path
) -> None:
    path = cut(render_clip(tmp_path / "a.mp4"), tmp_path / "cut.mp4", 0.5)
    with pytest.raises(VideoError, match=r"cut\.mp4 is cut off"):
        sample_frames(path, 9)


@pytest.mark.parametrize("side", [12_000, 50_000])
def test_pictures_too_large_to_be_true_are_refused(
    side: int, render_clip: Render, tmp_path: Path
) -> None:
    path = render_clip(tmp_path / "a.mov", codec="rawvideo", pix_fmt="rgb24", frames=2)
    data = bytearray(path.read_bytes())
    entry = data.index(b"raw ", data.index(b"stsd"))
    data[entry + 28 : entry + 32] = side.to_bytes(2) * 2
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"a\.mov holds no picture .* more than 67108864 pixels"):
        sample_frames(path, 9)


def test_a_stream_that_becomes_too_large_gives_what_came_before(
    render_clip: Render, tmp_path: Path
) -> None:
    path = render_clip(tmp_path / "a.avi", codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    with av.open(path) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    start = data.index(bytes(packets[30]))
    header = data.index(b"\xff\xc0", start)
    data[header + 5 : header + 9] = (12_000).to_bytes(2) * 2
    path.write_bytes(data)
    sample = sample_frames(path, 9)
    assert sample.note == "only 59 of 60 pictures can be read"


def test_an_encrypted_video_says_so(render_clip: Render, tmp_path: Path) -> None:
    path = remux(
        render_clip(tmp_path / "a.mp4"),
        tmp_path / "b.mp4",
        encryption_scheme="cenc-aes-ctr",
        encryption_key="00112233445566778899aabbccddeeff",
        encryption_kid="ab" * 16,
    )
    for read in (probe, lambda path: sample_frames(path, 9)):
        with pytest.raises(VideoError, match=r"b\.mp4 is encrypted"):
            read(path)


def test_only_files_are_read(render_clip: Render, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "nowhere")
    for name, reason in (
        ("pipe.mp4", "is a pipe, a socket or a device, not a video file"),
        ("folder.mp4", "is a folder, not a video file"),
        ("dangling.mp4", "cannot be opened: No such file"),
    ):
        with pytest.raises(VideoError, match=f"{name} {reason}"):
            sample_frames(tmp_path / name, 9)
    link = tmp_path / "link:1.mp4"
    link.symlink_to(render_clip(tmp_path / "a.mp4"))
    assert_true(link, sample_frames(link, 9), 9)


@pytest.mark.skipif(os.geteuid() == 0, reason="an administrator may read every file")
def test_a_file_that_may_not_be_read(render_clip: Render, tmp_path: Path) -> None:
    path = render_clip(tmp_path / "a.mp4")
    path.chmod(0)
    with pytest.raises(VideoError, match=r"a\.mp4 cannot be opened: Permission denied"):
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


def keyframes(path: Path) -> list[int]:
    with av.open(path) as container:
        if path.suffix == ".avi":
            return [k for k, frame in enumerate(container.decode(video=0)) if frame.key_frame]
        packets = [packet for packet in container.demux(video=0) if packet.size]
    packets.sort(key=lambda packet: packet.pts or 0)
    return [index for index, packet in enumerate(packets) if packet.is_keyframe]


def remux(
    source: Path,
    path: Path,
    first: int = 0,
    earlier_s: float = 0.0,
    lost: Collection[int] = (),
    in_stored_order: bool = False,
    **options: str,
) -> Path:
    """Copy the packets of a video.

    Args:
        source: The video.
        path: Where to.
        first: Number of the packet to begin with.
        earlier_s: By how many seconds the copy is shown earlier.
        lost: Numbers of packets that are left out.
        in_stored_order: Whether the packets' times are to say that none is reordered.
        options: Of the container.
    """
    with av.open(source) as old, av.open(path, "w", options=options) as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        for number, packet in enumerate(old.demux(stream)):
            if packet.size and number >= first and number not in lost:
                assert packet.pts is not None
                assert packet.dts is not None
                assert packet.time_base is not None
                packet.pts -= round(earlier_s / packet.time_base)
                packet.dts -= round(earlier_s / packet.time_base)
                if in_stored_order:
                    packet.pts = packet.dts
                packet.stream = copy
                new.mux(packet)
    return path


def cut(source: Path, path: Path, share: float) -> Path:
    """Copy the first part of a file."""
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path
