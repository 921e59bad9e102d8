import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from qvpipe.config import FramesSettings
from qvpipe.video import reader
from qvpipe.video.candidates import take_candidates
from qvpipe.video.images import Image, decode_jpeg
from qvpipe.video.reader import Probe, VideoError, probe, sample_frames
from qvpipe.video.stills import read_image
from tests.conftest import RenderClip

ORIENTATION = 0x0112


def picture(height: int = 48, width: int = 64) -> Image:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.webp", "no_ending"])
def test_what_was_written_without_loss_is_read_exactly(name: str, tmp_path: Path) -> None:
    image = picture()
    form = {".tif": "TIFF", ".bmp": "BMP", ".webp": "WEBP"}.get(Path(name).suffix, "PNG")
    Pillow.fromarray(image).save(tmp_path / name, form, lossless=True)
    sample = sample_frames(tmp_path / name, 1)
    assert np.array_equal(sample.frames, image[np.newaxis])
    assert (sample.indices.tolist(), sample.times.tolist(), sample.pictures) == ([0], [0.0], 1)
    assert (sample.note, sample.damaged) == ("", False)
    assert probe(tmp_path / name) == Probe(1, 0.0, 0.0, 64, 48, form.lower())
    assert reader.promised_length_s(tmp_path / name) == 0


def test_a_jpeg_is_read_as_opencv_reads_what_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Pillow.fromarray(picture()).save(path, quality=90)
    assert np.array_equal(read_image(path), decode_jpeg(path.read_bytes()))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
@pytest.mark.parametrize(("orientation", "turns"), [(6, -1), (8, 1), (3, 2)])
def test_the_cameras_orientation_is_applied(
    name: str, orientation: int, turns: int, tmp_path: Path
) -> None:
    image = np.zeros((32, 64, 3), dtype=np.uint8)
    image[:16, :32] = (250, 20, 20)
    exif = Pillow.Exif()
    exif[ORIENTATION] = orientation
    Pillow.fromarray(image).save(tmp_path / name, exif=exif)
    expected = np.rot90(image, turns)
    seen = read_image(tmp_path / name)
    assert seen.shape == expected.shape
    assert np.abs(seen.astype(int) - expected).mean() < 3
    found = probe(tmp_path / name)
    assert (found.height, found.width) == expected.shape[:2]


def test_colours_of_print_become_those_of_a_screen(tmp_path: Path) -> None:
    for name, inks in {
        "white": (0, 0, 0, 0),
        "red": (0, 255, 255, 0),
        "black": (0, 0, 0, 255),
    }.items():
        Pillow.new("CMYK", (32, 32), inks).save(tmp_path / f"{name}.jpg", quality=95)
    means = {path.stem: read_image(path).mean(axis=(0, 1)) for path in tmp_path.iterdir()}
    assert means["white"] == pytest.approx([255, 255, 255], abs=3)
    assert means["red"] == pytest.approx([255, 0, 0], abs=3)
    assert means["black"] == pytest.approx([0, 0, 0], abs=3)


def test_of_sixteen_bits_the_upper_eight_are_taken(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 2**16, (8, 8, 3), dtype=np.uint16)
    for ending in ("png", "tif"):
        cv2.imwrite(str(tmp_path / f"colour.{ending}"), deep)
        cv2.imwrite(str(tmp_path / f"grey.{ending}"), deep[:, :, 0])
    assert np.array_equal(read_image(tmp_path / "colour.png"), deep[:, :, ::-1] >> 8)
    for ending in ("png", "tif"):
        grey = read_image(tmp_path / f"grey.{ending}")
        assert np.array_equal(grey, np.repeat(deep[:, :, :1] >> 8, 3, axis=2))


def test_what_is_transparent_stands_on_black(tmp_path: Path) -> None:
    image = np.dstack([picture(4, 4), np.full((4, 4), 255, np.uint8)])
    image[0, 0], image[0, 1] = (255, 255, 255, 0), (200, 100, 50, 128)
    Pillow.fromarray(image).save(tmp_path / "a.png")
    Pillow.fromarray(image).quantize().save(tmp_path / "palette.png")
    seen = read_image(tmp_path / "a.png")
    assert seen[0, 0].tolist() == [0, 0, 0]
    assert seen[0, 1].tolist() == [100, 50, 25]
    assert np.array_equal(seen[1:], image[1:, :, :3])
    assert read_image(tmp_path / "palette.png")[0, 0].tolist() == [0, 0, 0]


def test_grey_and_two_coloured_pictures_have_three_colours(tmp_path: Path) -> None:
    for mode in ("L", "1"):
        Pillow.fromarray(picture()).convert(mode).save(tmp_path / "a.png")
        assert read_image(tmp_path / "a.png").shape == (48, 64, 3)


def test_a_picture_is_made_smaller_and_repeated_like_a_short_video(tmp_path: Path) -> None:
    Pillow.fromarray(picture(480, 640)).save(tmp_path / "a.png")
    sample = take_candidates(tmp_path / "a.png", FramesSettings(count=3, size=48))
    assert sample.frames.shape == (3, 48, 64, 3)
    assert sample.indices.tolist() == [0, 0, 0]
    assert np.array_equal(sample.frames[0], sample.frames[2])


def huge_png(path: Path, side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(64))), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


@pytest.mark.parametrize("side", [8193, 30_000])
def test_a_picture_that_fills_the_memory_is_refused_before_it_is_decoded(
    side: int, tmp_path: Path
) -> None:
    huge_png(tmp_path / "a.png", side)
    with pytest.raises(VideoError, match=r"a\.png is an image of more than 67108864 pixels"):
        probe(tmp_path / "a.png")


def test_what_is_broken_is_said(tmp_path: Path) -> None:
    Pillow.fromarray(picture()).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    Pillow.fromarray(np.zeros((4, 4), dtype=np.float32)).save(tmp_path / "heights.tif")
    broken = {
        "empty.jpg": (b"", "is empty"),
        "text.jpg": (b"no picture\n" * 9, "is a text file"),
        "noise.png": (bytes(range(200, 256)) * 9, "is neither a video nor an image"),
        "cut.jpg": (whole[: len(whole) // 2], "is a damaged image .*truncated"),
        "head.png": (b"\x89PNG\r\n\x1a\n" + bytes(99), "is a damaged image"),
        "heights.tif": (None, "holds numbers of 32 bits"),
    }
    for name, (content, reason) in broken.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        for ask in (probe, lambda path: sample_frames(path, 1)):
            with pytest.raises(VideoError, match=f"{name} {reason}"):
                ask(tmp_path / name)


def test_a_video_with_the_name_of_an_image_is_a_video(
    render_clip: RenderClip, tmp_path: Path
) -> None:
    clip = render_clip(tmp_path / "a.mp4", frames=5)
    assert probe(clip.rename(tmp_path / "a.jpg")).frames == 5


def test_jpegs_that_follow_one_another_are_a_video(tmp_path: Path, render_clip: RenderClip) -> None:
    path = render_clip(tmp_path / "raw.mjpeg", "mjpeg", frames=12, pix_fmt="yuvj420p")
    assert probe(path).frames == 12
    assert list(sample_frames(path, 3).indices) == [2, 6, 10]
