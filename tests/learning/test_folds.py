import numpy as np
import pytest
from numpy.typing import NDArray

from qvpipe.errors import QvpipeError
from qvpipe.learning.folds import assign_folds

POSITIVES = np.array(
    [1690, 1502, 1128, 770, 646, 270, 492, 521, 374, 243, 340, 223, 164, 100, 98, 228, 133]
)


def long_tail(items: int, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Return labels and groups with the statistics of QV-Pipe."""
    random = np.random.default_rng(seed)
    targets = (random.random((items, len(POSITIVES))) < POSITIVES / 6399).astype(np.int64)
    targets[targets[:, 0] == 1, 1:] = 0
    groups = np.array([f"g{i}" for i in range(items)])
    clips = items * 477 // 6399
    groups[:clips] = [f"g{i // 3}" for i in range(clips)]
    return targets, groups


def test_no_group_is_in_two_folds_and_every_fold_has_every_class() -> None:
    targets, groups = long_tail(1500)
    folds = assign_folds(targets, groups, folds=5, seed=0)
    assert all(len(set(folds[groups == group])) == 1 for group in set(groups))
    assert np.bincount(folds).tolist() == pytest.approx([300] * 5, rel=0.1)
    for column in targets.T:
        positives = [int(column[folds == fold].sum()) for fold in range(5)]
        assert min(positives) >= 1
        assert max(positives) - min(positives) <= max(4, 0.2 * column.sum())


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
