"""The recipe as optimizer, schedule and moving average."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from timm.optim._param_groups import param_groups_weight_decay
from timm.utils.model_ema import ModelEmaV3
from torch import nn
from torch.optim import AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from qvpipe.config import TrainSettings
from qvpipe.learning.network import Network


def make_optimizer(network: Network, recipe: TrainSettings, device: torch.device) -> Optimizer:
    """Return the optimizer, with no decay on norms and biases and a rate for the backbone alone.

    Args:
        network: Lies on its device already.
        recipe: Names it, its learning rates and its decay.
        device: Where it lies; a GPU has a fused kernel for a whole step of AdamW.
    """
    groups = list(_groups(network, recipe))
    if recipe.optimizer == "rmsprop":
        return RMSprop(groups, lr=recipe.lr)
    return AdamW(groups, lr=recipe.lr, fused=device.type == "cuda")


def make_schedule(optimizer: Optimizer, recipe: TrainSettings, steps: int) -> LRScheduler:
    """Return the schedule of the learning rates over all steps of a training.

    It is OneCycle (Smith and Topin, 2018), half a cosine after a linear warm-up (Loshchilov and
    Hutter, ICLR 2017), or constant.

    Args:
        optimizer: Its groups' rates are their peaks.
        recipe: Names the schedule, its epochs and its warm-up.
        steps: In one epoch.
    """
    total = recipe.epochs * steps
    if recipe.schedule == "onecycle":
        return OneCycleLR(
            optimizer,
            [group["lr"] for group in optimizer.param_groups],
            total_steps=total,
            pct_start=recipe.warmup,
            # Only Adam has a momentum that OneCycle may turn against the rate.
            cycle_momentum=recipe.optimizer == "adamw",
        )
    if recipe.schedule == "cosine":
        return LambdaLR(optimizer, partial(_cosine, total=total, warmup=recipe.warmup * total))
    return LambdaLR(optimizer, lambda step: 1.0)


def _cosine(step: int, total: int, warmup: float) -> float:
    """Return the share of its peak that a learning rate has in a step."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1))) / 2


def make_average(network: Network, recipe: TrainSettings) -> ModelEmaV3 | None:
    """Return the moving average of the weights; its decay starts low and rises to the recipe's."""
    if not recipe.ema_decay:
        return None
    return ModelEmaV3(network, decay=recipe.ema_decay, use_warmup=True)


def _groups(network: Network, recipe: TrainSettings) -> Iterator[dict[str, Any]]:
    exempt: set[str] = getattr(network.backbone, "no_weight_decay", set)()
    parts: tuple[tuple[nn.Module, float, set[str]], ...] = (
        (network.backbone, recipe.lr * recipe.backbone_lr_factor, exempt),
        (network.head, recipe.lr, set()),
    )
    for part, rate, undecayed in parts:
        for group in param_groups_weight_decay(
            part, recipe.weight_decay, no_weight_decay_list=undecayed
        ):
            yield {**group, "lr": rate}
