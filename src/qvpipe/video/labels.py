"""Label files: which classes each video shows. A new format is a new reader here."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from qvpipe.config import QVPIPE_CLASSES, RESERVED_COLUMNS
from qvpipe.errors import QvpipeError

Labels = Mapping[str, tuple[int, ...]]
"""File name of a video to the ascending indices of the classes that it shows."""


class LabelError(QvpipeError):
    """A file of labels or of class names that cannot be used; the message says why."""


def read_labels(path: Path, classes: Sequence[str]) -> Labels:
    """Read a label file.

    Args:
        path: A QV-Pipe JSON: one object, file name to list of class indices.
        classes: The names of the classes that indices count through.

    Raises:
        LabelError: If the file is missing, has another form, or names a class that there isn't.
    """
    labels = _read_qvpipe(path)
    for file, indices in labels.items():
        for index in indices:
            if not 0 <= index < len(classes):
                raise LabelError(
                    f"{path}: {file} has the class index {index}; allowed is 0 to "
                    f"{len(classes) - 1}, because there are {len(classes)} classes (data.classes)"
                )
    return labels


def read_class_names(source: str, path: Path) -> tuple[str, ...]:
    """Return the names of the classes in the order of their indices.

    Args:
        source: `qvpipe`, or anything else for a text file with one name on each line.
        path: That text file; not looked at for `qvpipe`.

    Raises:
        LabelError: If the text file is missing or empty, names a class twice, or names one like a
            column of the table of predictions.
    """
    if source == "qvpipe":
        return QVPIPE_CLASSES
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
    for name in names:
        if names.count(name) > 1:
            raise LabelError(f"{path} names the class {name!r} twice; every name must be unique")
        if name.lower() in RESERVED_COLUMNS:
            raise LabelError(
                f"{path} names a class {name!r}, which is a column of every table of predictions "
                f"({', '.join(RESERVED_COLUMNS)}); name it otherwise"
            )
    return names


def _read_qvpipe(path: Path) -> Labels:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise LabelError(
            f"there is no label file {path}; put it there, or set data.labels to where it is"
        ) from None
    except ValueError as error:
        raise LabelError(f"{path} is not valid JSON ({error}); write it anew") from None
    if not isinstance(tree, dict):
        raise LabelError(f'{path} must hold one object, such as {{"a.mp4": [1, 14]}}')
    for file, indices in tree.items():
        if not isinstance(indices, list) or not all(type(index) is int for index in indices):
            raise LabelError(
                f"{path}: {file} has {json.dumps(indices)}; allowed is a list of class indices, "
                "such as [1, 14], or [] for a video that shows nothing"
            )
    return {file: tuple(sorted(set(indices))) for file, indices in tree.items()}
