from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from qvpipe.demo.encode import FORMATS, Format, write_video
from qvpipe.demo.noise import Picture


def moving_bar(frames: int) -> list[Picture]:
    pictures = np.full((frames, 96, 128, 3), 60, np.uint8)
    for k in range(frames):
        pictures[k, :, 2 * k : 2 * k + 16] = (40, 90, 220)
    return list(pictures)


@pytest.mark.parametrize("file_format", FORMATS, ids=lambda f: f"{f.codec}-{f.ending}")
def test_every_format_gives_back_its_pictures(tmp_path: Path, file_format: Format) -> None:
    pictures = moving_bar(40)
    path = tmp_path / f"x.{file_format.ending}"
    write_video(path, pictures, file_format, 25)
    with av.open(str(path)) as container:
        decoded = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    assert len(decoded) == 40
    for before, after in zip(pictures, decoded, strict=True):
        assert np.abs(before.astype(int) - after).mean() < 12


@pytest.mark.parametrize("file_format", FORMATS, ids=lambda f: f"{f.codec}-{f.ending}")
def test_every_format_gives_the_same_bytes_again(tmp_path: Path, file_format: Format) -> None:
    for name in ("a", "b"):
        write_video(tmp_path / name, moving_bar(20), file_format, 25)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_usual_format_has_b_frames(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", moving_bar(40), FORMATS[0], 25)
    with av.open(str(tmp_path / "a.mp4")) as container:
        kinds = {PictureType(frame.pict_type).name for frame in container.decode(video=0)}
    assert kinds == {"I", "P", "B"}
