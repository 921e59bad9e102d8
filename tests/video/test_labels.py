import json
from pathlib import Path

import pytest

from qvpipe.config import QVPIPE_CLASSES
from qvpipe.video.labels import LabelError, read_class_names, read_labels, state_folders

CLASSES = ("normal", "crack", "roots")


def test_labels_are_read_sorted_and_once_each(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"a.mp4": [2, 0, 2], "b.mp4": []}))
    assert read_labels(path, CLASSES) == {"a.mp4": (0, 2), "b.mp4": ()}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not valid JSON"),
        ("1", "must hold one object"),
        ("[1]", "has the entry 1; allowed is an object"),
        ('{"a.mp4": 1}', r"a\.mp4 has 1; allowed is a list of class indices"),
        ('{"a.mp4": ["1"]}', r'a\.mp4 has \["1"\]'),
        ('{"a.mp4": [true]}', r"a\.mp4 has \[true\]"),
        ('{"a.mp4": [3]}', r"a\.mp4 has the class index 3; allowed is 0 to 2, .* 3 classes"),
        ('{"a.mp4": [-1]}', r"a\.mp4 has the class index -1"),
    ],
)
def test_what_does_not_fit_is_named(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(LabelError, match=reason):
        read_labels(path, CLASSES)


def test_labels_by_name_from_a_table_and_from_a_list(tmp_path: Path) -> None:
    table, entries = tmp_path / "labels.csv", tmp_path / "labels.json"
    table.write_text("file,labels\na.mp4,roots; crack\nsub/b.mp4,\n")
    entries.write_text(
        json.dumps(
            [{"path": "a.mp4", "label": ["crack", "roots"]}, {"path": "./c", "label": "crack"}]
        )
    )
    assert read_labels(table, CLASSES) == {"a.mp4": (1, 2), "sub/b.mp4": ()}
    assert read_labels(entries, CLASSES) == {"a.mp4": (1, 2), "c": (1,)}


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("l.csv", "file,label\n", "has the columns file, label; it must have file and labels"),
        ("l.csv", "file,labels\na,crak\n", "has the class 'crak', .* did you mean 'crack'"),
        ("l.csv", "file,labels\na,crack\na,roots\n", "names a twice"),
        ("l.json", '[{"path": "a"}]', r'has the entry \{"path": "a"\}; allowed is'),
    ],
)
def test_named_labels_that_do_not_fit(name: str, text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(LabelError, match=reason):
        read_labels(tmp_path / name, CLASSES)


def test_folders_tell_classes() -> None:
    stated = state_folders(["train/roots/a.jpg", "test/crack/a.jpg"])
    assert stated == {"train/roots/a.jpg": ("roots",), "test/crack/a.jpg": ("crack",)}
    assert read_class_names("labels", Path(), stated) == ("crack", "roots")
    with pytest.raises(LabelError, match=r"a\.jpg lies in no folder"):
        state_folders(["a.jpg"])
    with pytest.raises(LabelError, match="the labels state indices or nothing"):
        read_class_names("labels", Path(), {"a.mp4": (1,)})


def test_a_missing_label_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"no label file .*none\.json; .*data\.labels"):
        read_labels(tmp_path / "none.json", CLASSES)


def test_class_names(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("normal\n root intrusion \n\n")
    assert read_class_names("classes.txt", path) == ("normal", "root intrusion")
    assert read_class_names("qvpipe", tmp_path / "qvpipe") == QVPIPE_CLASSES


@pytest.mark.parametrize(
    ("text", "reason"),
    [(None, "cannot be read"), ("\n \n", "names no class"), ("a\nb\na\n", "the class 'a' twice")],
)
def test_class_names_that_cannot_be_used(text: str | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(LabelError, match=reason):
        read_class_names("classes.txt", path)


@pytest.mark.parametrize("name", ["video", "Status", "error", "labels"])
def test_a_class_cannot_be_named_like_a_column_of_predictions(tmp_path: Path, name: str) -> None:
    path = tmp_path / "classes.txt"
    path.write_text(f"crack\n{name}\n")
    with pytest.raises(LabelError, match=f"names a class '{name}', which is a column"):
        read_class_names(str(path), path)
