from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qvpipe.config import FramesSettings, SuperimagesSettings
from qvpipe.video.images import Image, decode_jpeg, encode_jpeg, read_comment, shrink, square
from qvpipe.video.reader import VideoError
from qvpipe.video.store import Origin
from qvpipe.video.superimage import compose, origin_hash, superimage_jpeg


def plain(value: int, height: int = 20, width: int = 30) -> Image:
    return np.full((height, width, 3), value, dtype=np.uint8)


def test_tiles_stand_in_order_of_time_row_by_row() -> None:
    image = compose([plain(20 * k) for k in range(9)], grid=3, tile=8, fit="squash")
    assert image.shape == (24, 24, 3)
    assert image.dtype == np.uint8
    assert image[4::8, 4::8, 0].tolist() == [[0, 20, 40], [60, 80, 100], [120, 140, 160]]


def test_another_number_of_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot hold 8 frames"):
        compose([plain(0)] * 8, grid=3, tile=8, fit="squash")


def test_squash_fills_the_square() -> None:
    assert (square(plain(90), 16, "squash") == 90).all()


@pytest.mark.parametrize(("height", "width"), [(20, 40), (40, 20), (21, 43), (3, 400)])
def test_letterbox_keeps_the_aspect_between_black_bars(height: int, width: int) -> None:
    boxed = square(plain(90, height, width), 16, "letterbox")
    assert boxed.shape == (16, 16, 3)
    lit = boxed[..., 0] == 90
    rows, columns = lit.any(axis=1).sum(), lit.any(axis=0).sum()
    assert max(rows, columns) == 16
    assert min(rows, columns) == max(1, round(16 * min(height, width) / max(height, width)))
    assert (boxed[~lit] == 0).all()
    top, bottom = np.argmax(lit.any(axis=1)), np.argmax(lit.any(axis=1)[::-1])
    assert abs(int(top) - int(bottom)) <= 1


def test_shrinking_averages() -> None:
    stripes = plain(0, 64, 64)
    stripes[:, ::2] = 200
    assert np.abs(shrink(stripes, 16).astype(int) - 100).max() <= 1
    assert shrink(plain(0, 30, 61), 20).shape == (20, 41, 3)


def test_jpegs_come_back() -> None:
    image = plain(0)
    image[:, :15] = (200, 60, 20)
    back = decode_jpeg(encode_jpeg(image, 95)).astype(int)
    assert np.abs(back[:, :8] - (200, 60, 20)).max() < 6
    assert np.abs(back[:, -8:]).max() < 6
    assert len(encode_jpeg(image, 10)) < len(encode_jpeg(image, 100))


def test_a_comment_is_read_from_a_whole_jpeg_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    assert read_comment(path) is None
    path.write_bytes(encode_jpeg(plain(90), 95))
    assert read_comment(path) is None
    data = encode_jpeg(plain(90), 95, "made from this")
    path.write_bytes(data)
    assert read_comment(path) == "made from this"
    assert (decode_jpeg(data) == decode_jpeg(encode_jpeg(plain(90), 95))).all()
    for broken in (data[:-2], data[:100], b"", b"\xff\xd9", b"text" * 100 + b"\xff\xd9"):
        path.write_bytes(broken)
        assert read_comment(path) is None


def test_nine_tiles_of_448_pixels() -> None:
    settings = SuperimagesSettings(grid=3, tile=448, quality=95)
    frames = [plain(25 * k, 448, 796) for k in range(9)]
    image = decode_jpeg(superimage_jpeg(frames, settings))
    assert image.shape == (1344, 1344, 3)
    centres = image[224::448, 224::448, 0].astype(int)
    assert np.abs(centres.ravel() - np.arange(0, 225, 25)).max() <= 2


def test_the_origin_tells_all_that_changes_a_superimage() -> None:
    stored = Origin("c0ffee", FramesSettings(), pictures=400, note="")
    settings = SuperimagesSettings()
    hashes = [
        origin_hash(stored, [1, 2], settings),
        origin_hash(stored, [1, 3], settings),
        origin_hash(stored, [1, 2], replace(settings, quality=5)),
        origin_hash(replace(stored, content="f00"), [1, 2], settings),
        origin_hash(replace(stored, settings=FramesSettings(quality=5)), [1, 2], settings),
        origin_hash(None, [1, 2], settings),
    ]
    assert len(set(hashes)) == len(hashes)
    assert origin_hash(stored, [1, 2], settings) == hashes[0]


def test_no_jpeg_is_an_error() -> None:
    with pytest.raises(VideoError, match="damaged"):
        decode_jpeg(b"no picture")
