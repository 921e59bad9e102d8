from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from qvpipe.video.reader import VideoError, sample_frames
from tests.video.test_reader import FAST, FULL, cut

CLIPS: dict[str, dict[str, Any]] = {
    name: {"size": (128, 64), **how} for name, how in {**FAST, **FULL}.items()
}
REFUSED = {
    "open_gops.ts": "transport stream",
    "mpeg2.ts": "transport stream",
    "interlaced.mp4": "interlaced",
    "odd_size.avi": "odd size",
    "ten_bits.mkv": "more than 8 bits",
    "no_container.h264": "cannot be read by decord .*broken metadata",
}
"""What decord cannot do, and what is said of it."""
UNNOTICED = {"no_keyframes.mp4": "decord counts wrong where a stream starts afresh step by step"}

Render = Callable[..., Path]


def read(path: Path, count: int, **how: Any) -> None:  # noqa: ANN401
    truth = sample_frames(path, count, **how)
    sample = sample_frames(path, count, decoder="decord", **how)
    np.testing.assert_array_equal(sample.frames, truth.frames)
    np.testing.assert_array_equal(sample.indices, truth.indices)
    np.testing.assert_allclose(sample.times, truth.times)
    assert (sample.pictures, sample.note) == (truth.pictures, truth.note)
    assert sample.pixel_aspect == pytest.approx(truth.pixel_aspect)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.xfail(strict=True, reason=UNNOTICED[name]))
        if name in UNNOTICED
        else name
        for name in CLIPS
        if name not in REFUSED
    ],
)
def test_decord_gives_the_same(name: str, render_clip: Render, tmp_path: Path) -> None:
    path = render_clip(tmp_path / name, **CLIPS[name])
    for count in (1, 9, 27):
        read(path, count)


@pytest.mark.parametrize("name", ["short_gops.mkv", "open_gops.mp4", "mpeg2.mpeg", "no_times.avi"])
def test_decord_takes_the_same_keyframes(name: str, render_clip: Render, tmp_path: Path) -> None:
    read(render_clip(tmp_path / name, **CLIPS[name]), 9, sampling="keyframe")


@pytest.mark.parametrize("name", REFUSED)
def test_what_decord_cannot_do_is_refused(name: str, render_clip: Render, tmp_path: Path) -> None:
    path = render_clip(tmp_path / name, **CLIPS[name])
    with pytest.raises(VideoError, match=f"{name} .*{REFUSED[name]}.*; read it with .*pyav"):
        sample_frames(path, 9, decoder="decord")


def test_rows_that_decord_would_pad_into_the_picture(render_clip: Render, tmp_path: Path) -> None:
    path = render_clip(tmp_path / "a.mp4", size=(96, 64))
    with pytest.raises(VideoError, match=r"a\.mp4 cannot be read by decord \(Check failed: from_s"):
        sample_frames(path, 9, decoder="decord")


def test_a_picture_that_decord_cannot_decode_is_not_replaced(
    render_clip: Render, tmp_path: Path
) -> None:
    path = render_clip(tmp_path / "a.mkv", bf="2", g="12", size=(128, 64))
    data = bytearray(path.read_bytes())
    with av.open(path) as container:
        packets = [p for p in container.demux(video=0) if p.size and not p.is_keyframe]
    for packet in packets[20:25]:
        start = data.index(bytes(packet)[:32])
        data[start : start + packet.size] = bytes(packet.size)
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"a\.mkv cannot be read by decord"):
        sample_frames(path, 27, decoder="decord")


def test_a_file_that_breaks_off_is_left_to_pyav(render_clip: Render, tmp_path: Path) -> None:
    path = cut(
        render_clip(tmp_path / "a.flv", codec="flv", size=(128, 64)), tmp_path / "b.flv", 0.5
    )
    with pytest.raises(VideoError, match=r"b\.flv .*; read it with"):
        sample_frames(path, 9, decoder="decord")
