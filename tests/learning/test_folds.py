import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from qvpipe.errors import QvpipeError
from qvpipe.learning.folds import (
    assign_folds,
    class_counts,
    imbalance,
    join_groups,
    missing_classes,
)

POSITIVES = np.array(
    [1690, 1502, 1128, 770, 646, 270, 492, 521, 374, 243, 340, 223, 164, 100, 98, 228, 133]
)


LABELS_PER_VIDEO = {2: 1654, 3: 366, 4: 39, 5: 5}


def long_tail(items: int, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Return labels and groups with the statistics of QV-Pipe's 6,399 train videos.

    Class counts, labels per video, ZC alone, and 477 videos of 6,399 in 158 groups that have the
    same labels throughout.
    """
    random = np.random.default_rng(seed)
    normal = round(items * POSITIVES[0] / 6399)
    sizes = np.concatenate(
        [np.full(round(items * n / 6399), size) for size, n in LABELS_PER_VIDEO.items()]
    )
    per_video = np.ones(items - normal, dtype=int)
    per_video[: len(sizes)] = sizes
    weights = POSITIVES[1:] / POSITIVES[1:].sum()
    targets = np.zeros((items, len(POSITIVES)), dtype=np.int64)
    targets[:normal, 0] = 1
    for row, labels in zip(targets[normal:], per_video, strict=True):
        row[1 + random.choice(len(weights), labels, replace=False, p=weights)] = 1
    random.shuffle(targets)
    groups = np.array([f"g{i:05}" for i in range(items)])
    clips, stems = items * 477 // 6399, items * 158 // 6399
    for clip in range(stems, clips):
        groups[clip], targets[clip] = groups[clip % stems], targets[clip % stems]
    return targets, groups


@pytest.fixture(scope="module")
def qvpipe() -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    return long_tail(6399)


def test_the_made_up_labels_are_like_those_of_qvpipe(
    qvpipe: tuple[NDArray[np.int64], NDArray[np.str_]],
) -> None:
    targets, groups = qvpipe
    assert targets.sum(axis=0) == pytest.approx(POSITIVES, rel=0.35)
    assert np.bincount(targets.sum(axis=1))[1:].tolist() == pytest.approx(
        [4335, 1654, 366, 39, 5], rel=0.2, abs=6
    )
    names, sizes = np.unique(groups, return_counts=True)
    assert (sizes > 1).sum() == 158
    assert sizes[sizes > 1].sum() == 477
    assert not (targets[targets[:, 0] == 1, 1:]).any()
    assert len(names) == 6399 - 477 + 158


@pytest.mark.parametrize("seed", range(3))
def test_groups_stay_whole_and_the_balance_is_close_to_that_without_groups(
    seed: int, qvpipe: tuple[NDArray[np.int64], NDArray[np.str_]]
) -> None:
    targets, groups = qvpipe
    folds = assign_folds(targets, groups, folds=5, seed=seed)
    assert all(len(set(folds[groups == group])) == 1 for group in set(groups[:477]))
    assert np.bincount(folds).tolist() == pytest.approx([6399 / 5] * 5, rel=0.03)
    counts = class_counts(targets, folds, 5)
    apart = class_counts(targets, assign_folds(targets, np.arange(6399), 5, seed), 5)
    assert imbalance(counts) <= imbalance(apart) + 0.005
    assert missing_classes(targets, groups, folds, 5) == []
    shares = counts / counts.sum(axis=1, keepdims=True)
    assert shares == pytest.approx(np.full(counts.shape, 0.2), abs=0.04)


def best_possible(targets: NDArray[np.int64], groups: NDArray[Any], folds: int) -> int:
    """Return how many (class, fold) at least lack each other, by trying all assignments."""
    names, member_of = np.unique(groups, return_inverse=True)
    needed = [len(set(groups[column > 0])) >= folds for column in targets.T]
    return min(
        int((class_counts(targets[:, needed], np.array(tried)[member_of], folds) == 0).sum())
        for tried in itertools.product(range(folds), repeat=len(names))
    )


@pytest.mark.parametrize("seed", range(40))
def test_no_assignment_brings_more_classes_into_every_fold(seed: int) -> None:
    random = np.random.default_rng(seed)
    groups = random.integers(0, 6, 9)
    targets = (random.random((9, 5)) < 0.45).astype(np.int64)
    folds = 2 + seed % 2
    if len(set(groups)) < folds:
        pytest.skip("fewer groups than folds")
    assigned = assign_folds(targets, groups, folds, seed)
    needed = [len(set(groups[column > 0])) >= folds for column in targets.T]
    lacking = int((class_counts(targets[:, needed], assigned, folds) == 0).sum())
    assert lacking == best_possible(targets, groups, folds)
    assert all(len(set(assigned[groups == group])) == 1 for group in groups)


@pytest.mark.parametrize("seed", range(20))
def test_a_class_with_as_many_groups_as_folds_is_in_every_fold(seed: int) -> None:
    random = np.random.default_rng(seed)
    groups = random.integers(0, 60, 120)
    targets = np.zeros((120, 6), dtype=np.int64)
    for column, wanted in enumerate((4, 5, 5, 6, 8, 30)):
        chosen = random.choice(np.unique(groups), wanted, replace=False)
        targets[:, column] = np.isin(groups, chosen)
    folds = assign_folds(targets, groups, 5, seed)
    assert missing_classes(targets, groups, folds, 5) == []
    for column in targets.T[1:]:
        assert set(folds[column > 0]) == {0, 1, 2, 3, 4}


def test_what_no_division_can_do_is_said() -> None:
    # Each pair of three groups shares a class, and two of three must share one of two folds.
    targets = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1]])
    folds = assign_folds(targets, np.arange(3), folds=2, seed=0)
    assert len(missing_classes(targets, np.arange(3), folds, 2)) == 1


def test_groups_that_pairs_connect_become_one() -> None:
    items, groups = list("abcdef"), ["g3", "g1", "g1", "g2", "g4", "g5"]
    assert join_groups(items, groups, [("a", "c"), ("d", "a"), ("e", "unknown")]) == [
        *["g1", "g1", "g1", "g1", "g4", "g5"]
    ]
    assert join_groups(items, groups, []) == groups


def test_imbalance_is_how_far_shares_are_off() -> None:
    assert imbalance(np.array([[2, 2], [5, 5], [0, 0]])) == 0
    assert imbalance(np.array([[3, 1], [5, 5]])) == pytest.approx(0.125)


def test_the_seed_decides() -> None:
    targets, groups = long_tail(200)
    first = assign_folds(targets, groups, folds=5, seed=0)
    assert (first == assign_folds(targets, groups, folds=5, seed=0)).all()
    assert (first != assign_folds(targets, groups, folds=5, seed=1)).any()


def test_items_without_any_label_are_spread() -> None:
    targets = np.zeros((20, 2), dtype=np.int64)
    targets[:10, 0] = 1
    folds = assign_folds(targets, np.arange(20), folds=5, seed=0)
    assert np.bincount(folds[10:], minlength=5).tolist() == [2] * 5


def test_fewer_groups_than_folds_says_what_to_do() -> None:
    with pytest.raises(QvpipeError, match=r"there are 2; lower splits\.folds"):
        assign_folds(np.ones((6, 1), dtype=np.int64), np.array(list("aaabbb")), folds=3, seed=0)
