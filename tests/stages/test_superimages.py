import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qvpipe import files
from qvpipe.config import Settings, SuperimagesSettings
from qvpipe.stages.clean import clean
from qvpipe.stages.frames import frames
from qvpipe.stages.index import index
from qvpipe.stages.superimages import superimages
from qvpipe.video.choose import choose
from qvpipe.video.images import decode_jpeg, square
from qvpipe.video.quality import by_video
from qvpipe.video.store import unpack

pytestmark = pytest.mark.slow

Add = Callable[..., Path]
Label = Callable[[Mapping[str, Sequence[int]]], None]


@pytest.fixture
def judged(settings: Settings, add: Add, label: Label) -> Settings:
    add("a.mp4", codec="libx264", frames=30)
    add("b_1.mp4", codec="libx264", frames=2)
    label({"a.mp4": [0], "b_1.mp4": [1]})
    index(settings)
    frames(settings)
    clean(settings)
    return replace(settings, superimages=SuperimagesSettings(grid=2, tile=24, quality=100))


def test_the_chosen_frames_stand_on_the_tiles(
    judged: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    superimages(judged)
    assert sorted(path.name for path in files.SUPERIMAGES.iterdir()) == ["a.jpg", "b_1.jpg"]
    image = decode_jpeg(files.superimage("a").read_bytes())
    assert image.shape == (48, 48, 3)
    chosen = choose(by_video(files.read_table(files.CLEAN))["a"], 4)
    tiles = [square(frame, 24, "squash") for frame in unpack(files.frames_zip("a")).frames]
    for place, position in enumerate(chosen):
        top, left = place // 2 * 24, place % 2 * 24
        found = image[top : top + 24, left : left + 24].astype(int)
        assert int(np.argmin([np.abs(found - tile).mean() for tile in tiles])) == position
    assert "superimages: 2 videos in, 2 out" in capsys.readouterr().out


def test_only_what_changed_is_laid_out_again(
    judged: Settings, add: Add, label: Label, capsys: pytest.CaptureFixture[str]
) -> None:
    superimages(judged)
    before = {path.name: path.stat().st_mtime_ns for path in files.SUPERIMAGES.iterdir()}
    superimages(judged)
    assert {p.name: p.stat().st_mtime_ns for p in files.SUPERIMAGES.iterdir()} == before
    assert "0 of them new" in capsys.readouterr().out

    add("b_1.mp4", codec="libx264", frames=3)
    add("c.mp4", seed=3)
    label({"a.mp4": [0], "b_1.mp4": [1], "c.mp4": [2]})
    for stage in (index, frames, clean, superimages):
        stage(judged)
    after = {path.name: path.stat().st_mtime_ns for path in files.SUPERIMAGES.iterdir()}
    assert after.keys() == {"a.jpg", "b_1.jpg", "c.jpg"}
    assert after["a.jpg"] == before["a.jpg"]
    assert after["b_1.jpg"] != before["b_1.jpg"]

    superimages(replace(judged, superimages=replace(judged.superimages, quality=50)))
    assert files.superimage("a").stat().st_mtime_ns != before["a.jpg"]


def test_what_a_stopped_run_left_is_removed_or_made_whole(judged: Settings) -> None:
    superimages(judged)
    whole = {path.name: path.read_bytes() for path in files.SUPERIMAGES.iterdir()}
    files.superimage("a").write_bytes(whole["a.jpg"][:-20])
    (files.SUPERIMAGES / ".abc-a.jpg").write_bytes(b"half")
    (files.SUPERIMAGES / "gone.jpg").write_bytes(whole["a.jpg"])
    superimages(judged)
    assert {path.name: path.read_bytes() for path in files.SUPERIMAGES.iterdir()} == whole


def test_super_images_are_the_same_every_time(judged: Settings) -> None:
    superimages(judged)
    first = files.superimage("a").read_bytes()
    shutil.rmtree(files.SUPERIMAGES)
    superimages(replace(judged, compute=replace(judged.compute, workers=1)))
    assert files.superimage("a").read_bytes() == first
