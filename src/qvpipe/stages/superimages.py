"""Lay the best frames of every video out as one super-image."""

from collections.abc import Sequence
from functools import partial

from qvpipe import files
from qvpipe.config import Settings, SuperimagesSettings
from qvpipe.errors import run
from qvpipe.video.choose import choose
from qvpipe.video.pool import each
from qvpipe.video.quality import Judgement, by_video
from qvpipe.video.store import unpack
from qvpipe.video.superimage import superimage_jpeg


def superimages(settings: Settings) -> None:
    """Write `data/superimages/<video>.jpg` for every video that has frames."""
    videos = list(by_video(files.read_table(files.CLEAN)).items())
    work = partial(lay_out, settings=settings.superimages)
    done = list(each(work, videos, settings.compute, "superimages"))
    print(f"superimages: {len(videos)} videos in, {len(done)} out")


def lay_out(video: tuple[str, Sequence[Judgement]], settings: SuperimagesSettings) -> None:
    """Write the super-image of one video, given as its id and its judged frames."""
    name, judged = video
    chosen = unpack(files.frames_zip(name), choose(judged, settings.grid**2))
    with files.replacing(files.superimage(name)) as temporary:
        temporary.write_bytes(superimage_jpeg(chosen.frames, settings))


def main() -> None:
    """Run the stage with the settings of params.yaml."""
    superimages(files.read_settings())


if __name__ == "__main__":
    run(main)
