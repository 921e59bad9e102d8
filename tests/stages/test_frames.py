import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from qvpipe import files
from qvpipe.compute.pool import each
from qvpipe.config import ComputeSettings, Settings, as_tree
from qvpipe.errors import QvpipeError
from qvpipe.stages import frames as stage
from qvpipe.stages.frames import Row, Task, frames
from qvpipe.stages.index import index
from qvpipe.video.store import unpack

pytestmark = pytest.mark.slow

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
    assert [f.index for f in stored.facts] == [1, 5, 8, 11, 15, 18, 21, 25, 28]
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


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded from now on."""
    names: list[str] = []

    def watched(
        work: Callable[[Task], Row],
        tasks: Sequence[Task],
        compute: ComputeSettings,
        title: str,
        **options: object,
    ) -> Iterator[Row]:
        names.extend(task.file.name for task in tasks)
        return each(work, tasks, compute, title)

    monkeypatch.setattr(stage, "each", watched)
    return names


def test_a_video_with_another_name_is_not_decoded_again(
    three: Settings, label: Label, decoded: list[str]
) -> None:
    three = replace(three, compute=replace(three.compute, workers=1))
    frames(three)
    whole = files.frames_zip("a").read_bytes()
    decoded.clear()
    (RAW / "c.mpeg").unlink()
    (RAW / "a.mp4").rename(RAW / "renamed.mp4")
    shutil.copy(RAW / "b.mp4", RAW / "copied.mp4")
    label({"renamed.mp4": [0], "b.mp4": [1], "copied.mp4": [1]})
    index(three)
    frames(three)
    assert decoded == []
    assert changed_at().keys() == {"renamed.zip", "b.zip", "copied.zip"}
    assert files.frames_zip("renamed").read_bytes() == whole
    table = files.read_table(files.FRAMES_TABLE)
    assert table["pictures"].tolist() == [6, 6, 30]


def test_videos_that_change_names_with_each_other_keep_their_own_frames(three: Settings) -> None:
    frames(three)
    a, b = (files.frames_zip(video).read_bytes() for video in "ab")
    (RAW / "a.mp4").rename(RAW / "x")
    (RAW / "b.mp4").rename(RAW / "a.mp4")
    (RAW / "x").rename(RAW / "b.mp4")
    index(three)
    frames(three)
    assert files.frames_zip("a").read_bytes() == b
    assert files.frames_zip("b").read_bytes() == a


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
    (files.FRAMES / "notes.txt").write_text("of someone else")
    (files.FRAMES / "folder").mkdir()
    (files.FRAMES / "folder/a.zip").touch()
    files.FRAMES_TABLE.unlink()
    frames(three)
    assert changed_at().keys() == {"a.zip", "b.zip"}
    assert files.frames_zip("b").read_bytes() == whole


HOSTILE = """
import os, signal, sys, time
from qvpipe.errors import run
from qvpipe.stages import frames as stage

take_candidates = stage.take_candidates

def hostile(path, settings):
    if path.name == "crash.mp4":
        os.kill(os.getpid(), signal.SIGSEGV)
    if path.name == "hang.mp4":
        time.sleep(600)
    return take_candidates(path, settings)

stage.take_candidates = hostile
if __name__ == "__main__":
    # A shell lets what it runs in the background ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run(stage.main)
"""
"""The stage with a decoder that crashes on one file and hangs on another."""


def start_hostile(settings: Settings) -> subprocess.Popen[str]:
    Path("params.yaml").write_text(yaml.safe_dump(as_tree(settings)))
    Path("hostile.py").write_text(HOSTILE)
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "hostile.py"], stdout=pipe, stderr=pipe, text=True)


def test_a_crash_or_a_hang_costs_one_video(settings: Settings, add: Add, label: Label) -> None:
    names = ["a", "crash", "hang", "z"]
    for name in names:
        add(f"{name}.mp4", seed=names.index(name))
    label({f"{name}.mp4": [0] for name in names})
    index(settings)
    limited = replace(settings, frames=replace(settings.frames, timeout_s=4))
    printed, errors = start_hostile(limited).communicate(timeout=120)
    assert "frames: 4 videos in, 2 out, 2 failed (see data/frames.csv)" in printed, errors
    table = files.read_table(files.FRAMES_TABLE)
    assert table["error"].tolist() == [
        "",
        "crash.mp4 crashed the process that worked on it (signal 11)",
        "hang.mp4 took longer than frames.timeout_s (4 s)",
        "",
    ]
    before = changed_at()
    assert before.keys() == {"a.zip", "z.zip"}
    frames(settings)
    assert changed_at().keys() == {"a.zip", "crash.zip", "hang.zip", "z.zip"}
    assert {name: changed_at()[name] for name in before} == before


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_keeps_what_is_finished(
    how: signal.Signals, settings: Settings, add: Add, label: Label
) -> None:
    add("a.mp4")
    add("hang.mp4", seed=1)
    label({"a.mp4": [0], "hang.mp4": [0]})
    index(settings)
    process = start_hostile(settings)
    deadline = time.monotonic() + 60
    while not files.frames_zip("a").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    before = changed_at()
    process.send_signal(how)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    assert ("stopped; what was finished is kept" in errors) == (how == signal.SIGINT)
    frames(settings)
    assert changed_at()["a.zip"] == before["a.zip"]
    assert changed_at().keys() == {"a.zip", "hang.zip"}


def test_another_limit_of_time_takes_no_frames_again(three: Settings) -> None:
    frames(three)
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in zips()}
    limited = replace(three, frames=replace(three.frames, timeout_s=40))
    frames(limited)
    assert {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in zips()} == before
    shutil.rmtree(files.FRAMES)
    frames(limited)
    assert {p.name: p.read_bytes() for p in zips()} == {n: b for n, (_, b) in before.items()}


def zips() -> list[Path]:
    return sorted(files.FRAMES.iterdir())


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
    assert {f.index for f in unpack(files.frames_zip("b")).facts} == {0, 1, 2, 3, 4, 5}


def test_processes_that_take_frames_do_not_wait_for_pandas() -> None:
    code = "import sys, qvpipe.stages.frames; print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
