"""Divide the videos into folds: data/index.csv and data/clean.csv to data/splits.csv."""

from qvpipe import files
from qvpipe.config import Settings
from qvpipe.errors import QvpipeError, run
from qvpipe.learning.folds import assign_folds
from qvpipe.learning.targets import targets


def splits(settings: Settings) -> None:
    """Give every video that has frames a fold, inspections whole and classes balanced."""
    index = files.read_table(files.INDEX)
    with_frames = set(files.read_table(files.CLEAN)["video"])
    usable = index[(index["status"] == "ok") & index["video"].isin(with_frames)]
    if usable.empty:
        raise QvpipeError(
            "no video could be read; data/index.csv and data/frames.csv say why for each"
        )
    folds = assign_folds(
        targets(usable["labels"], len(files.read_classes())),
        usable["group"].to_numpy(),
        settings.splits.folds,
        settings.seed,
    )
    table = usable[["video", "group"]].assign(fold=folds)
    files.write_table(files.SPLITS, table)
    left_out = len(index) - len(usable)
    sizes = table["fold"].value_counts().sort_index().to_list()
    print(
        f"splits: {len(index)} videos in, {len(usable)} out, {left_out} unreadable or unlabelled; "
        f"{table['group'].nunique()} inspections in folds of {sizes} videos"
    )


def main() -> None:
    """Run the stage."""
    splits(files.read_settings())


if __name__ == "__main__":
    run(main)
