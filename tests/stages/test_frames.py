import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qvpipe import files
from qvpipe.config import FramesSettings, Settings
from qvpipe.errors import QvpipeError
from qvpipe.stages import frames as stage
from qvpipe.stages.frames import frames
from qvpipe.stages.index import index
from qvpipe.video.candidates import take_candidates
from qvpipe.video.store import unpack

Add = Callable[..., Path]
Label = Callable[[Mapping[str, Sequence[int]]], None]
RAW = Path("raw/videos")


@pytest.fixture
def three(settings: Settings, add: Add, label: Label) -> Settings:
    """Two sound videos and one that opens but cannot be decoded, in the index."""
    add("a.mp4", codec="libx264", frames=30, size=(96, 64))
    add("b.mp4")
    broken = add("c.mpeg", codec="mpeg2video", frames=1)
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    label({"a.mp4": [0], "b.mp4": [1], "c.mpeg": [2]})
    index(settings)
    return settings


def changed_at() -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in files.FRAMES.iterdir()}


def test_every_video_gets_its_frames_or_a_reason(
    three: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    frames(three)
    table = files.read_table(files.FRAMES_TABLE)
    assert list(table.columns) == [
        *["video", "content", "frames", "pictures", "status", "error", "note"]
    ]
    assert table["video"].tolist() == ["a", "b", "c"]
    assert table["frames"].tolist() == [9, 9, 0]
    assert table["pictures"].tolist() == [30, 6, 0]
    assert table["status"].tolist() == ["ok", "ok", "failed"]
    assert "c.mpeg" in table["error"].tolist()[2]
    assert table["content"].tolist() == files.read_table(files.INDEX)["content"].tolist()
    assert changed_at().keys() == {"a.zip", "b.zip"}
    stored = unpack(files.frames_zip("a"))
    assert stored.frames.shape == (9, 48, 72, 3)
    assert stored.indices.tolist() == [1, 5, 8, 11, 15, 18, 21, 25, 28]
    printed = capsys.readouterr().out
    assert "frames: 3 videos in, 2 out, 1 failed (see data/frames.csv)" in printed


def test_what_is_up_to_date_stays(three: Settings) -> None:
    frames(three)
    before, table = changed_at(), files.FRAMES_TABLE.read_bytes()
    frames(three)
    assert changed_at() == before
    assert files.FRAMES_TABLE.read_bytes() == table


def test_only_what_changed_is_done_again(three: Settings, add: Add, label: Label) -> None:
    frames(three)
    before = changed_at()
    add("b.mp4", frames=8)
    add("d.mp4", seed=3)
    (RAW / "a.mp4").unlink()
    label({"b.mp4": [1], "d.mp4": [2]})
    index(three)
    frames(three)
    assert changed_at().keys() == {"b.zip", "d.zip"}
    assert changed_at()["b.zip"] != before["b.zip"]
    assert files.read_table(files.FRAMES_TABLE)["pictures"].tolist() == [8, 6]


def test_other_settings_take_all_frames_again(three: Settings) -> None:
    frames(three)
    other = replace(three, frames=replace(three.frames, count=10))
    frames(other)
    assert len(unpack(files.frames_zip("a")).frames) == 10
    assert files.read_table(files.FRAMES_TABLE)["frames"].tolist() == [10, 10, 0]


def test_what_a_stopped_run_left_is_removed_or_made_whole(three: Settings) -> None:
    frames(three)
    (files.FRAMES / ".abc-a.zip").write_bytes(b"half")
    (files.FRAMES / "gone.zip").write_bytes(b"of no video")
    whole = files.frames_zip("b").read_bytes()
    files.frames_zip("b").write_bytes(whole[:100])
    files.FRAMES_TABLE.unlink()
    frames(three)
    assert changed_at().keys() == {"a.zip", "b.zip"}
    assert files.frames_zip("b").read_bytes() == whole


def test_a_stopped_run_keeps_what_is_finished(
    three: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = replace(three, compute=replace(three.compute, workers=1))

    def stop_at_b(path: Path, settings: FramesSettings) -> object:
        if path.name == "b.mp4":
            raise KeyboardInterrupt
        return take_candidates(path, settings)

    monkeypatch.setattr(stage, "take_candidates", stop_at_b)
    with pytest.raises(KeyboardInterrupt):
        frames(three)
    assert changed_at().keys() == {"a.zip"}
    before = changed_at()
    monkeypatch.setattr(stage, "take_candidates", take_candidates)
    frames(three)
    assert changed_at()["a.zip"] == before["a.zip"]
    assert changed_at().keys() == {"a.zip", "b.zip"}


def test_finished_frames_need_no_raw_folder(three: Settings) -> None:
    frames(three)
    before = files.FRAMES_TABLE.read_bytes()
    shutil.rmtree(RAW)
    frames(three)
    assert files.FRAMES_TABLE.read_bytes() == before


def test_work_without_a_raw_folder_is_one_clear_sentence(three: Settings) -> None:
    frames(three)
    files.frames_zip("a").unlink()
    shutil.rmtree(RAW)
    with pytest.raises(
        QvpipeError, match=r"frames of 1 videos are still to be taken .*raw/videos; .*dvc pull"
    ):
        frames(three)


def test_no_frames_at_all_is_an_error(settings: Settings, add: Add, label: Label) -> None:
    broken = add("c.mpeg", codec="mpeg2video", frames=1)
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    label({"c.mpeg": [2]})
    index(settings)
    with pytest.raises(QvpipeError, match=r"no video gives any frames, for one: c\.mpeg"):
        frames(settings)


def test_a_video_that_broke_off_says_so(
    settings: Settings, add: Add, label: Label, capsys: pytest.CaptureFixture[str]
) -> None:
    path = add("a.flv", codec="flv", frames=40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    label({"a.flv": [0]})
    index(settings)
    frames(settings)
    (note,) = files.read_table(files.FRAMES_TABLE)["note"]
    assert note.startswith("only ")
    assert "warning: 1 videos are damaged or short" in capsys.readouterr().out
    frames(settings)
    assert files.read_table(files.FRAMES_TABLE)["note"].tolist() == [note]


def test_the_number_of_processes_changes_nothing(three: Settings) -> None:
    frames(replace(three, compute=replace(three.compute, workers=1)))
    alone = {path.name: path.read_bytes() for path in files.FRAMES.iterdir()}
    shutil.rmtree(files.FRAMES)
    frames(replace(three, compute=replace(three.compute, workers=2)))
    assert {path.name: path.read_bytes() for path in files.FRAMES.iterdir()} == alone
    assert np.unique(unpack(files.frames_zip("b")).indices).tolist() == [0, 1, 2, 3, 4, 5]
