"""Take candidate frames from every video that is new or has changed."""

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qvpipe import files
from qvpipe.compute.pool import SMALL_RESULTS, each
from qvpipe.config import FramesSettings, Settings
from qvpipe.errors import QvpipeError, run
from qvpipe.video.candidates import take_candidates
from qvpipe.video.reader import VideoError
from qvpipe.video.store import VERSION, Origin, pack, read_origin

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Row:
    """A row of `data/frames.csv`."""

    video: str
    content: str
    frames: int = 0
    pictures: int = 0
    status: str = "ok"
    error: str = ""
    note: str = ""


@dataclass(frozen=True)
class Task:
    """A video whose frames are to be stored."""

    video: str
    file: Path
    content: str
    settings: FramesSettings


def frames(settings: Settings) -> None:
    """Write `data/frames/<video>.zip` for every usable video of the index, and `data/frames.csv`.

    A zip that was made from the same bytes with the same settings stays, or is copied if the
    video has another name by now. What belongs to no video goes. Each zip is written whole or not
    at all, so the stage can be stopped at any moment.

    Raises:
        QvpipeError: If there is work to do and no raw folder, or if no video gives any frames.
    """
    import pandas as pd

    index = files.read_table(files.INDEX)
    usable = index[index["status"] == "ok"]
    folder = files.raw(settings.data.videos)
    tasks = [
        Task(row["video"], folder / row["file"], row["content"], settings.frames)
        for row in usable.to_dict("records")
    ]
    stored = _stored(settings.frames)
    rows = {
        task.video: _row(task, stored[task.video])
        for task in tasks
        if task.video in stored and stored[task.video].content == task.content
    }
    rows |= _copy_renamed([task for task in tasks if task.video not in rows], stored)
    files.keep_only(files.FRAMES, {files.frames_zip(task.video) for task in tasks})

    if not folder.is_dir():
        rows |= _failed_before(tasks)
    todo = [task for task in tasks if task.video not in rows]
    if todo and not folder.is_dir():
        raise QvpipeError(
            f"the frames of {len(todo)} videos are still to be taken and there is no folder "
            f"{folder}; put the videos there, or get the frames with `dvc pull`"
        )
    done = each(
        store, todo, settings.compute, "frames",
        timeout_s=settings.frames.timeout_s, lost=lost, ahead=SMALL_RESULTS,
    )  # fmt: skip
    rows |= {row.video: row for row in done}

    table = pd.DataFrame([asdict(rows[task.video]) for task in tasks])
    files.write_table(files.FRAMES_TABLE, table)
    _report(table)


def store(task: Task) -> Row:
    """Store the frames of one video; a video that cannot be read becomes a failed row."""
    try:
        sample = take_candidates(task.file, task.settings)
    except VideoError as error:
        return _failed(task, str(error))
    with files.replacing(files.frames_zip(task.video)) as temporary:
        temporary.write_bytes(pack(sample, task.settings, task.content))
    return _row(task, Origin(task.content, task.settings, sample.pictures, sample.note))


def _stored(settings: FramesSettings) -> dict[str, Origin]:
    """Return what each zip with these settings was made from, by the name of its video."""
    origins = {path.stem: read_origin(path) for path in files.FRAMES.glob("[!.]*.zip")}
    return {
        video: origin
        for video, origin in origins.items()
        if origin and (origin.settings, origin.version) == (settings, VERSION)
    }


def _copy_renamed(tasks: Sequence[Task], stored: Mapping[str, Origin]) -> dict[str, Row]:
    """Copy the frames of videos whose bytes are those of a video that has its frames."""
    sources = {origin.content: video for video, origin in stored.items()}
    rows = {}
    for task in tasks:
        source = sources.get(task.content)
        # Where two videos have changed names, the first copy took the place of the second's source.
        origin = source and read_origin(files.frames_zip(source))
        if source and origin == stored[source]:
            with files.replacing(files.frames_zip(task.video)) as temporary:
                shutil.copyfile(files.frames_zip(source), temporary)
            rows[task.video] = _row(task, stored[source])
    return rows


def lost(task: Task, reason: str) -> Row:
    """Return the row of a video that hung or crashed what read it."""
    return _failed(task, f"{task.file.name} {reason}")


def _failed(task: Task, error: str) -> Row:
    files.frames_zip(task.video).unlink(missing_ok=True)
    return Row(task.video, task.content, status="failed", error=error)


def _row(task: Task, origin: Origin) -> Row:
    return Row(
        task.video,
        task.content,
        frames=task.settings.count,
        pictures=origin.pictures,
        note=origin.note,
    )


def _failed_before(tasks: Collection[Task]) -> dict[str, Row]:
    """Return the rows of unchanged videos that could not be read the last time."""
    if not files.FRAMES_TABLE.is_file():
        return {}
    table = files.read_table(files.FRAMES_TABLE)
    failed = table[table["status"] == "failed"]
    errors = dict(
        zip(zip(failed["video"], failed["content"], strict=True), failed["error"], strict=True)
    )
    return {
        task.video: Row(
            task.video, task.content, status="failed", error=errors[task.video, task.content]
        )
        for task in tasks
        if (task.video, task.content) in errors
    }


def _report(table: "pd.DataFrame") -> None:
    done = int((table["status"] == "ok").sum())
    failed = len(table) - done
    if not done:
        raise QvpipeError(f"no video gives any frames, for one: {table['error'].iloc[0]}")
    details = f", {failed} failed (see {files.FRAMES_TABLE})" if failed else ""
    print(f"frames: {len(table)} videos in, {done} out{details}")
    partial = table[table["note"] != ""]
    if len(partial):
        print(
            f"warning: {len(partial)} videos are damaged or short (see note in "
            f"{files.FRAMES_TABLE})"
        )


def main() -> None:
    """Run the stage with the settings of params.yaml."""
    frames(files.read_settings())


if __name__ == "__main__":
    run(main)
