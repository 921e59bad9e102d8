"""How the probabilities of folds and members become one."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def member_weights(
    scores: Mapping[str, float], how: Literal["validation", "equal"] | Mapping[str, float]
) -> dict[str, float]:
    """Return a weight for each member; together they are 1.

    Args:
        scores: How good each member is in validation, by the task's measure.
        how: `validation` for weights in proportion to that, `equal` for equal ones, or the weight
            of each member.
    """
    if isinstance(how, Mapping):
        shares = {name: how[name] for name in scores}
    else:
        shares = {name: value if how == "validation" else 1.0 for name, value in scores.items()}
    total = sum(shares.values())
    if total == 0:
        return {name: 1 / len(shares) for name in shares}
    return {name: share / total for name, share in shares.items()}


def combine(
    probabilities: Mapping[str, Floats],
    weights: Mapping[str, float],
    normal: int | None,
    normal_above: float | None,
    calibrate: Callable[[Floats], Floats] = lambda mean: mean,
) -> Floats:
    """Return the weighted mean over members, calibrated, with the rule for the normal class.

    The rule looks at the mean before calibration, so that calibration changes no average
    precision. As a class's calibration rises strictly, this is the rule on its calibrated
    probability with a calibrated limit.

    Args:
        probabilities: Of each member, `[items, classes]`, from 0 to 1.
        weights: Of each member; together 1.
        normal: Index of the normal class, if there is one.
        normal_above: Where the normal class is more probable than this, all others become 0;
            None switches the rule off.
        calibrate: From the mean to calibrated probabilities, `[items, classes]` each.
    """
    mean: Floats = np.asarray(
        sum((weights[name] * values for name, values in probabilities.items()), np.float64(0))
    )
    combined = calibrate(mean)
    if normal is None or normal_above is None:
        return combined
    alone = np.zeros_like(combined)
    alone[:, normal] = combined[:, normal]
    return np.where(mean[:, [normal]] > normal_above, alone, combined)
