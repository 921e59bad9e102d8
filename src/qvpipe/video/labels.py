"""Labels: which classes each item shows. A new format is a new reader here."""

import csv
import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from qvpipe.config import QVPIPE_CLASSES, RESERVED_COLUMNS
from qvpipe.errors import QvpipeError

FOLDERS = "folders"
"""What stands for a label file where the folders that items lie in tell their classes."""

Labels = Mapping[str, tuple[int, ...]]
"""Path of an item in the raw folder to the ascending indices of the classes that it shows."""

Stated = Mapping[str, tuple[int | str, ...]]
"""Path of an item in the raw folder to the classes as its source states them: index or name."""


class LabelError(QvpipeError):
    """Labels or class names that cannot be used; the message says why."""


def read_labels(path: Path, classes: Sequence[str], items: Iterable[str] = ()) -> Labels:
    """Read labels.

    Args:
        path: A file, see `read_stated`, or `folders`.
        classes: The names of the classes that indices count through.
        items: Whose folders tell their classes; without effect for a file.

    Raises:
        LabelError: If the file is missing, has another form, or names a class that there isn't.
    """
    stated = state_folders(items) if str(path) == FOLDERS else read_stated(path)
    return as_indices(stated, classes, str(path))


def read_stated(path: Path) -> Stated:
    """Read a label file as it stands.

    Args:
        path: One of three forms. A JSON object as QV-Pipe has it, file to a list of class indices.
            A JSON list of objects with `path` and `label`, a name or a list of names. A CSV with
            the columns `file` and `labels`, names joined by semicolons.

    Raises:
        LabelError: If the file is missing or has another form.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise LabelError(
            f"there is no label file {path}; put it there, or set data.labels to where it is"
        ) from None
    if path.suffix.lower() == ".csv":
        return _from_csv(text, path)
    try:
        tree = json.loads(text)
    except ValueError as error:
        raise LabelError(f"{path} is not valid JSON ({error}); write it anew") from None
    if isinstance(tree, list):
        return _from_list(tree, path)
    return _from_object(tree, path)


def state_folders(items: Iterable[str]) -> Stated:
    """Return as the class of each item the name of the folder that it lies in.

    Raises:
        LabelError: If an item lies in no folder.
    """
    stated = {item: (PurePosixPath(item).parent.name,) for item in items}
    for item, (name,) in stated.items():
        if not name:
            raise LabelError(
                f"{item} lies in no folder that would tell its class, as data.labels is "
                f"{FOLDERS}; move it into one"
            )
    return stated


def as_indices(stated: Stated, classes: Sequence[str], source: str) -> Labels:
    """Return labels as indices.

    Args:
        stated: The labels as they stand.
        classes: The names of the classes that indices count through.
        source: Where they stand, for messages.

    Raises:
        LabelError: If there is no such class.
    """
    number = {name: index for index, name in enumerate(classes)}

    def index(item: str, label: int | str) -> int:
        if isinstance(label, str):
            if label not in number:
                near = difflib.get_close_matches(label, number, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise LabelError(
                    f"{source}: {item} has the class {label!r}, which data.classes does not name"
                    f"{hint}"
                )
            return number[label]
        if not 0 <= label < len(classes):
            raise LabelError(
                f"{source}: {item} has the class index {label}; allowed is 0 to "
                f"{len(classes) - 1}, because there are {len(classes)} classes (data.classes)"
            )
        return label

    return {
        item: tuple(sorted({index(item, label) for label in labels}))
        for item, labels in stated.items()
    }


def read_class_names(source: str, path: Path, stated: Stated | None = None) -> tuple[str, ...]:
    """Return the names of the classes in the order of their indices.

    Args:
        source: `qvpipe`, `labels` for all names that the labels state, or anything else for a
            text file with one name on each line.
        path: That text file; not looked at otherwise.
        stated: The labels as they stand; looked at for `labels` alone.

    Raises:
        LabelError: If there are no names, a class is named twice, or one is named like a column of
            the table of predictions.
    """
    if source == "qvpipe":
        return QVPIPE_CLASSES
    if source == "labels":
        found = {label for labels in (stated or {}).values() for label in labels}
        names = tuple(sorted(label for label in found if isinstance(label, str)))
        if len(names) < len(found) or not names:
            raise LabelError(
                "data.classes is labels, but the labels state indices or nothing; set "
                "data.classes to a text file with one name on each line"
            )
        return _checked(names, "data.labels")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(
            f"the class names cannot be read from {path} ({error}); put one name on each line "
            "there, or set data.classes to qvpipe"
        ) from None
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise LabelError(f"{path} names no class; put one name on each line")
    return _checked(names, str(path))


def _checked(names: tuple[str, ...], source: str) -> tuple[str, ...]:
    for name in names:
        if names.count(name) > 1:
            raise LabelError(f"{source} names the class {name!r} twice; every name must be unique")
        if name.lower() in RESERVED_COLUMNS:
            raise LabelError(
                f"{source} names a class {name!r}, which is a column of every table of predictions "
                f"({', '.join(RESERVED_COLUMNS)}); name it otherwise"
            )
    return names


def _from_object(tree: Any, path: Path) -> Stated:  # noqa: ANN401 - whatever JSON can hold
    if not isinstance(tree, dict):
        raise LabelError(f'{path} must hold one object, such as {{"a.mp4": [1, 14]}}')
    for file, indices in tree.items():
        if not isinstance(indices, list) or not all(type(index) is int for index in indices):
            raise LabelError(
                f"{path}: {file} has {json.dumps(indices)}; allowed is a list of class indices, "
                "such as [1, 14], or [] for a video that shows nothing"
            )
    return {file: tuple(indices) for file, indices in tree.items()}


def _from_list(entries: Sequence[Any], path: Path) -> Stated:
    stated: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        fields: Mapping[str, Any] = entry if isinstance(entry, dict) else {}
        file, label = fields.get("path"), fields.get("label")
        names: list[Any] = label if isinstance(label, list) else [label]
        if not isinstance(file, str) or not all(isinstance(name, str) for name in names):
            raise LabelError(
                f"{path} has the entry {json.dumps(entry)}; allowed is an object such as "
                '{"path": "a.mp4", "label": "crack"}, or with a list of names'
            )
        _add(stated, file, names, path)
    return stated


def _from_csv(text: str, path: Path) -> Stated:
    rows = csv.DictReader(text.splitlines())
    if not {"file", "labels"} <= set(rows.fieldnames or ()):
        raise LabelError(
            f"{path} has the columns {', '.join(rows.fieldnames or ['none'])}; it must have file "
            "and labels"
        )
    stated: dict[str, tuple[str, ...]] = {}
    for row in rows:
        names = [name.strip() for name in (row["labels"] or "").split(";")]
        _add(stated, row["file"], [name for name in names if name], path)
    return stated


def _add(stated: dict[str, tuple[str, ...]], file: str, names: Sequence[str], path: Path) -> None:
    item = PurePosixPath(file).as_posix()
    if item in stated:
        raise LabelError(f"{path} names {file} twice; leave one of the two")
    stated[item] = tuple(names)
