"""Tasks: what the logits of a network say of an item, and how good its decisions are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from qvpipe.learning import metrics
from qvpipe.learning.metrics import Floats, Interval, Targets

Name = Literal["multilabel", "multiclass"]

Activation = Callable[[Tensor], Tensor]
"""From logits `[items, classes]` to probabilities of the same shape."""


@dataclass(frozen=True)
class Measure:
    """The number that models are chosen by: the epoch that is kept, weights, the champion.

    Attributes:
        key: Its name in metrics.
        title: What people call it.
        of: Returns it for targets and probabilities, `[items, classes]` each.
        interval: Returns it with its interval over groups; see `metrics.bootstrap`.
        difference: Returns by how much it is higher for the second of two sets of probabilities,
            with the interval over groups; see `metrics.paired_bootstrap`.
    """

    key: str
    title: str
    of: Callable[[Targets, Floats], float]
    interval: Callable[..., Interval]
    difference: Callable[..., Interval]


MEASURES: Mapping[Name, Measure] = {
    "multilabel": Measure(
        "map",
        "mAP",
        metrics.mean_average_precision,
        metrics.bootstrap,
        metrics.paired_bootstrap,
    ),
    "multiclass": Measure(
        "accuracy",
        "accuracy",
        metrics.accuracy,
        metrics.bootstrap_accuracy,
        metrics.paired_bootstrap_accuracy,
    ),
}
"""The measure of each task.

Of a single choice it is the accuracy and not the mean F1 over classes: it is what such data sets
are compared by, a mean over items, which resampling suits, and close to F1 where classes are
balanced.
"""


def activation(task: Name) -> Activation:
    """Return what makes probabilities of logits: each class for itself, or all adding up to 1."""
    return partial(torch.softmax, dim=-1) if task == "multiclass" else torch.sigmoid


def decisions(
    task: Name, targets: Targets, scores: Floats, classes: Sequence[str]
) -> dict[str, Any]:
    """Return how good the decisions for the most probable class are; nothing for `multilabel`.

    Those of `multilabel` hang on thresholds, which are chosen at the very end.

    Args:
        task: The task.
        targets: 0 or 1, `[items, classes]`.
        scores: Probabilities, `[items, classes]`.
        classes: Names in the order of the columns.

    Returns:
        `accuracy`, the means over classes of `precision`, `recall` and `f1`, and
        `per_class_f1` (name to value), each from 0 to 1, and `log_loss`, the cross-entropy of the
        probabilities in nats.
    """
    if task == "multilabel":
        return {}
    from sklearn.metrics import precision_recall_fscore_support

    truth, found = targets.argmax(axis=1), scores.argmax(axis=1)
    said = np.take_along_axis(scores, truth[:, np.newaxis], axis=1)
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, found, labels=np.arange(len(classes)), zero_division=0
    )
    return {
        "accuracy": metrics.accuracy(targets, scores),
        "precision": float(precision.mean()),
        "recall": float(recall.mean()),
        "f1": float(f1.mean()),
        "log_loss": float(-np.log(np.maximum(said, np.finfo(np.float32).tiny)).mean()),
        "per_class_f1": dict(zip(classes, map(float, f1), strict=True)),
    }
