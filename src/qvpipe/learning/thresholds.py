"""Thresholds: from which probability on a class is said to be there."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qvpipe.learning.ensemble import Floats

Aim = Literal["f1", "f2", "precision", "recall"]

UNKNOWN = 0.5
"""Threshold of a class without a positive item."""

SMALLEST = 1e-6
"""No threshold lies below, since the rule for the normal class says no by a probability of 0."""


def choose_thresholds(
    targets: NDArray[Any], probabilities: Floats, aim: Aim, at_least: float
) -> list[float]:
    """Return the threshold of each class, from `SMALLEST` to 1.

    Args:
        targets: 0 or 1, `[items, classes]`.
        probabilities: Calibrated predictions for items that the models did not see.
        aim: `f1` or `f2` for the highest value of that measure, but no threshold below the class's
            prevalence, which a class that was not learned would have; `precision` for the lowest
            threshold that reaches `at_least` (the most precise one if none does); `recall` for the
            highest threshold that reaches it.
        at_least: The wanted precision or recall.
    """
    return [
        _threshold(truth, column, aim, at_least) if truth.any() else UNKNOWN
        for truth, column in zip(targets.T, probabilities.T, strict=True)
    ]


def _threshold(truth: NDArray[Any], probabilities: Floats, aim: Aim, at_least: float) -> float:
    scores = np.unique(probabilities)[::-1]
    chosen = probabilities[:, np.newaxis] >= scores
    hits = (chosen & (truth[:, np.newaxis] == 1)).sum(axis=0)
    precision, recall = hits / chosen.sum(axis=0), hits / truth.sum()
    best = _best(precision, recall, aim, at_least)
    # Half-way to the next score below, so that a probability's last digits decide nothing.
    below = scores[best + 1] if best + 1 < len(scores) else 0.0
    least = float(truth.mean()) if aim in ("f1", "f2") else SMALLEST
    return max(float(scores[best] + below) / 2, least, SMALLEST)


def _best(precision: Floats, recall: Floats, aim: Aim, at_least: float) -> int:
    """Return which of some thresholds, in falling order, serves an aim best."""
    if aim == "recall":
        return int(np.argmax(recall >= at_least))
    if aim == "precision":
        reached = np.flatnonzero(precision >= at_least)
        return int(reached[-1] if reached.size else np.argmax(precision))
    weight = 1 if aim == "f1" else 4
    measure = (1 + weight) * precision * recall / np.maximum(weight * precision + recall, SMALLEST)
    return int(np.argmax(measure))
