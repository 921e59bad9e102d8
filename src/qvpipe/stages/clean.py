"""Judge every stored frame: how sharp it is, and whether it repeats another."""

from dataclasses import asdict
from functools import partial

import pandas as pd

from qvpipe import files
from qvpipe.config import CleanSettings, Settings
from qvpipe.errors import run
from qvpipe.video.pool import each
from qvpipe.video.quality import Judgement, judge
from qvpipe.video.store import unpack


def clean(settings: Settings) -> None:
    """Write `data/clean.csv`, a row for every stored frame."""
    frames = files.read_table(files.FRAMES_TABLE)
    videos = list(frames.loc[frames["status"] == "ok", "video"])
    work = partial(judge_video, settings=settings.clean)
    judged = each(work, videos, settings.compute, "clean")
    table = pd.DataFrame(
        {"video": video, **asdict(judgement)}
        for video, judgements in zip(videos, judged, strict=True)
        for judgement in judgements
    )
    files.write_table(files.CLEAN, table)
    _report(table)


def judge_video(video: str, settings: CleanSettings) -> list[Judgement]:
    """Judge the stored frames of one video."""
    return judge(unpack(files.frames_zip(video)), settings)


def _report(table: pd.DataFrame) -> None:
    videos = table["video"].nunique()
    counts = table["dropped"].value_counts()
    print(
        f"clean: {videos} videos in, {videos} out; {len(table)} frames: {counts.get('', 0)} kept, "
        f"{counts.get('blurred', 0)} blurred, {counts.get('duplicate', 0)} duplicate"
    )


def main() -> None:
    """Run the stage with the settings of params.yaml."""
    clean(files.read_settings())


if __name__ == "__main__":
    run(main)
