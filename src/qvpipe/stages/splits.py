"""Divide the videos into folds, so that no fold knows what another is asked."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from qvpipe import files
from qvpipe.config import Settings
from qvpipe.errors import QvpipeError, run
from qvpipe.learning.folds import (
    assign_folds,
    class_counts,
    imbalance,
    join_groups,
    missing_classes,
)
from qvpipe.learning.targets import targets
from qvpipe.results import plots


def splits(settings: Settings) -> None:
    """Write `data/splits.csv`: every video that has frames gets a fold, unless it is for the test.

    Clips of one inspection and videos that show the same are one group and stay together; classes
    are balanced. Where the data themselves say what is validated on, that is fold 0, and fold 1 is
    all else. `metrics/splits.json` and `data/splits.png` show how well, and `data/durations.png`
    how long the videos are.
    """
    index = files.read_table(files.INDEX)
    with_frames = set(files.read_table(files.CLEAN)["video"])
    usable = index[(index["status"] == "ok") & index["video"].isin(with_frames)]
    if usable.empty:
        raise QvpipeError(
            "no video could be read; data/index.csv and data/frames.csv say why for each"
        )
    twins = files.read_table(files.TWINS)
    pairs = zip(twins["video"], twins["twin"], strict=True)
    joined = join_groups(usable["video"].to_list(), usable["group"].to_list(), pairs)
    usable = usable.assign(joined=joined)
    _warn_of_twins(usable)
    usable = usable[usable["part"] != "test"]
    groups = usable["joined"].to_numpy()
    classes = files.read_classes()
    labels = targets(usable["labels"], len(classes))
    folds, seed = settings.splits.folds, settings.seed
    validated = (usable["part"] == "validation").to_numpy()
    if validated.any():
        assigned, names = np.where(validated, 0, 1), ["validation", "training"]
    else:
        assigned, names = assign_folds(labels, groups, folds, seed), None

    table = usable[["video"]].assign(group=groups, fold=assigned)
    files.write_table(files.SPLITS, table)
    counts = class_counts(labels, assigned, folds)
    apart = class_counts(labels, assign_folds(labels, np.arange(len(labels)), folds, seed), folds)
    with files.replacing(files.SPLITS_PLOT) as temporary:
        plots.classes_by_folds(classes, counts, names).savefig(temporary, format="png", dpi=110)
    with files.replacing(files.DURATIONS_PLOT) as temporary:
        plots.durations(index, classes).savefig(temporary, format="png", dpi=110)
    summary = {
        "videos": len(table),
        "groups": table["group"].nunique(),
        "groups_before_twins": usable["group"].nunique(),
        "imbalance": round(imbalance(counts), 5),
        "imbalance_without_groups": round(imbalance(apart), 5),
    }
    files.write_json(files.SPLITS_METRICS, summary)
    _report(index, table, summary)
    _warn(classes, missing_classes(labels, groups, assigned, folds))


def _report(index: pd.DataFrame, table: pd.DataFrame, summary: dict[str, float]) -> None:
    sizes = table["fold"].value_counts().sort_index().to_list()
    wanted = index[index["status"] != "excluded"]
    tested = int((wanted["part"] == "test").sum())
    lost = len(wanted) - len(table) - tested
    test = f", {tested} for the test" if tested else ""
    if (wanted.loc[wanted["video"].isin(table["video"]), "part"] == "validation").any():
        how = f"validated on {sizes[0]} and learned from {sizes[1]}, as their folders say"
    else:
        how = (
            f"{summary['groups']} inspections in folds of {sizes} videos; a fold's share of a "
            f"class is off by {100 * summary['imbalance']:.2f} points on average "
            f"({100 * summary['imbalance_without_groups']:.2f} if inspections were divided)"
        )
    print(
        f"splits: {len(wanted)} videos in, {len(table)} out{test}, {lost} unreadable or "
        f"unlabelled; {how}"
    )


def _warn_of_twins(usable: pd.DataFrame) -> None:
    """Say which items are learned from and show the same as one that is validated or tested on."""
    parts = usable.groupby("joined")["part"].agg(set)
    shared = parts[parts.map(len) > 1].index
    if len(shared):
        names = usable.loc[usable["joined"].isin(shared), "video"]
        print(
            f"warning: {len(names)} items of different parts of the data show the same, "
            f"{', '.join(names[:3])} among them; remove one of each from its folder"
        )


def _warn(classes: Sequence[str], missing: Sequence[int]) -> None:
    if missing:
        names = ", ".join(classes[number] for number in missing)
        print(f"warning: no division brings {names} into every fold; lower splits.folds")


def main() -> None:
    """Run the stage with the settings of params.yaml."""
    splits(files.read_settings())


if __name__ == "__main__":
    run(main)
