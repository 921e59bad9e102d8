import numpy as np
import pytest

from qvpipe.learning.ensemble import combine, member_weights


def test_weights_follow_the_map() -> None:
    assert member_weights({"a": 0.6, "b": 0.2}, "validation") == pytest.approx(
        {"a": 0.75, "b": 0.25}
    )
    assert member_weights({"a": 0.6, "b": 0.2}, "equal") == {"a": 0.5, "b": 0.5}
    fixed = {"a": 1.0, "b": 3.0, "untrained": 5.0}
    assert member_weights({"a": 0.6, "b": 0.2}, fixed) == {"a": 0.25, "b": 0.75}
    assert member_weights({"a": 0.0, "b": 0.0}, "validation") == {"a": 0.5, "b": 0.5}


def test_the_mean_is_weighted() -> None:
    members = {"a": np.array([[0.8, 0.0]]), "b": np.array([[0.0, 0.4]])}
    mean = combine(members, {"a": 0.75, "b": 0.25}, normal=None, normal_above=0.9)
    assert mean.tolist() == [pytest.approx([0.6, 0.1])]


def test_a_probable_normal_stands_alone() -> None:
    scores = {"a": np.array([[0.95, 0.5, 0.1], [0.85, 0.5, 0.1]])}
    ruled = combine(scores, {"a": 1.0}, normal=0, normal_above=0.9)
    assert ruled.tolist() == [[0.95, 0, 0], [0.85, 0.5, 0.1]]
    assert (combine(scores, {"a": 1.0}, normal=0, normal_above=None) == scores["a"]).all()
