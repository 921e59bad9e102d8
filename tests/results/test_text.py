from typing import Any

import pytest

from qvpipe.results.text import results_text

OVER_FOLDS = {"map": 0.7, "map_sd": 0.05}
RESULT: dict[str, Any] = {
    "map": 0.61,
    "map_defects": 0.59,
    "mean_over_folds": OVER_FOLDS,
    "chance": 0.11,
    "videos": 150,
    "members": {
        "m": {"weight": 1.0, "map": 0.6, "map_defects": 0.58, "mean_over_folds": OVER_FOLDS}
    },
    "per_class": {"ZC": 0.9, "CJ": None},
}


def test_each_value_stands_below_its_title() -> None:
    lines = results_text(RESULT, {"ZC": 7, "CJ": 0}, normal="ZC").splitlines()
    titles, member, ensemble = lines[2:5]
    assert titles.split() == ["mAP", "defects", "weight", "mean", "±", "SD", "over", "folds"]
    assert member.split() == ["m", "0.600", "0.580", "1.00", "0.700", "±", "0.050"]
    assert ensemble.split() == ["ensemble", "0.610", "0.590", "0.700", "±", "0.050"]
    for title, value in (("mAP", "0.610"), ("defects", "0.590"), ("folds", "± 0.050")):
        assert titles.index(title) + len(title) == ensemble.index(value) + len(value)
    assert lines[-1].split() == ["CJ", "deposit", "-", "0"]


@pytest.mark.parametrize("normal", [None, "good"])
def test_without_a_normal_class_nothing_is_said_of_defects(normal: str | None) -> None:
    text = results_text(RESULT, {"ZC": 7, "CJ": 0}, normal)
    assert "defects" not in text
    assert "0.590" not in text


def test_accuracy_is_said_with_its_interval_where_there_is_one() -> None:
    decided = {"accuracy": 0.9, "f1": 0.8}
    test = {"accuracy": 0.7, "f1": 0.6}
    text = results_text(
        RESULT | decided | {"interval": {"accuracy": {"low": 0.85, "high": 0.95}}, "test": test},
        {"ZC": 7, "CJ": 0},
        normal=None,
    )
    assert "accuracy 0.900 (95 % interval 0.850 to 0.950), mean F1 0.800" in text
    assert "accuracy 0.700, mean F1 0.600" in text
