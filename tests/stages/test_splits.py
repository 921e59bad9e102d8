from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from qvpipe import files
from qvpipe.config import Settings, SplitsSettings
from qvpipe.stages.clean import clean
from qvpipe.stages.frames import frames
from qvpipe.stages.index import index
from qvpipe.stages.splits import splits
from qvpipe.video.images import decode_jpeg

Add = Callable[..., Path]
Label = Callable[[Mapping[str, Sequence[int]]], None]


@pytest.fixture
def cleaned(settings: Settings, add: Add, label: Label) -> Settings:
    for number in range(6):
        add(f"v{number}.mp4", frames=12, seed=number)
    add("v0_again.avi", frames=12, seed=0, codec="mpeg2video")
    (add("x_1.mp4", seed=7), add("x_2.mp4", seed=8))
    names = [*(f"v{n}.mp4" for n in range(6)), "v0_again.avi", "x_1.mp4", "x_2.mp4"]
    label({name: [number % 2] for number, name in enumerate(names)})
    settings = replace(settings, splits=SplitsSettings(folds=2))
    for stage in (index, frames, clean):
        stage(settings)
    return settings


def test_twins_and_clips_of_one_inspection_share_a_fold(cleaned: Settings) -> None:
    for seed in range(3):
        splits(replace(cleaned, seed=seed))
        table = files.read_table(files.SPLITS).set_index("video")
        assert list(table.columns) == ["group", "fold"]
        assert len(table) == 9
        groups = table["group"].to_dict()
        assert groups["v0_again"] == groups["v0"] == "v0"
        assert groups["x_1"] == groups["x_2"] == "x"
        assert (table.groupby("group")["fold"].nunique() == 1).all()
        assert set(table["fold"]) == {0, 1}


def test_what_the_data_validate_and_test_on_stays_apart(
    settings: Settings, add: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, place in enumerate(["train", "valid", "test"]):
        for name in ("normal", "crack"):
            add(f"{place}/{name}/a.mp4", seed=10 * seed + len(name))
    add("test/crack/again.avi", seed=15, codec="mpeg2video")
    data = replace(settings.data, labels="folders", validation="valid", test="test")
    settings = replace(settings, data=data, splits=SplitsSettings(folds=2))
    add("train/crack/again.mp4", seed=25)
    for stage in (index, frames, clean, splits):
        stage(settings)
    table = files.read_splits()
    assert dict(zip(table["video"], table["fold"], strict=True)) == {
        "train__crack__a": 1, "train__crack__again": 1, "train__normal__a": 1,
        "valid__crack__a": 0, "valid__normal__a": 0,
    }  # fmt: skip
    assert set(table.loc[table["video"].str.contains("crack"), "labels"]) == {"1"}
    parts = files.read_table(files.INDEX)["part"].value_counts().to_dict()
    assert parts == {"": 3, "validation": 2, "test": 3}
    printed = capsys.readouterr().out
    assert "8 videos in, 5 out, 3 for the test, 0 unreadable" in printed
    assert "validated on 2 and learned from 3, as their folders say" in printed
    assert "items of different parts of the data show the same, test__crack__a" in printed


def test_the_balance_is_reported(cleaned: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    splits(cleaned)
    summary = files.read_json(files.SPLITS_METRICS)
    assert summary["videos"] == 9
    assert summary["groups"] == 7
    assert summary["groups_before_twins"] == 8
    assert 0 <= summary["imbalance"] <= 0.5
    assert "splits: 9 videos in, 9 out" in capsys.readouterr().out
    assert files.SPLITS_PLOT.read_bytes().startswith(b"\x89PNG")
    assert decode_jpeg(files.SPLITS_PLOT.read_bytes()).std() > 10


def test_videos_that_are_left_out_are_not_lost(
    cleaned: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    table = files.read_table(files.INDEX)
    table.loc[table["video"] == "v3", "status"] = "excluded"
    files.write_table(files.INDEX, table)
    capsys.readouterr()
    splits(cleaned)
    assert "splits: 8 videos in, 8 out, 0 unreadable or unlabelled" in capsys.readouterr().out
    assert "v3" not in set(files.read_table(files.SPLITS)["video"])
    assert decode_jpeg(files.DURATIONS_PLOT.read_bytes()).size
