"""List the raw videos with their labels: the only stage that looks into the raw folder."""

import csv
import io
import os
import re
import tempfile
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qvpipe import files
from qvpipe.config import DataSettings, Settings
from qvpipe.errors import QvpipeError, run
from qvpipe.video.labels import (
    FOLDERS,
    Labels,
    as_indices,
    read_class_names,
    read_stated,
    state_folders,
)
from qvpipe.video.measure import Measured, measure_all
from qvpipe.video.reader import ENDINGS

COLUMNS = [
    "video", "file", "group", "part", "labels", "frames", "fps", "duration_s", "width", "height",
    "codec", "content", "status", "error",
]  # fmt: skip


def index(settings: Settings) -> None:
    """Write `data/index.csv` and `data/classes.txt`.

    A clone without raw videos keeps the index that it has.

    Raises:
        QvpipeError: If there is nothing to list, or the labels do not fit.
    """
    folder = files.raw(settings.data.videos)
    if not folder.is_dir():
        _keep_index(folder)
        return
    found = _find_files(folder)
    classes, labels = _read_labels(settings.data, found)
    items = [file for file in found if file in labels or Path(file).suffix.lower() in ENDINGS]
    if not items:
        raise QvpipeError(
            f"{folder} holds no videos; put them there or set data.videos to where they are"
        )
    _check_names(folder, items)
    _check_unique({*labels, *items})

    paths = [folder / file for file in items]
    measured = measure_all(paths, settings.compute, settings.frames.timeout_s, _cache())
    table = _table(settings, dict(zip(items, measured, strict=True)), labels)
    if not any(_is_usable(row) for row in table):
        first = table[0]
        raise QvpipeError(
            f"none of the {len(table)} videos can be used, {first['file']} for one: "
            f"{first['error']}"
        )
    _write_if_changed(files.INDEX, _csv(table))
    _write_if_changed(files.CLASSES, "".join(f"{name}\n" for name in classes))
    _report(table, classes)


def _keep_index(folder: Path) -> None:
    if not (files.INDEX.is_file() and files.CLASSES.is_file()):
        raise QvpipeError(
            f"there is no folder {folder}; put the videos there, set data.videos to where they "
            "are, or let `make demo` render some"
        )
    print(f"index: {folder} is not there, so {files.INDEX} stays as it is")


def _find_files(folder: Path) -> list[str]:
    """Return the paths of all files in a folder, relative to it, but for hidden ones."""
    found, entered = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        entered.add(os.path.realpath(place))
        inside = Path(place).relative_to(folder)
        found += [(inside / name).as_posix() for name in names if not name.startswith(".")]
        folders[:] = [
            name
            for name in folders
            # A link may lead back to a folder that it lies in.
            if not name.startswith(".") and os.path.realpath(Path(place, name)) not in entered
        ]
    return sorted(file for file in found if (folder / file).is_file())


def _read_labels(data: DataSettings, found: Sequence[str]) -> tuple[tuple[str, ...], Labels]:
    """Return the names of the classes and the labels of the items."""
    if data.labels == FOLDERS:
        stated = state_folders(file for file in found if Path(file).suffix.lower() in ENDINGS)
    else:
        stated = read_stated(files.raw(data.labels))
    classes = read_class_names(data.classes, files.raw(data.classes), stated)
    return classes, as_indices(stated, classes, str(files.raw(data.labels)))


def _check_names(folder: Path, items: Iterable[str]) -> None:
    for item in items:
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in item):
            raise QvpipeError(
                f"the name {item!a} in {folder} holds a line break, another control character or "
                "bytes that are no UTF-8; rename the file"
            )


def _check_unique(names: Iterable[str]) -> None:
    same = defaultdict(list)
    for name in sorted(names):
        same[_id(name)].append(name)
    for video, twins in same.items():
        if len(twins) > 1:
            raise QvpipeError(
                f"{' and '.join(twins)} share the id {video!r}; rename all but one of them, in "
                "the folder and in the label file"
            )


def _table(
    settings: Settings, found: Mapping[str, Measured], labels: Labels
) -> list[dict[str, Any]]:
    """Return a row for each item that the folder or the label file names, by id."""
    label_file = Path(settings.data.labels).name
    rows = []
    for file in {**labels, **found}:
        result = found.get(file) or Measured(
            error=f"{label_file} names {file}, but there is no such file"
        )
        error = result.error
        if not error and file not in labels:
            error = f"no entry in {label_file}; add one ([] if it shows nothing) or remove the file"
        if not error and settings.task == "multiclass" and len(labels[file]) != 1:
            error = f"has {len(labels[file])} classes, and task is multiclass; give it exactly one"
        reason = _excluded(result, settings.data)
        status = "failed" if error else "excluded" if reason else "ok"
        rows.append(
            {
                "video": _id(file),
                "file": file,
                "group": _group(_id(file), settings.data.group),
                "part": _part(file, settings.data),
                "labels": " ".join(map(str, labels.get(file, ()))),
                **_facts(result),
                "content": result.content,
                "status": status,
                "error": error or reason,
            }
        )
    return sorted(rows, key=lambda row: str(row["video"]))


def _csv(table: Sequence[Mapping[str, Any]]) -> str:
    # Not with Pandas: starting it takes as long as all else where nothing changed.
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return buffer.getvalue()


def _excluded(result: Measured, data: DataSettings) -> str:
    """Return why the settings leave a video out; '' if they do not."""
    if result.probe is None:
        return ""
    seconds = round(result.probe.duration_s, 3)
    if data.shortest_s is not None and seconds < data.shortest_s:
        return f"shorter than {data.shortest_s:g} s (data.shortest_s)"
    if data.longest_s is not None and seconds > data.longest_s:
        return f"longer than {data.longest_s:g} s (data.longest_s)"
    return ""


def _facts(result: Measured) -> dict[str, object]:
    if result.probe is None:
        return {}
    return {
        "frames": result.probe.frames,
        "fps": round(result.probe.fps, 4),
        "duration_s": round(result.probe.duration_s, 3),
        "width": result.probe.width,
        "height": result.probe.height,
        "codec": result.probe.codec,
    }


def _id(file: str) -> str:
    """Return a path without its ending as a name that can be a file's."""
    return "__".join(Path(file).with_suffix("").parts)


def _part(file: str, data: DataSettings) -> str:
    """Return `validation` or `test` for an item whose folder a setting names so, otherwise ''."""
    first = Path(file).parts[0]
    if first == data.validation:
        return "validation"
    return "test" if first == data.test else ""


def _group(video: str, pattern: str) -> str:
    match = re.fullmatch(pattern, video)
    return match[1] if match and match[1] else video


def _cache() -> Path:
    dvc = files.repository() / ".dvc"
    place = dvc / "tmp" if dvc.is_dir() else Path(tempfile.gettempdir())
    return place / "qvpipe" / "index.jsonl"


def _write_if_changed(path: Path, text: str) -> None:
    """Write a text, but leave an equal file its time of change."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    with files.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _report(table: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> None:
    usable = [row for row in table if _is_usable(row)]
    failed = sum(row["status"] == "failed" for row in table)
    excluded = Counter(row["error"] for row in table if row["status"] == "excluded")
    details = [f"{count} {reason}" for reason, count in excluded.most_common()]
    details += [f"{failed} failed (see {files.INDEX})"] if failed else []
    print(f"index: {', '.join([f'{len(table)} videos in', f'{len(usable)} out', *details])}")
    shown = {int(label) for row in usable for label in row["labels"].split()}
    absent = [name for number, name in enumerate(classes) if number not in shown]
    if absent:
        print(f"warning: no usable video shows {', '.join(absent)}")


def _is_usable(row: Mapping[str, Any]) -> bool:
    return bool(row["status"] == "ok")


def main() -> None:
    """Run the stage with the settings of params.yaml."""
    index(files.read_settings())


if __name__ == "__main__":
    run(main)
