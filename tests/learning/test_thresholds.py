import numpy as np
import pytest
from sklearn.metrics import f1_score

from qvpipe.learning.thresholds import SMALLEST, UNKNOWN, Aim, choose_thresholds

TRUTH = np.array([[1, 1, 0, 1, 0, 0, 1, *[0] * 33]]).T
SCORES = np.array([[0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, *[0.0] * 33]]).T


@pytest.mark.parametrize(
    ("aim", "at_least", "threshold"),
    [
        ("f1", 0.0, 0.55),  # 3 of 4 found, 3 of 4 right: 0.75
        ("f2", 0.0, 0.15),  # all found, 4 of 7 right
        ("precision", 0.7, 0.55),
        ("precision", 1.0, 0.75),
        ("recall", 0.5, 0.75),
        ("recall", 0.9, 0.15),
    ],
)
def test_a_threshold_serves_its_aim(aim: Aim, at_least: float, threshold: float) -> None:
    assert choose_thresholds(TRUTH, SCORES, aim, at_least) == [pytest.approx(threshold)]


def test_no_other_threshold_has_a_better_f1() -> None:
    random = np.random.default_rng(0)
    truth = (random.random((80, 3)) < 0.3).astype(int)
    scores = np.round(random.random(truth.shape) * 0.6 + truth * 0.3, 2)
    for column, threshold in enumerate(choose_thresholds(truth, scores, "f1", 0)):
        best = f1_score(truth[:, column], scores[:, column] >= threshold)
        others = [f1_score(truth[:, column], scores[:, column] >= t) for t in np.arange(0, 1, 0.01)]
        assert best == pytest.approx(max(others))


def test_a_class_that_was_not_learned_is_not_said_to_be_everywhere() -> None:
    truth = np.array([[0]] * 9 + [[1]])
    scores = np.linspace(0.09, 0.01, 10)[:, np.newaxis]
    assert choose_thresholds(truth, scores, "f1", 0) == [pytest.approx(0.1)]


def test_an_impossible_precision_gives_the_most_precise_threshold() -> None:
    truth, scores = np.array([[0], [1], [0]]), np.array([[0.9], [0.8], [0.1]])
    assert choose_thresholds(truth, scores, "precision", 0.9) == [pytest.approx(0.45)]


def test_a_class_without_positives_and_a_probability_of_0() -> None:
    assert choose_thresholds(np.zeros((3, 1)), np.ones((3, 1)), "f1", 0) == [UNKNOWN]
    assert choose_thresholds(np.ones((2, 1)), np.zeros((2, 1)), "recall", 1.0) == [SMALLEST]
