import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from qvpipe.learning.metrics import (
    Floats,
    Targets,
    accuracy,
    average_precisions,
    bootstrap,
    bootstrap_accuracy,
    challenge_map,
    chance,
    mean_average_precision,
    paired_bootstrap,
    summary,
    weighted_average_precisions,
)

TARGETS = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]])
SCORES = np.array([[0.9, 0.1, 0.3], [0.8, 0.7, 0.2], [0.6, 0.2, 0.1], [0.1, 0.3, 0.0]])


def noisy(items: int) -> tuple[Targets, Floats, Targets]:
    """Return targets of three classes, scores that know something of them, and groups of one."""
    random = np.random.default_rng(items)
    targets = (random.random((items, 3)) < 0.3).astype(int)
    return targets, random.random((items, 3)) + 0.3 * targets, np.arange(items)


def test_average_precision_by_hand() -> None:
    """Positives at ranks 1 and 3 give (1/1 + 2/3) / 2; a class without one gives none."""
    precisions = average_precisions(TARGETS, SCORES)
    assert precisions[:2] == pytest.approx([5 / 6, 1.0])
    assert np.isnan(precisions[2])


def test_the_mean_is_over_classes_with_a_positive() -> None:
    assert mean_average_precision(TARGETS, SCORES) == pytest.approx((5 / 6 + 1) / 2)
    assert mean_average_precision(np.zeros((4, 3)), SCORES) == 0


def test_the_normal_class_is_no_defect() -> None:
    result = summary(TARGETS, SCORES, ["a", "b", "c"], normal="b")
    assert result["map"] == pytest.approx((5 / 6 + 1) / 2)
    assert result["map_defects"] == pytest.approx(5 / 6)
    assert result["per_class"]["b"] == 1
    assert result["per_class"]["c"] is None
    assert summary(TARGETS, SCORES, ["a", "b", "c"], normal="ZC")["map_defects"] == result["map"]


def test_chance_is_the_share_of_positives_for_many_items_and_more_for_few() -> None:
    many = (np.random.default_rng(0).random((4000, 1)) < 0.2).astype(int)
    assert chance(many, seed=1, repeats=10) == pytest.approx(many.mean(), abs=0.02)
    one_of_ten = np.eye(10, 1, dtype=int)
    exact = np.mean(1 / np.arange(1, 11))
    assert chance(one_of_ten, seed=1, repeats=2000) == pytest.approx(exact, abs=0.02)


def test_the_challenge_counts_a_class_without_positives_as_0_in_percent() -> None:
    assert challenge_map(TARGETS, SCORES) == pytest.approx(100 * (5 / 6 + 1 + 0) / 3)
    assert challenge_map(TARGETS, SCORES, columns=[0, 2]) == pytest.approx(100 * (5 / 6) / 2)


def test_without_ties_the_challenge_agrees_with_scikit_learn() -> None:
    targets, scores, _ = noisy(300)
    assert challenge_map(targets, scores) == pytest.approx(
        100 * mean_average_precision(targets, scores)
    )


def test_the_challenge_breaks_ties_by_a_seeded_shuffle() -> None:
    """One positive of three equal scores: its rank is that of the shuffle."""
    targets, scores = np.array([[1], [0], [0]]), np.full((3, 1), 0.5)
    found = [challenge_map(targets, scores, seed=seed) for seed in range(40)]
    assert {round(value, 6) for value in found} == {100.0, 50.0, round(100 / 3, 6)}
    assert challenge_map(targets, scores, seed=3) == found[3]


def test_weighted_precisions_are_those_of_scikit_learn() -> None:
    targets, scores, _ = noisy(60)
    scores = scores.round(1)
    targets[:, 2] = 0
    weights = np.random.default_rng(1).integers(0, 4, (5, 60)).astype(float)
    found = weighted_average_precisions(targets, scores, weights)
    for row, sample in zip(found, weights, strict=True):
        for column in range(2):
            expected = average_precision_score(
                targets[:, column], scores[:, column], sample_weight=sample
            )
            assert row[column] == pytest.approx(expected)
    assert np.isnan(found[:, 2]).all()
    assert np.isnan(weighted_average_precisions(targets, scores, np.zeros((1, 60)))).all()


def test_the_interval_holds_the_value_and_narrows_with_more_items() -> None:
    wide, narrow = (bootstrap(*noisy(items)) for items in (100, 1600))
    for found in (wide, narrow):
        assert found.low < found.value < found.high
    assert narrow.high - narrow.low < 0.5 * (wide.high - wide.low)
    targets, scores, groups = noisy(100)
    assert bootstrap(targets, scores, groups) == wide
    assert wide.value == pytest.approx(mean_average_precision(targets, scores))


def test_the_interval_of_the_accuracy_is_that_of_a_share() -> None:
    """Of 400 independent items it is about the normal approximation's."""
    random = np.random.default_rng(0)
    targets = np.eye(2)[random.integers(0, 2, 400)]
    scores = np.where(random.random((400, 1)) < 0.8, targets, 1 - targets)
    found = bootstrap_accuracy(targets, scores, np.arange(400))
    assert found.value == accuracy(targets, scores)
    error = 1.96 * math.sqrt(found.value * (1 - found.value) / 400)
    assert (found.low, found.high) == pytest.approx(
        (found.value - error, found.value + error), abs=0.01
    )


def test_whole_groups_are_drawn() -> None:
    """Ten copies of each item in its group say no more than one, and without groups too much."""
    targets, scores, groups = noisy(100)
    truth, judged = targets.repeat(10, axis=0), scores.repeat(10, axis=0)
    once, tenfold = bootstrap(targets, scores, groups), bootstrap(truth, judged, groups.repeat(10))
    alone = bootstrap(truth, judged, np.arange(1000))
    assert tenfold.high - tenfold.low == pytest.approx(once.high - once.low, rel=0.2)
    assert alone.high - alone.low < 0.5 * (once.high - once.low)


def test_a_pair_is_judged_on_the_same_samples() -> None:
    targets, scores, groups = noisy(400)
    better = scores + 0.4 * targets
    found = paired_bootstrap(targets, scores, better, groups)
    expected = mean_average_precision(targets, better) - mean_average_precision(targets, scores)
    assert found.value == pytest.approx(expected)
    assert 0 < found.low < found.value < found.high
    same = paired_bootstrap(targets, scores, scores.copy(), groups)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    defects = paired_bootstrap(targets, scores, better, groups, columns=[1, 2])
    assert defects.value != pytest.approx(found.value)
