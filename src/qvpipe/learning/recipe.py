"""The recipe of the winners as optimizer, schedule and moving average."""

from collections.abc import Iterator
from typing import Any

import torch
from timm.optim._param_groups import param_groups_weight_decay
from timm.utils.model_ema import ModelEmaV3
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from qvpipe.config import TrainSettings
from qvpipe.learning.network import Network


def make_optimizer(network: Network, recipe: TrainSettings, device: torch.device) -> AdamW:
    """Return AdamW without decay on norms and biases, and with a rate of its own for the backbone.

    Args:
        network: Lies on its device already.
        recipe: Learning rates and decay.
        device: Where it lies; a GPU has a fused kernel for the whole step.
    """
    return AdamW(list(_groups(network, recipe)), lr=recipe.lr, fused=device.type == "cuda")


def make_schedule(optimizer: AdamW, recipe: TrainSettings, steps: int) -> OneCycleLR:
    """Return OneCycle (Smith and Topin, 2018) over all steps of a training.

    Args:
        optimizer: Its groups' rates are their peaks.
        recipe: Epochs and warm-up.
        steps: In one epoch.
    """
    peaks = [group["lr"] for group in optimizer.param_groups]
    return OneCycleLR(optimizer, peaks, total_steps=recipe.epochs * steps, pct_start=recipe.warmup)


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
        for group in param_groups_weight_decay(part, recipe.weight_decay, True, undecayed):
            yield {**group, "lr": rate}
