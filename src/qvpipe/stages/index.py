"""List the raw videos with their labels: the only stage that looks into the raw folder."""

import csv
import io
import re
import tempfile
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qvpipe import files
from qvpipe.config import Settings
from qvpipe.errors import QvpipeError, run
from qvpipe.video.labels import Labels, read_class_names, read_labels
from qvpipe.video.measure import Measured, measure_all
from qvpipe.video.reader import ENDINGS

COLUMNS = [
    "video", "file", "group", "labels", "frames", "fps", "duration_s", "width", "height", "codec",
    "content", "status", "error",
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
    classes = read_class_names(settings.data.classes, files.raw(settings.data.classes))
    label_file = files.raw(settings.data.labels)
    labels = read_labels(label_file, classes)
    videos = _find_videos(folder, labels)
    _check_unique({*labels, *(path.name for path in videos)})

    measured = measure_all(videos, settings.compute, settings.frames.timeout_s, _cache())
    table = _table(
        dict(zip(videos, measured, strict=True)), labels, label_file.name, settings.data.group
    )
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


def _find_videos(folder: Path, labels: Labels) -> list[Path]:
    videos = sorted(
        path
        for path in folder.iterdir()
        if path.is_file()
        and not path.name.startswith(".")
        and (path.name in labels or path.suffix.lower() in ENDINGS)
    )
    if not videos:
        raise QvpipeError(
            f"{folder} holds no videos; put them there or set data.videos to where they are"
        )
    for path in videos:
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in path.name):
            raise QvpipeError(
                f"the name {path.name!a} in {folder} holds a line break, another control "
                "character or bytes that are no UTF-8; rename the file"
            )
    return videos


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
    measured: Mapping[Path, Measured], labels: Labels, label_file: str, group: str
) -> list[dict[str, Any]]:
    """Return a row for each video that the folder or the label file names, by id."""
    found = {path.name: result for path, result in measured.items()}
    rows = []
    for file in {**labels, **found}:
        result = found.get(file) or Measured(
            error=f"{label_file} names {file}, but there is no such file"
        )
        error = result.error
        if not error and file not in labels:
            error = f"no entry in {label_file}; add one ([] if it shows nothing) or remove the file"
        rows.append(
            {
                "video": _id(file),
                "file": file,
                "group": _group(_id(file), group),
                "labels": " ".join(map(str, labels.get(file, ()))),
                **_facts(result),
                "content": result.content,
                "status": "failed" if error else "ok",
                "error": error,
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
    return Path(file).stem


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
    failed = len(table) - len(usable)
    details = f", {failed} failed (see {files.INDEX})" if failed else ""
    print(f"index: {len(table)} videos in, {len(usable)} out{details}")
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
