"""Rendering of a whole demo set."""

import csv
import json
import multiprocessing
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import cv2
from tqdm import tqdm

from qvpipe.config import QVPIPE_CLASSES
from qvpipe.demo import store
from qvpipe.demo.clip import stage_clip
from qvpipe.demo.encode import write_video
from qvpipe.demo.journey import FPS
from qvpipe.demo.picture import Renderer
from qvpipe.demo.plan import Clip, plan_clips
from qvpipe.demo.truth import Visible, boxes_of
from qvpipe.errors import QvpipeError

_COLUMNS = ("video", "class", "time_s", "x0", "y0", "x1", "y1")


def render_demo(folder: Path, videos: int = 150, seed: int = 0, workers: int | None = None) -> None:
    """Render a synthetic data set in the layout of QV-Pipe.

    Writes `track1_raw_video/`, `qv_pipe_train.json` (file name to class indices), `visible.csv`
    (one row for every 0.2 s in which a defect can be seen, with its box) and `demo.json` (what
    was rendered). Does nothing if the folder holds this very set; goes on where a killed run
    was. Same `videos` and `seed`, same bytes.

    Args:
        folder: Where to write; made if it doesn't exist.
        videos: Number of clips, at least 1.
        seed: Another seed gives another set.
        workers: Number of processes; None takes one for each CPU core.

    Raises:
        QvpipeError: `videos` or `workers` is below 1, or the folder holds other data.
    """
    if videos < 1:
        raise QvpipeError(f"videos is {videos}: it must be at least 1")
    if workers is not None and workers < 1:
        raise QvpipeError(f"workers is {workers}: it must be at least 1")
    folder = Path(folder)
    wanted = store.SetId(videos, seed)
    if store.is_finished(folder, wanted):
        print(f"{folder} holds this demo set already")
        return
    store.refuse_foreign_data(folder, wanted)
    workplace = store.open_workplace(folder, wanted)
    clips = plan_clips(videos, seed)
    _render_clips(clips, seed, workplace / store.RAW, workers or os.cpu_count() or 1)
    labels = {clip.name: clip.labels for clip in clips}
    (workplace / store.LABELS).write_text(_one_line_each(labels), encoding="utf-8")
    _join_tables(clips, workplace)
    store.publish(workplace, folder)


def render_clip(clip: Clip, seed: int, raw: Path) -> None:
    """Render one clip into the raw folder, unless a killed run has done so already.

    The table of what can be seen is put beside the raw folder; the video gets its name last.
    """
    video, table = raw / clip.name, raw.parent / f"{clip.video}.csv"
    if video.exists() and table.exists():
        return
    renderer = Renderer(stage_clip(clip, seed), clip.width, clip.height)
    _write_table(table, _rows(clip, boxes_of(renderer)))
    unfinished = raw.parent / f"{clip.name}.part"
    write_video(unfinished, renderer.frames(), clip.format, FPS)
    unfinished.replace(video)


def _render_clips(clips: list[Clip], seed: int, raw: Path, workers: int) -> None:
    total = sum(round(clip.seconds * FPS) for clip in clips)
    with tqdm(total=total, desc="rendering the demo", unit="frame") as bar:
        for clip in _finished(clips, seed, raw, workers):
            bar.update(round(clip.seconds * FPS))


def _finished(clips: list[Clip], seed: int, raw: Path, workers: int) -> Iterator[Clip]:
    if workers == 1:
        for clip in clips:
            render_clip(clip, seed, raw)
            yield clip
        return
    longest_first = sorted(clips, key=lambda clip: -clip.seconds * clip.width * clip.height)
    # Forked processes would inherit locks of OpenCV's and PyAV's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers, context, initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        jobs = {pool.submit(render_clip, clip, seed, raw): clip for clip in longest_first}
        try:
            for job in as_completed(jobs):
                job.result()
                yield jobs[job]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _rows(clip: Clip, seen: Iterable[Visible]) -> Iterator[tuple[str, ...]]:
    for visible in seen:
        box = (visible.x0, visible.y0, visible.x1, visible.y1)
        number = QVPIPE_CLASSES.index(visible.code)
        yield (clip.video, str(number), f"{visible.time_s:.2f}", *(f"{edge:.1f}" for edge in box))


def _one_line_each(labels: dict[str, list[int]]) -> str:
    lines = (f"  {json.dumps(name)}: {numbers}" for name, numbers in labels.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _write_table(path: Path, rows: Iterable[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _join_tables(clips: list[Clip], workplace: Path) -> None:
    with (workplace / store.VISIBLE).open("w", encoding="utf-8") as file:
        file.write(",".join(_COLUMNS) + "\n")
        for clip in clips:
            file.write((workplace / f"{clip.video}.csv").read_text(encoding="utf-8"))
