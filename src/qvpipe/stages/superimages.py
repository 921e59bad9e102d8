"""Lay the best frames of every video out as one super-image, where that isn't done yet."""

from collections.abc import Sequence
from dataclasses import dataclass

from qvpipe import files
from qvpipe.compute.pool import each
from qvpipe.config import Settings, SuperimagesSettings
from qvpipe.errors import run
from qvpipe.video.choose import choose
from qvpipe.video.images import read_comment
from qvpipe.video.quality import Judgement, by_video
from qvpipe.video.store import read_origin, unpack
from qvpipe.video.superimage import origin_hash, superimage_jpeg


@dataclass(frozen=True)
class Task:
    """A super-image that there is to be."""

    video: str
    positions: Sequence[int]
    """Which of the video's stored frames stand on it."""
    origin: str
    """Hash of all that it is made from."""
    settings: SuperimagesSettings


def superimages(settings: Settings) -> None:
    """Write `data/superimages/<video>.jpg` for every video that has frames.

    A super-image that was made from the same frames with the same settings stays. What belongs to
    no video goes. Each is written whole or not at all, so the stage can be stopped at any moment.
    """
    judged = by_video(files.read_table(files.CLEAN))
    files.keep_only(files.SUPERIMAGES, {files.superimage(video) for video in judged})
    tasks = [_task(video, frames, settings.superimages) for video, frames in judged.items()]
    todo = [task for task in tasks if read_comment(files.superimage(task.video)) != task.origin]
    for _ in each(lay_out, todo, settings.compute, "superimages"):
        pass
    print(f"superimages: {len(tasks)} videos in, {len(tasks)} out, {len(todo)} of them new")


def lay_out(task: Task) -> None:
    """Write the super-image of one video."""
    chosen = unpack(files.frames_zip(task.video), task.positions)
    with files.replacing(files.superimage(task.video)) as temporary:
        temporary.write_bytes(superimage_jpeg(chosen.frames, task.settings, task.origin))


def _task(video: str, judged: Sequence[Judgement], settings: SuperimagesSettings) -> Task:
    positions = choose(judged, settings.grid**2)
    origin = origin_hash(read_origin(files.frames_zip(video)), positions, settings)
    return Task(video, positions, origin, settings)


def main() -> None:
    """Run the stage with the settings of params.yaml."""
    superimages(files.read_settings())


if __name__ == "__main__":
    run(main)
