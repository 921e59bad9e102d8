"""Losses of multi-label and multi-class classification.

Each takes logits `[batch, classes]` and targets of the same shape in [0, 1] and works in float32
whatever comes in. Those of multi-label classification return the mean over all entries, so that a
learning rate carries over from one to another; cross-entropy returns the mean over the items.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from qvpipe.config import AslSettings, BceSettings, CbFocalSettings, CeSettings, Settings

Loss = Callable[[Tensor, Tensor], Tensor]


def make_loss(settings: Settings, positives: Tensor) -> Loss:
    """Return the loss that the settings name.

    Args:
        settings: `loss` names it, `losses` holds its settings.
        positives: Number of positive training items of each class, `[classes]`.
    """
    if settings.loss == "asl":
        return asl(settings.losses.asl)
    if settings.loss == "cb_focal":
        return cb_focal(settings.losses.cb_focal, positives)
    if settings.loss == "ce":
        return ce(settings.losses.ce)
    return bce(settings.losses.bce)


def bce(settings: BceSettings) -> Loss:
    """Binary cross-entropy."""

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        smooth = targets + settings.label_smoothing * (0.5 - targets)
        return functional.binary_cross_entropy_with_logits(logits.float(), smooth)

    return loss


def ce(settings: CeSettings) -> Loss:
    """Cross-entropy; targets are the probabilities of the classes, so that MixUp can mix them."""

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(
            logits.float(), targets, label_smoothing=settings.label_smoothing
        )

    return loss


def asl(settings: AslSettings) -> Loss:
    """Asymmetric loss: hard negatives count, easy ones hardly (Ridnik et al., ICCV 2021)."""

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        logits = logits.float()
        probability = logits.sigmoid()
        shifted = (probability - settings.clip).clamp(min=0)
        # With nothing to clip, the logit gives the exact logarithm even where 1 - p rounds to 0.
        log_negative = (
            torch.log1p(-shifted) if settings.clip > 0 else functional.logsigmoid(-logits)
        )
        positive = power(1 - probability, settings.gamma_pos) * functional.logsigmoid(logits)
        negative = power(shifted, settings.gamma_neg) * log_negative
        return -(targets * positive + (1 - targets) * negative).mean()

    return loss


def cb_focal(settings: CbFocalSettings, positives: Tensor) -> Loss:
    """Class-balanced focal loss (Cui et al., CVPR 2019; Lin et al., ICCV 2017).

    A class with n positives weighs (1 - beta) / (1 - beta^n); the weights are scaled to a mean
    of 1. A class without positives weighs as one with a single positive.
    """
    positives = positives.clamp(min=1).float()
    effective = (1 - settings.beta**positives) / (1 - settings.beta)
    weights = 1 / effective
    weights = weights * len(weights) / weights.sum()

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        logits = logits.float()
        probability = logits.sigmoid()
        positive = power(1 - probability, settings.gamma) * functional.logsigmoid(logits)
        negative = power(probability, settings.gamma) * functional.logsigmoid(-logits)
        return -(weights * (targets * positive + (1 - targets) * negative)).mean()

    return loss


def power(base: Tensor, exponent: float) -> Tensor:
    """Return `base ** exponent` for a base from 0 to 1, with a gradient that is finite at 0."""
    return base.clamp(min=1e-8).pow(exponent)
