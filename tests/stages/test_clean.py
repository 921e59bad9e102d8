import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from qvpipe import files
from qvpipe.config import CleanSettings, Settings
from qvpipe.stages.clean import clean
from qvpipe.stages.frames import frames
from qvpipe.stages.index import index
from qvpipe.video.quality import by_video, judge
from qvpipe.video.store import unpack

Add = Callable[..., Path]
Label = Callable[[Mapping[str, Sequence[int]]], None]


@pytest.fixture
def stored(settings: Settings, add: Add, label: Label) -> Settings:
    add("moving.mp4", codec="libx264", frames=30)
    add("short_1.mp4", codec="libx264", frames=2)
    broken = add("broken.mpeg", codec="mpeg2video", frames=1)
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    label({"moving.mp4": [0], "short_1.mp4": [1], "broken.mpeg": []})
    index(settings)
    frames(settings)
    return settings


def test_every_stored_frame_is_a_row(stored: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    clean(stored)
    table = files.read_table(files.CLEAN)
    assert list(table.columns) == [
        *["video", "position", "index", "time_s", "sharpness", "phash", "dropped"]
    ]
    assert table["video"].tolist() == ["moving"] * 9 + ["short_1"] * 9
    assert table["position"].tolist() == [*range(9), *range(9)]
    assert set(table["dropped"]) <= {"", "blurred", "duplicate"}
    kept = int((table["dropped"] == "").sum())
    short = table[table["video"] == "short_1"]
    assert short["dropped"].tolist().count("duplicate") >= 7
    printed = capsys.readouterr().out
    assert f"clean: 2 videos in, 2 out; 18 frames: {kept} kept" in printed


def test_the_table_holds_what_judging_in_memory_gives(stored: Settings) -> None:
    clean(stored)
    judged = by_video(files.read_table(files.CLEAN))
    assert judged["moving"] == judge(unpack(files.frames_zip("moving")).facts, stored.clean)


def test_pictures_are_opened_of_few_videos(
    stored: Settings, add: Add, label: Label, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        add(f"short{number}.mp4", frames=2 + number)
    names = ["moving.mp4", "short_1.mp4", *(f"short{number}.mp4" for number in range(4))]
    label({name: [0] for name in names})
    index(stored)
    frames(stored)
    opened = []

    def read(archive: zipfile.ZipFile, name: str) -> bytes:
        opened.append(Path(archive.filename or "").stem)
        with archive.open(name) as file:
            return file.read()

    monkeypatch.setattr(zipfile.ZipFile, "read", read)
    clean(replace(stored, clean=CleanSettings(blur_ratio=0)))
    table = files.read_table(files.CLEAN)
    dropped = {video: int((rows["dropped"] != "").sum()) for video, rows in table.groupby("video")}
    worst = sorted(dropped, key=lambda video: (-dropped[video], video))[:2]
    assert opened == [video for video in worst for _ in range(9)]


def test_the_picture_is_the_same_every_time_and_shows_the_verdicts(stored: Settings) -> None:
    clean(stored)
    first = files.CLEAN_PLOT.read_bytes()
    clean(stored)
    assert files.CLEAN_PLOT.read_bytes() == first
    clean(replace(stored, clean=CleanSettings(max_distance=-1)))
    assert files.CLEAN_PLOT.read_bytes() != first


def test_videos_that_show_the_same_are_a_table(stored: Settings, add: Add, label: Label) -> None:
    add("again.mpeg", codec="mpeg2video", frames=30)
    label({"moving.mp4": [0], "again.mpeg": [0], "short_1.mp4": [1]})
    index(stored)
    frames(stored)
    clean(stored)
    table = files.read_table(files.TWINS)
    pairs = set(zip(table["video"], table["twin"], strict=True))
    assert ("again", "moving") in pairs
    assert table["share"].between(stored.clean.twin_share, 1).all()
    clean(replace(stored, clean=CleanSettings(max_distance=-1)))
    assert files.read_table(files.TWINS).empty


def test_settings_decide(stored: Settings) -> None:
    clean(replace(stored, clean=CleanSettings(blur_ratio=0, max_distance=-1)))
    assert set(files.read_table(files.CLEAN)["dropped"]) == {""}
    clean(replace(stored, clean=CleanSettings(blur_ratio=0, max_distance=64)))
    kept = files.read_table(files.CLEAN).query("dropped == ''")
    assert kept["video"].tolist() == ["moving", "short_1"]
