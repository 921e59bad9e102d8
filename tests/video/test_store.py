import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qvpipe.config import FramesSettings
from qvpipe.video.images import encode_jpeg, shrink
from qvpipe.video.quality import facts
from qvpipe.video.reader import Sample, VideoError
from qvpipe.video.store import Origin, pack, read_facts, read_origin, unpack

SETTINGS = FramesSettings(count=3, size=32, quality=95)


@pytest.fixture
def sample() -> Sample:
    ramp = np.linspace(0, 200, 96).astype(np.uint8)
    frames = np.stack(
        [np.broadcast_to((ramp + 20 * k)[None, :, None], (64, 96, 3)) for k in (0, 1, 2)]
    )
    return Sample(frames, np.array([2, 7, 345]), np.array([0.08, 0.28, 13.8]), 400, "a note")


def test_frames_come_back_with_their_indices_and_times(sample: Sample) -> None:
    stored = unpack(pack(sample, SETTINGS, "c0ffee"))
    assert stored.frames.shape == (3, 32, 48, 3)
    assert [frame.index for frame in stored.facts] == [2, 7, 345]
    assert [frame.time_s for frame in stored.facts] == [0.08, 0.28, 13.8]
    means = stored.frames.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(means, sample.frames.mean(axis=(1, 2, 3)), atol=1)


def test_colours_keep_their_order(sample: Sample) -> None:
    red = np.zeros_like(sample.frames)
    red[..., 0] = 200
    stored = unpack(pack(replace(sample, frames=red), SETTINGS, "c0ffee"))
    np.testing.assert_allclose(stored.frames.mean(axis=(0, 1, 2)), [200, 0, 0], atol=3)


def test_small_frames_are_not_enlarged(sample: Sample) -> None:
    stored = unpack(pack(sample, replace(SETTINGS, size=500), "c0ffee"))
    assert stored.frames.shape == (3, 64, 96, 3)


def test_chosen_frames_only(sample: Sample) -> None:
    data = pack(sample, SETTINGS, "c0ffee")
    chosen = unpack(data, [2, 0, 0])
    assert [frame.index for frame in chosen.facts] == [345, 2, 2]
    np.testing.assert_array_equal(chosen.frames, unpack(data).frames[[2, 0, 0]])


def test_the_same_frames_give_the_same_bytes(sample: Sample) -> None:
    assert pack(sample, SETTINGS, "c0ffee") == pack(sample, SETTINGS, "c0ffee")
    with zipfile.ZipFile(io.BytesIO(pack(sample, SETTINGS, "c0ffee"))) as archive:
        assert {m.date_time for m in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {m.compress_type for m in archive.infolist()} == {zipfile.ZIP_STORED}
        last = facts(shrink(sample.frames[2], SETTINGS.size), 345, 13.8)
        assert archive.namelist()[2] == (
            f"00002_index000345_time0013.800_sharpness{last.sharpness:.4g}_phash{last.phash}.jpg"
        )


def test_what_is_measured_is_that_of_the_scaled_picture_before_it_is_a_jpeg(
    sample: Sample, tmp_path: Path
) -> None:
    rough = replace(SETTINGS, quality=1)
    noise = np.random.default_rng(0).integers(0, 255, sample.frames.shape, dtype=np.uint8)
    for frames in (sample.frames, noise, noise // 250, noise * 0 + 255):
        path = tmp_path / "a.zip"
        path.write_bytes(pack(replace(sample, frames=frames), rough, "c0ffee"))
        expected = [
            facts(shrink(frame, 32), index, time)
            for frame, index, time in zip(frames, [2, 7, 345], [0.08, 0.28, 13.8], strict=True)
        ]
        assert read_facts(path) == expected
        assert unpack(path).facts == expected


def test_a_zip_says_what_it_was_made_from(sample: Sample, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(pack(sample, SETTINGS, "c0ffee"))
    assert read_origin(path) == Origin("c0ffee", SETTINGS, pictures=400, note="a note")
    assert read_origin(path) != Origin("c0ffee", replace(SETTINGS, quality=5), 400, "a note")


@pytest.mark.parametrize("content", [None, b"", b"no zip", "no comment"])
def test_anything_else_was_made_from_nothing(content: bytes | str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    if content == "no comment":
        zipfile.ZipFile(path, "w").close()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    assert read_origin(path) is None


def test_a_damaged_zip_is_an_error_that_says_what_to_do(sample: Sample, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    data = bytearray(pack(sample, SETTINGS, "c0ffee"))
    data[200:230] = bytes(30)
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"a\.zip cannot be read .*dvc repro"):
        unpack(path)
    with pytest.raises(VideoError, match=r"absent\.zip cannot be read"):
        unpack(tmp_path / "absent.zip")
    with pytest.raises(VideoError, match=r"absent\.zip cannot be read"):
        read_facts(tmp_path / "absent.zip")


FRAME = "00000_index000002_time0000.080_sharpness12.5_phash0123456789abcdef.jpg"


@pytest.mark.parametrize(
    "name",
    ["../outside.jpg", "/etc/outside.jpg", f"../{FRAME}", f"folder/{FRAME}", f"{FRAME}\n", "a.txt"],
)
def test_a_zip_with_anything_but_frames_is_refused_and_nothing_of_it_written(
    sample: Sample, name: str, tmp_path: Path
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    path = folder / "a.zip"
    path.write_bytes(pack(sample, SETTINGS, "c0ffee"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"hostile")
    for read in (unpack, read_facts):
        with pytest.raises(
            VideoError, match=r"a\.zip cannot be read .*is no stored frame"
        ) as error:
            read(path)
        assert "\n" not in str(error.value)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


def test_a_zip_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(FRAME, bytes(10**7))
    assert path.stat().st_size < 10**5
    with pytest.raises(VideoError, match=r"a\.zip cannot be read .*is no stored frame"):
        unpack(path)


def test_a_zip_without_frames_or_with_frames_of_several_sizes_is_refused(
    sample: Sample, tmp_path: Path
) -> None:
    path = tmp_path / "a.zip"
    zipfile.ZipFile(path, "w").close()
    with pytest.raises(VideoError, match=r"a\.zip cannot be read"):
        unpack(path)
    path.write_bytes(pack(sample, SETTINGS, "c0ffee"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(FRAME.replace("00000", "00009", 1), encode_jpeg(sample.frames[0], 90))
    with pytest.raises(VideoError, match=r"a\.zip cannot be read"):
        unpack(path)
