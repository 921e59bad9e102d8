"""Judge every stored frame, and find videos that show the same."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pandas as pd

from qvpipe import files
from qvpipe.config import Settings
from qvpipe.errors import run
from qvpipe.results import plots
from qvpipe.video.quality import Judgement, judge
from qvpipe.video.store import read_facts, unpack
from qvpipe.video.twins import Twins, find_twins

COLUMNS = ["video", "position", "index", "time_s", "sharpness", "phash", "dropped"]

SHOWN = 2
"""For each reason to drop frames, how many videos the picture shows."""


def clean(settings: Settings) -> None:
    """Write `data/clean.csv`, a row for every stored frame, and `data/twins.csv`, one for a pair.

    Frames were measured when they were stored; here it is only decided. Pictures are read of the
    few videos alone that `data/clean.png` shows: those that lose most frames.
    """
    frames = files.read_table(files.FRAMES_TABLE)
    videos = frames.loc[frames["status"] == "ok", "video"]
    judged = {video: judge(read_facts(files.frames_zip(video)), settings.clean) for video in videos}
    twins = find_twins(judged, settings.clean)
    table = _table(judged)
    files.write_table(files.CLEAN, table)
    files.write_table(files.TWINS, pd.DataFrame(twins, columns=["video", "twin", "share"]))
    stored = {video: unpack(files.frames_zip(video)).frames for video in _worst(table)}
    with files.replacing(files.CLEAN_PLOT) as temporary:
        figure = plots.cleaning(table, stored, settings.clean.blur_ratio)
        figure.savefig(temporary, format="png", dpi=plots.DPI)
    _report(table, twins)


def _table(judged: Mapping[str, Sequence[Judgement]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"video": video, **asdict(judgement)}
            for video, judgements in judged.items()
            for judgement in judgements
        ],
        columns=COLUMNS,
    )


def _worst(table: pd.DataFrame) -> list[str]:
    """Return the videos that lose most frames for each reason; of equals those first by name."""
    lost = table[table["dropped"] != ""]
    counts = lost.groupby(["dropped", "video"]).size().reset_index(name="frames")
    ranked = counts.sort_values(["frames", "video"], ascending=[False, True])
    return ranked.groupby("dropped").head(SHOWN)["video"].drop_duplicates().to_list()


def _report(table: pd.DataFrame, twins: Sequence[Twins]) -> None:
    videos = table["video"].nunique()
    counts = table["dropped"].value_counts()
    print(
        f"clean: {videos} videos in, {videos} out; {len(table)} frames: {counts.get('', 0)} kept, "
        f"{counts.get('blurred', 0)} blurred, {counts.get('duplicate', 0)} duplicate; "
        f"{len(twins)} pairs of videos show the same"
    )


def main() -> None:
    """Run the stage with the settings of params.yaml."""
    clean(files.read_settings())


if __name__ == "__main__":
    run(main)
