"""Division of items into folds that keep groups together and classes balanced."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import LinearConstraint, milp
from scipy.sparse.csgraph import connected_components

from qvpipe.errors import QvpipeError


def assign_folds(
    targets: NDArray[np.integer[Any]], groups: NDArray[Any], folds: int, seed: int
) -> NDArray[np.int64]:
    """Give each item a fold, `[items]`, from 0 to `folds` - 1.

    Groups are divided by iterative stratification (Sechidis et al., ECML PKDD 2011): a group has
    every label that one of its items has. Whether a group has several items counts as a label
    too, so that the folds hold about equally many items. If a class is then missing from a fold
    although it has as many groups as there are folds, the fewest groups change their fold that
    bring it there.

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
    return _complete(labels[:, :-2], fold_of_group, folds)[member_of]


def join_groups(
    items: Sequence[str], groups: Sequence[str], pairs: Iterable[tuple[str, str]]
) -> list[str]:
    """Join the groups of items that belong together.

    Args:
        items: Names of the items.
        groups: The group of each.
        pairs: Names of two items that belong into one group; pairs with other names are ignored.

    Returns:
        For each item the group it is in now; joined ones have the name that comes first.
    """
    names = sorted(set(groups))
    number = {name: i for i, name in enumerate(names)}
    group_of = {item: number[group] for item, group in zip(items, groups, strict=True)}
    edges = [(group_of[a], group_of[b]) for a, b in pairs if a in group_of and b in group_of]
    first, second = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    graph = sparse.coo_array((np.ones(len(first)), (first, second)), shape=(len(names),) * 2)
    _, joined = connected_components(graph, directed=False)
    leaders = np.unique(joined, return_index=True)[1]
    return [names[leaders[joined[number[group]]]] for group in groups]


def missing_classes(
    targets: NDArray[np.integer[Any]],
    groups: NDArray[Any],
    assigned: NDArray[np.integer[Any]],
    folds: int,
) -> list[int]:
    """Return the classes that some fold lacks though they have as many groups as there are folds.

    Args:
        targets: 0 or 1, `[items, classes]`.
        groups: The group of each item, `[items]`.
        assigned: The fold of each item, `[items]`.
        folds: Number of folds.
    """
    counts = class_counts(targets, assigned, folds)
    enough = np.array([len(set(groups[column > 0])) >= folds for column in targets.T])
    return np.flatnonzero(enough & (counts.min(axis=1) == 0)).tolist()


def class_counts(
    targets: NDArray[np.integer[Any]], assigned: NDArray[np.integer[Any]], folds: int
) -> NDArray[np.int64]:
    """Return how many items of each class each fold has, `[classes, folds]`."""
    counts = [targets[assigned == fold].sum(axis=0) for fold in range(folds)]
    return np.stack(counts, axis=1).astype(np.int64)


def imbalance(counts: NDArray[np.integer[Any]]) -> float:
    """Return by how much the share that a fold has of a class is off on average, from 0 to 1.

    Args:
        counts: Items of each class in each fold, `[classes, folds]`; classes without any do not
            count.
    """
    shown = counts[counts.sum(axis=1) > 0]
    if not len(shown):
        return 0.0
    shares = shown / shown.sum(axis=1, keepdims=True)
    return float(np.abs(shares - 1 / counts.shape[1]).mean())


def _complete(labels: NDArray[np.int64], start: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """Bring classes into folds that lack them: as many as can be, by as few moves as can be.

    Args:
        labels: 0 or 1, `[groups, classes]`.
        start: The fold of each group.
        folds: Number of folds.
    """
    needed = labels[:, labels.sum(axis=0) >= folds]
    groups, classes = needed.shape
    if (class_counts(needed, start, folds) > 0).all():
        return start
    # Unknowns: whether a group is in a fold [groups, folds], whether a class is missing from a
    # fold [classes, folds]. Some sets of labels leave no way but to miss one.
    stays = np.zeros((groups, folds))
    stays[np.arange(groups), start] = 1
    cost = np.concatenate([-stays.ravel(), np.full(classes * folds, groups + 1)])
    one_fold = sparse.hstack(
        [
            sparse.kron(sparse.eye_array(groups), np.ones((1, folds))),
            sparse.coo_array((groups, classes * folds)),
        ]
    )
    every_fold = sparse.hstack(
        [
            sparse.kron(sparse.coo_array(needed.T), sparse.eye_array(folds)),
            sparse.eye_array(classes * folds),
        ]
    )
    solved = milp(
        cost,
        integrality=np.ones(len(cost)),
        bounds=(0, 1),
        constraints=[LinearConstraint(one_fold, 1, 1), LinearConstraint(every_fold, lb=1)],
    )
    placed: NDArray[np.int64] = (
        solved.x[: groups * folds].reshape(groups, folds).argmax(axis=1).astype(np.int64)
    )
    return placed
