"""Division of items into folds that keep groups together and classes balanced."""

from typing import Any

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold
from numpy.typing import NDArray

from qvpipe.errors import QvpipeError


def assign_folds(
    targets: NDArray[np.integer[Any]], groups: NDArray[Any], folds: int, seed: int
) -> NDArray[np.int64]:
    """Give each item a fold, `[items]`, from 0 to `folds` - 1.

    Groups are divided by iterative stratification (Sechidis et al., ECML PKDD 2011): a group has
    every label that one of its items has. Whether a group has several items counts as a label
    too, so that the folds hold about equally many items.

    Args:
        targets: 0 or 1, `[items, classes]`.
        groups: The group of each item, `[items]`.
        folds: Number of folds.
        seed: Of the order in which equals are taken.

    Raises:
        QvpipeError: If there are fewer groups than folds.
    """
    names, member_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < folds:
        raise QvpipeError(
            f"splits.folds: {folds} folds need as many groups of videos, and there are "
            f"{len(names)}; lower splits.folds or add videos of other inspections"
        )
    labels = np.zeros((len(names), targets.shape[1] + 2), dtype=np.int64)
    np.maximum.at(labels[:, :-2], member_of, targets)
    # The stratifier fails on items without any label, so having none is a label too.
    labels[:, -2] = labels[:, :-2].sum(axis=1) == 0
    labels[:, -1] = sizes > 1
    stratifier = MultilabelStratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    fold_of_group = np.empty(len(names), dtype=np.int64)
    for fold, (_, held_out) in enumerate(stratifier.split(names, labels)):
        fold_of_group[held_out] = fold
    return fold_of_group[member_of]
