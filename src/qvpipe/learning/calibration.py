"""Calibration: probabilities that say how often they are right.

Each class has a map of its own from the ensemble's mean to a calibrated probability, fitted on the
predictions out of fold. Every map rises strictly, so no average precision changes by it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qvpipe.learning.ensemble import Floats

Method = Literal["none", "platt", "isotonic"]

LEAST_POSITIVES = 10
"""A class with fewer positive (or negative) items takes a map fitted on all classes together."""

TIE_BREAK = 1e-4
"""Share of the uncalibrated probability in an isotonic map, so that it rises on its flat parts."""

BINS = 10
"""Equal parts of 0 to 1 over which calibration errors are taken."""

_SMALLEST = 1e-6


@dataclass(frozen=True)
class Platt:
    """A logistic curve on the log-odds (Platt, 1999); `slope` 1 and `intercept` 0 change nothing.

    Attributes:
        slope: Above 0.
        intercept: Above 0 where probabilities were too low.
    """

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, probabilities: Floats) -> Floats:
        """Return calibrated probabilities of the same shape."""
        odds = self.slope * _log_odds(probabilities) + self.intercept
        calibrated: Floats = 1 / (1 + np.exp(-odds))
        return calibrated


@dataclass(frozen=True)
class Isotonic:
    """A rising line through points (Zadrozny and Elkan, 2002).

    Attributes:
        x: Uncalibrated probabilities, ascending.
        y: What they are mapped to, ascending.
    """

    x: Sequence[float]
    y: Sequence[float]

    def __call__(self, probabilities: Floats) -> Floats:
        """Return calibrated probabilities of the same shape."""
        line = np.interp(probabilities, self.x, self.y)
        return (1 - TIE_BREAK) * line + TIE_BREAK * probabilities


Map = Platt | Isotonic

UNCHANGED = Platt()


def fit_calibration(targets: NDArray[Any], probabilities: Floats, method: Method) -> list[Map]:
    """Fit a map for each class.

    A class of which too little is known, or whose map would fall, takes the one of all classes
    together.

    Args:
        targets: 0 or 1, `[items, classes]`.
        probabilities: Predictions for items that the models did not see, `[items, classes]`.
        method: `platt` bends with two numbers a class, `isotonic` in any way that rises and needs
            more items; `none` changes nothing.

    Returns:
        A map for each class; none for the method `none`.
    """
    if method == "none":
        return []
    common = _fit(targets.ravel(), probabilities.ravel(), method) or UNCHANGED
    return [
        _fit(truth, column, method) or common
        for truth, column in zip(targets.T, probabilities.T, strict=True)
    ]


def calibrate(probabilities: Floats, maps: Sequence[Map]) -> Floats:
    """Return calibrated probabilities, `[items, classes]`; without maps they stay as they are."""
    if not maps:
        return probabilities
    return np.stack([f(column) for f, column in zip(maps, probabilities.T, strict=True)], axis=1)


def calibration_error(targets: NDArray[Any], probabilities: Floats) -> float:
    """Return the expected calibration error, the mean over classes (Nixon et al., 2019).

    Of a class: the mean over ten equal parts of 0 to 1, weighted by their number of items, of the
    distance between the mean probability and the share of positives.

    Args:
        targets: 0 or 1, `[items, classes]`.
        probabilities: From 0 to 1, `[items, classes]`.
    """
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    excess = probabilities - targets
    gaps = [np.abs(np.where(bins == part, excess, 0).sum(axis=0)) for part in range(BINS)]
    return float(np.sum(gaps, axis=0).mean() / len(targets))


def as_json(maps: Sequence[Map]) -> list[dict[str, Any]]:
    """Return maps as JSON can hold them."""
    return [asdict(f) for f in maps]


def from_json(content: Sequence[Mapping[str, Any]]) -> list[Map]:
    """Return the maps that `as_json` was given."""
    return [Isotonic(**fields) if "x" in fields else Platt(**fields) for fields in content]


def _fit(truth: NDArray[Any], probabilities: Floats, method: Method) -> Map | None:
    """Return the map of one class; None if too little is known of it or the map would fall."""
    if min(truth.sum(), (1 - truth).sum()) < LEAST_POSITIVES:
        return None
    return (_fit_isotonic if method == "isotonic" else _fit_platt)(truth, probabilities)


def _fit_platt(truth: NDArray[Any], probabilities: Floats) -> Platt | None:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression().fit(_log_odds(probabilities)[:, np.newaxis], truth)
    slope = float(fitted.coef_[0, 0])
    return Platt(slope, float(fitted.intercept_[0])) if slope > 0 else None


def _fit_isotonic(truth: NDArray[Any], probabilities: Floats) -> Isotonic | None:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit(probabilities, truth)
    x, y = fitted.X_thresholds_, fitted.y_thresholds_
    return Isotonic(x.tolist(), y.tolist()) if y[-1] > y[0] else None


def _log_odds(probabilities: Floats) -> Floats:
    inside = np.clip(probabilities, _SMALLEST, 1 - _SMALLEST)
    odds: Floats = np.log(inside / (1 - inside))
    return odds
