import json

import numpy as np
import pytest

from qvpipe.learning.calibration import (
    Method,
    as_json,
    calibrate,
    calibration_error,
    fit_calibration,
    from_json,
)
from qvpipe.learning.ensemble import Floats, combine
from qvpipe.learning.metrics import average_precisions

CHANGING: list[Method] = ["platt", "isotonic"]


def overconfident(items: int, seed: int = 0) -> tuple[np.ndarray, Floats]:
    """Return targets, and probabilities that are far too sure; the last class is rare."""
    random = np.random.default_rng(seed)
    odds = random.normal(-0.5, 1, (items, 4))
    true = 1 / (1 + np.exp(-odds))
    true[:, 3] *= 6 / items
    targets = (random.random(true.shape) < true).astype(int)
    return targets, 1 / (1 + np.exp(-4 * odds - 1))


@pytest.mark.parametrize("method", CHANGING)
def test_probabilities_come_nearer_to_how_often_they_are_right(method: Method) -> None:
    maps = fit_calibration(*overconfident(400), method)
    targets, probabilities = overconfident(400, seed=1)
    before = calibration_error(targets[:, :3], probabilities[:, :3])
    after = calibration_error(targets[:, :3], calibrate(probabilities, maps)[:, :3])
    assert before > 0.15
    assert after < before / 2


@pytest.mark.parametrize("method", CHANGING)
def test_no_average_precision_changes(method: Method) -> None:
    targets, probabilities = overconfident(300)
    maps = fit_calibration(targets, probabilities, method)
    for above in (None, 0.9):
        before = combine({"a": probabilities}, {"a": 1.0}, 0, above)
        after = combine({"a": probabilities}, {"a": 1.0}, 0, above, lambda p: calibrate(p, maps))
        assert not np.allclose(before, after)
        precisions = average_precisions(targets, after)
        assert precisions == pytest.approx(average_precisions(targets, before), abs=1e-12)


@pytest.mark.parametrize("method", CHANGING)
def test_every_map_rises_strictly_between_0_and_1(method: Method) -> None:
    maps = fit_calibration(*overconfident(200), method)
    grid = np.linspace(0.001, 0.999, 500)[:, np.newaxis].repeat(4, axis=1)
    calibrated = calibrate(grid, maps)
    assert (np.diff(calibrated, axis=0) > 0).all()
    assert calibrated.min() >= 0
    assert calibrated.max() <= 1


def test_a_rare_class_takes_the_map_of_all_together() -> None:
    targets, probabilities = overconfident(200)
    targets[:, 2] = 0
    assert targets[:, 3].sum() < 10
    maps = fit_calibration(targets, probabilities, "platt")
    assert maps[2] == maps[3]
    assert maps[0] != maps[1] != maps[3]


def test_a_class_predicted_the_wrong_way_round_is_not_turned() -> None:
    targets, probabilities = overconfident(300)
    probabilities[:, 1] = 1 - probabilities[:, 1]
    for method in CHANGING:
        maps = fit_calibration(targets, probabilities, method)
        low, high = calibrate(np.array([[0.2] * 4, [0.8] * 4]), maps)
        assert (low < high).all()


def test_without_calibration_nothing_changes() -> None:
    targets, probabilities = overconfident(50)
    assert fit_calibration(targets, probabilities, "none") == []
    assert (calibrate(probabilities, []) == probabilities).all()


@pytest.mark.parametrize("method", CHANGING)
def test_maps_survive_json(method: Method) -> None:
    targets, probabilities = overconfident(100)
    maps = fit_calibration(targets, probabilities, method)
    back = from_json(json.loads(json.dumps(as_json(maps))))
    assert (calibrate(probabilities, back) == calibrate(probabilities, maps)).all()


def test_the_error_is_the_gap_between_probability_and_share() -> None:
    targets = np.array([[1], [0], [1], [1]])
    assert calibration_error(targets, np.array([[0.55], [0.55], [1.0], [1.0]])) == pytest.approx(
        0.5 * 0.05
    )
