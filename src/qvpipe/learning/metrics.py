"""Average precision: over classes, as the challenge defines it, by chance, and how sure it is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Targets = NDArray[np.floating[Any] | np.integer[Any]]

SAMPLES, CHUNK = 1000, 100
"""Samples of the bootstrap, and how many of them are held in memory at once."""

LEVEL = 0.95
"""Share of the samples that lie inside an interval."""


@dataclass(frozen=True)
class Interval:
    """A value and the interval in which the share `LEVEL` of its resampled values lies.

    Attributes:
        value: On all items.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float


def average_precisions(targets: Targets, scores: Floats) -> Floats:
    """Return the average precision of each class, from 0 to 1, `[classes]`.

    A class without a positive item has none: its value is NaN.

    Args:
        targets: 0 or 1, `[items, classes]`.
        scores: Higher means more likely, `[items, classes]`.
    """
    # What judges nothing need not wait for it.
    from sklearn.metrics import average_precision_score

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


def accuracy(targets: Targets, scores: Floats) -> float:
    """Return the share of items whose most probable class is theirs.

    Args:
        targets: 0 or 1, a single 1 to an item, `[items, classes]`.
        scores: Higher means more likely, `[items, classes]`.
    """
    return float(_right(targets, scores).mean())


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


def challenge_map(
    targets: Targets, scores: Floats, columns: Sequence[int] | None = None, seed: int = 0
) -> float:
    """Return the mAP as VideoPipe 2022 defines it, in percent.

    The average precision of a class is the mean of the precisions at its positives, in order of
    the scores, and 0 without any. Where scikit-learn takes equal scores as one threshold, here a
    shuffle puts them in order.

    Args:
        targets: 0 or 1, `[items, classes]`.
        scores: Higher means more likely, `[items, classes]`.
        columns: The classes that count; None is all.
        seed: Of the shuffle.
    """
    shuffled = np.random.default_rng(seed).permutation(len(targets))
    order = shuffled[np.argsort(-scores[shuffled], axis=0, kind="stable")]
    hits = np.take_along_axis(targets, order, axis=0) > 0
    precisions = np.cumsum(hits, axis=0) / np.arange(1, len(hits) + 1)[:, np.newaxis]
    positives = hits.sum(axis=0)
    averages = (precisions * hits).sum(axis=0) / np.maximum(positives, 1)
    return float(100 * averages[_columns(targets, columns)].mean())


def bootstrap(
    targets: Targets,
    scores: Floats,
    groups: NDArray[Any],
    columns: Sequence[int] | None = None,
    seed: int = 0,
) -> Interval:
    """Return the mAP with its percentile interval over resampled groups (Efron, 1979).

    Whole groups are drawn with replacement, since clips of one inspection are no independent
    items. A sample without a positive of a class leaves that class out of its mean.

    Args:
        targets: 0 or 1, `[items, classes]`.
        scores: Higher means more likely, `[items, classes]`.
        groups: The group of each item, `[items]`.
        columns: The classes that count; None is all.
        seed: Of the samples.
    """
    counted = _columns(targets, columns)
    truth, judged = targets[:, counted], scores[:, counted]
    maps = [
        _means(weighted_average_precisions(truth, judged, weights))
        for weights in _resampled(groups, seed)
    ]
    return _interval(mean_average_precision(truth, judged), np.concatenate(maps))


def paired_bootstrap(
    targets: Targets,
    first: Floats,
    second: Floats,
    groups: NDArray[Any],
    columns: Sequence[int] | None = None,
    seed: int = 0,
) -> Interval:
    """Return by how much the mAP of `second` is above that of `first`, with its interval.

    Both are judged on the same samples of groups, so what makes a sample hard cancels out. Above
    0 with `low`, `second` is better beyond the luck of these videos.

    Args:
        targets: 0 or 1, `[items, classes]`.
        first: Higher means more likely, `[items, classes]`.
        second: The same of another model, for the same items.
        groups: The group of each item, `[items]`.
        columns: The classes that count; None is all.
        seed: Of the samples.
    """
    counted = _columns(targets, columns)
    truth, one, two = targets[:, counted], first[:, counted], second[:, counted]
    differences = [
        _means(weighted_average_precisions(truth, two, weights))
        - _means(weighted_average_precisions(truth, one, weights))
        for weights in _resampled(groups, seed)
    ]
    value = mean_average_precision(truth, two) - mean_average_precision(truth, one)
    return _interval(value, np.concatenate(differences))


def bootstrap_accuracy(
    targets: Targets,
    scores: Floats,
    groups: NDArray[Any],
    seed: int = 0,
) -> Interval:
    """Return the accuracy with its interval; see `bootstrap`.

    Args:
        targets: 0 or 1, a single 1 to an item, `[items, classes]`.
        scores: Higher means more likely, `[items, classes]`.
        groups: The group of each item, `[items]`.
        seed: Of the samples.
    """
    return _mean_over_groups(_right(targets, scores), groups, seed)


def paired_bootstrap_accuracy(
    targets: Targets,
    first: Floats,
    second: Floats,
    groups: NDArray[Any],
    seed: int = 0,
) -> Interval:
    """Return by how much the accuracy of `second` is above that of `first`, with its interval.

    See `paired_bootstrap`. What is decided is the most probable class.

    Args:
        targets: 0 or 1, a single 1 to an item, `[items, classes]`.
        first: Probabilities, `[items, classes]`.
        second: The same of another model, for the same items.
        groups: The group of each item, `[items]`.
        seed: Of the samples.
    """
    gained = _right(targets, second) - _right(targets, first)
    return _mean_over_groups(gained, groups, seed)


def weighted_average_precisions(targets: Targets, scores: Floats, weights: Floats) -> Floats:
    """Return average precisions for many sets of weights at once, `[sets, classes]`.

    Each is scikit-learn's `average_precision_score` with `sample_weight`, NaN without a positive
    of any weight, and found by one sort a class.

    Args:
        targets: 0 or 1, `[items, classes]`.
        scores: Higher means more likely, `[items, classes]`.
        weights: Of each item, 0 or more, `[sets, items]`.
    """
    averages = np.full((len(weights), targets.shape[1]), np.nan)
    for column, (truth, score) in enumerate(zip(targets.T, scores.T, strict=True)):
        order = np.argsort(-score, kind="stable")
        descending, ordered = -score[order], weights[:, order]
        positives = np.flatnonzero(truth[order])
        # Equal scores are one threshold, which takes in the last of them.
        ends = np.searchsorted(descending, descending[positives], side="right") - 1
        hits = np.cumsum(ordered[:, positives], axis=1)
        last = np.searchsorted(positives, ends, side="right") - 1
        seen = np.cumsum(ordered, axis=1)[:, ends]
        precisions = hits[:, last] / np.maximum(seen, np.finfo(float).tiny)
        total = hits[:, -1] if positives.size else np.zeros(len(weights))
        known = total > 0
        gained = (ordered[:, positives] * precisions).sum(axis=1)
        averages[known, column] = gained[known] / total[known]
    return averages


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


def _columns(targets: Targets, columns: Sequence[int] | None) -> list[int]:
    return list(range(targets.shape[1])) if columns is None else list(columns)


def _resampled(groups: NDArray[Any], seed: int) -> Iterator[Floats]:
    """Give how often each item is drawn in each sample, `[samples, items]`, chunk by chunk."""
    random = np.random.default_rng(seed)
    _, member_of = np.unique(groups, return_inverse=True)
    number = int(member_of.max()) + 1
    for _ in range(SAMPLES // CHUNK):
        drawn = random.multinomial(number, [1 / number] * number, CHUNK)
        yield drawn[:, member_of].astype(float)


def _right(targets: Targets, scores: Floats) -> Floats:
    """Return 1 for each item whose most probable class is its own, else 0, `[items]`."""
    right: Floats = np.equal(targets.argmax(axis=1), scores.argmax(axis=1)).astype(float)
    return right


def _mean_over_groups(values: Floats, groups: NDArray[Any], seed: int) -> Interval:
    """Return the mean of the items' values with its interval over resampled groups."""
    means = [weights @ values / weights.sum(axis=1) for weights in _resampled(groups, seed)]
    return _interval(float(values.mean()), np.concatenate(means))


def _interval(value: float, resampled: Floats) -> Interval:
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def _means(precisions: Floats) -> Floats:
    """Return the mean of each row without its NaN, 0 where it has nothing else."""
    known = ~np.isnan(precisions)
    return np.asarray(np.where(known, precisions, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1))


def _mean(precisions: Floats) -> float:
    known = precisions[~np.isnan(precisions)]
    return float(known.mean()) if known.size else 0.0
