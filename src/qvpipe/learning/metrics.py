"""Average precision, over classes, folds and chance."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

Floats = NDArray[np.floating[Any]]
Targets = NDArray[np.floating[Any] | np.integer[Any]]


def average_precisions(targets: Targets, scores: Floats) -> Floats:
    """Return the average precision of each class, from 0 to 1, `[classes]`.

    A class without a positive item has none: its value is NaN.

    Args:
        targets: 0 or 1, `[items, classes]`.
        scores: Higher means more likely, `[items, classes]`.
    """
    return np.array(
        [
            average_precision_score(truth, score) if truth.any() else np.nan
            for truth, score in zip(targets.T, scores.T, strict=True)
        ]
    )


def mean_average_precision(targets: Targets, scores: Floats) -> float:
    """Return the mean of the average precisions of the classes that have a positive item.

    It is 0 where no class has one.
    """
    return _mean(average_precisions(targets, scores))


def summary(
    targets: Targets, scores: Floats, classes: Sequence[str], normal: str | None
) -> dict[str, Any]:
    """Return `map`, `map_defects` (without the normal class) and `per_class` (None: no positive).

    Args:
        targets: 0 or 1, `[items, classes]`.
        scores: Higher means more likely, `[items, classes]`.
        classes: Names in the order of the columns.
        normal: Name of the class that is no defect, if there is one.
    """
    precisions = average_precisions(targets, scores)
    defects = [i for i, name in enumerate(classes) if name != normal]
    return {
        "map": _mean(precisions),
        "map_defects": _mean(precisions[defects]),
        "per_class": {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(classes, precisions, strict=True)
        },
    }


def chance(targets: Targets, seed: int, repeats: int = 100) -> float:
    """Return the mAP that scores without any knowledge reach on average.

    With few positives it lies above their share, which is the limit for many items.

    Args:
        targets: 0 or 1, `[items, classes]`.
        seed: Of the random scores.
        repeats: How many sets of random scores are averaged.
    """
    random = np.random.default_rng(seed)
    return float(
        np.mean(
            [mean_average_precision(targets, random.random(targets.shape)) for _ in range(repeats)]
        )
    )


def _mean(precisions: Floats) -> float:
    known = precisions[~np.isnan(precisions)]
    return float(known.mean()) if known.size else 0.0
