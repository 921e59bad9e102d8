import numpy as np
import pytest

from qvpipe.learning.metrics import average_precisions, chance, mean_average_precision, summary

TARGETS = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]])
SCORES = np.array([[0.9, 0.1, 0.3], [0.8, 0.7, 0.2], [0.6, 0.2, 0.1], [0.1, 0.3, 0.0]])


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
