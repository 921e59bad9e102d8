import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from qvpipe import files
from qvpipe.config import Settings
from qvpipe.errors import QvpipeError
from qvpipe.stages.frames import frames
from qvpipe.stages.index import index

Add = Callable[..., Path]
Label = Callable[[Mapping[str, Sequence[int]]], None]
RAW = Path("raw/videos")
LABELS = Path("raw/labels.json")


def test_every_column_is_filled(settings: Settings, add: Add, label: Label) -> None:
    add("26518_4.mp4", size=(80, 48), frames=12)
    add("a.b.avi")
    label({"26518_4.mp4": [2, 1], "a.b.avi": []})
    index(settings)
    table = files.read_table(files.INDEX)
    assert list(table.columns) == [
        *["video", "file", "group", "part", "labels", "frames", "fps", "duration_s", "width"],
        *["height", "codec", "content", "status", "error"],
    ]
    first, second = table.to_dict("records")
    assert len(str(first.pop("content"))) == 32
    assert first == {
        "video": "26518_4", "file": "26518_4.mp4", "group": "26518", "part": "", "labels": "1 2",
        "frames": 12, "fps": 25, "duration_s": 0.48, "width": 80, "height": 48, "codec": "mpeg4",
        "status": "ok", "error": "",
    }  # fmt: skip
    assert (second["video"], second["group"], second["labels"]) == ("a.b", "a.b", "")
    assert files.read_classes() == ["normal", "crack", "roots"]


def test_a_single_choice_wants_one_class(settings: Settings, add: Add, label: Label) -> None:
    for name in ("none.mp4", "one.mp4", "two.mp4"):
        add(name)
    label({"none.mp4": [], "one.mp4": [1], "two.mp4": [0, 1]})
    index(replace(settings, task="multiclass"))
    table = files.read_table(files.INDEX).set_index("video")
    assert table["status"].to_dict() == {"none": "failed", "one": "ok", "two": "failed"}
    assert table.loc["two", "error"] == (
        "has 2 classes, and task is multiclass; give it exactly one"
    )


def test_what_cannot_be_used_is_a_row_with_the_reason(
    settings: Settings, add: Add, capsys: pytest.CaptureFixture[str], label: Label
) -> None:
    add("good.mp4")
    add("unlabelled.mp4")
    (RAW / "empty.mp4").touch()
    (RAW / "text.mp4").write_text("This is a text.\n" * 20)
    (RAW / ".hidden.mp4").touch()
    (RAW / "notes.txt").touch()
    label({"good.mp4": [0], "empty.mp4": [1], "text.mp4": [1], "absent.mp4": [2]})
    index(settings)
    table = files.read_table(files.INDEX).set_index("video")
    assert list(table.index) == ["absent", "empty", "good", "text", "unlabelled"]
    assert table["status"].tolist() == ["failed", "failed", "ok", "failed", "failed"]
    assert table.loc["absent", "error"] == "labels.json names absent.mp4, but there is no such file"
    assert table.loc["empty", "error"] == "empty.mp4 is empty (0 bytes)"
    assert table.loc["text", "error"] == "text.mp4 is a text file, not a video"
    assert table.loc["unlabelled", "error"] == (
        "no entry in labels.json; add one ([] if it shows nothing) or remove the file"
    )
    printed = capsys.readouterr().out
    assert "index: 5 videos in, 1 out, 4 failed (see data/index.csv)" in printed
    assert "warning: no usable video shows crack, roots" in printed


def test_a_file_with_any_ending_counts_if_it_has_labels(
    settings: Settings, add: Add, label: Label
) -> None:
    add("clip.mp4").rename(RAW / "clip.dat")
    label({"clip.dat": [1]})
    index(settings)
    assert files.read_table(files.INDEX)["status"].tolist() == ["ok"]


def test_nothing_is_read_or_written_again_unless_it_changed(
    settings: Settings, add: Add, capsys: pytest.CaptureFixture[str], label: Label
) -> None:
    add("a.mp4")
    add("b.mp4")
    label({"a.mp4": [0], "b.mp4": [1]})
    index(settings)
    assert Path(".dvc/tmp/qvpipe/index.jsonl").is_file()
    before = files.INDEX.stat()
    capsys.readouterr()
    index(settings)
    assert "index: 2 videos in" in (bar := capsys.readouterr()).out
    assert bar.err == ""
    assert files.INDEX.stat() == before

    add("b.mp4", frames=8)
    index(settings)
    assert "| 1/1 [" in capsys.readouterr().err
    assert files.read_table(files.INDEX)["frames"].tolist() == [6, 8]

    Path(".dvc/tmp/qvpipe/index.jsonl").write_text('{"a": 1}')
    index(settings)
    assert "| 2/2 [" in capsys.readouterr().err


def test_the_same_bytes_have_the_same_content(settings: Settings, add: Add, label: Label) -> None:
    (RAW / "b.mp4").write_bytes(add("a.mp4").read_bytes())
    add("c.mp4", seed=1)
    label({"a.mp4": [0], "b.mp4": [1], "c.mp4": []})
    index(settings)
    a, b, c = files.read_table(files.INDEX)["content"]
    assert a == b != c


def test_without_the_raw_folder_the_index_stays(
    settings: Settings, add: Add, capsys: pytest.CaptureFixture[str], label: Label
) -> None:
    add("a.mp4")
    label({"a.mp4": [0]})
    index(settings)
    before = files.INDEX.read_text()
    RAW.rename("elsewhere")
    LABELS.unlink()
    index(settings)
    assert files.INDEX.read_text() == before
    assert "so data/index.csv stays as it is" in capsys.readouterr().out


def test_raw_videos_lie_in_the_repository_also_for_temporary_experiments(
    settings: Settings, add: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: Label
) -> None:
    add("a.mp4")
    label({"a.mp4": [0]})
    (tmp_path / "experiment").mkdir()
    monkeypatch.chdir(tmp_path / "experiment")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    index(settings)
    assert (tmp_path / "experiment" / files.INDEX).is_file()
    assert not (tmp_path / files.INDEX).exists()


def no_folder(_add: Add, _label: Label) -> None:
    RAW.rmdir()


def no_videos(_add: Add, label: Label) -> None:
    label({})


def no_labels(add: Add, _label: Label) -> None:
    add("a.mp4")


def no_usable(add: Add, label: Label) -> None:
    add("a.mp4")
    label({"b.mp4": [0]})


def twins(add: Add, label: Label) -> None:
    add("a.mp4")
    add("a.avi")
    label({"a.mp4": [0]})


def line_break(add: Add, label: Label) -> None:
    add("a.mp4").rename(RAW / "a\nb.mp4")
    label({"a\nb.mp4": [0]})


def no_utf8(add: Add, label: Label) -> None:
    add("a.mp4").rename(RAW / os.fsdecode(b"a\xff.mp4"))
    label({"a.mp4": [0]})


def unknown_class(add: Add, label: Label) -> None:
    add("a.mp4")
    label({"a.mp4": [3]})


def no_classes(add: Add, label: Label) -> None:
    add("a.mp4")
    label({"a.mp4": [0]})
    Path("raw/classes.txt").unlink()


@pytest.mark.parametrize(
    ("arrange", "reason"),
    [
        (no_folder, "no folder .*videos; put the videos there, .*make demo"),
        (no_videos, "holds no videos; put them there"),
        (no_labels, r"no label file .*labels\.json; put it there"),
        (no_usable, r"none of the 2 videos can be used, a\.mp4 for one: no entry in"),
        (twins, r"a\.avi and a\.mp4 share the id 'a'; rename"),
        (line_break, r"the name 'a\\nb\.mp4' in .* holds a line break.*; rename the file"),
        (no_utf8, r"the name 'a\\udcff\.mp4' in .* bytes that are no UTF-8; rename the file"),
        (unknown_class, r"a\.mp4 has the class index 3; allowed is 0 to 2"),
        (no_classes, "class names cannot be read"),
    ],
)
def test_what_a_person_must_mend_is_one_sentence(
    arrange: Callable[[Add, Label], None], reason: str, settings: Settings, add: Add, label: Label
) -> None:
    arrange(add, label)
    with pytest.raises(QvpipeError, match=reason) as error:
        index(settings)
    assert "\n" not in str(error.value)
    assert not files.INDEX.exists()


def test_folders_and_pipes_with_names_of_videos_hold_nothing_up(
    settings: Settings, add: Add, label: Label
) -> None:
    add("good.mp4")
    add(f"{'l' * 251}.mp4")
    (RAW / "folder.mp4").mkdir()
    os.mkfifo(RAW / "pipe.mp4")
    (RAW / "loop.mp4").symlink_to("loop.mp4")
    (RAW / "back").symlink_to(".")
    label({"good.mp4": [0], "folder.mp4": [0], "pipe.mp4": [0], f"{'l' * 251}.mp4": [1]})
    index(settings)
    table = files.read_table(files.INDEX).set_index("video")
    assert table["status"].to_dict() == {
        "folder": "failed", "good": "ok", "l" * 251: "ok", "pipe": "failed",
    }  # fmt: skip
    frames(settings)
    assert files.frames_zip("l" * 251).is_file()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_a_failed_row(
    settings: Settings, add: Add, label: Label
) -> None:
    add("good.mp4")
    add("secret.mp4").chmod(0)
    label({"good.mp4": [0], "secret.mp4": [0]})
    index(settings)
    table = files.read_table(files.INDEX).set_index("video")
    assert "Permission denied" in str(table.loc["secret", "error"])


def test_durations_leave_videos_out(
    settings: Settings, add: Add, label: Label, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, pictures in (("brief", 25), ("middle", 50), ("long", 75), ("longer", 100)):
        add(f"{name}.mp4", frames=pictures)
    (RAW / "broken.mp4").write_bytes(b"")
    label({f"{name}.mp4": [0] for name in ("brief", "middle", "long", "longer", "broken")})
    index(replace(settings, data=replace(settings.data, shortest_s=1.5, longest_s=2.5)))
    table = files.read_table(files.INDEX).set_index("video")
    assert table["status"].to_dict() == {
        "brief": "excluded", "broken": "failed", "long": "excluded", "longer": "excluded",
        "middle": "ok",
    }  # fmt: skip
    assert table.loc["brief", "error"] == "shorter than 1.5 s (data.shortest_s)"
    assert table.loc["longer", "duration_s"] == 4
    assert capsys.readouterr().out.startswith(
        "index: 5 videos in, 1 out, 2 longer than 2.5 s (data.longest_s), 1 shorter than 1.5 s "
        "(data.shortest_s), 1 failed (see data/index.csv)"
    )
