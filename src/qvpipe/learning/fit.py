"""The training loop."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from qvpipe.config import TrainSettings
from qvpipe.errors import QvpipeError
from qvpipe.learning.evaluate import choose_precision, predict
from qvpipe.learning.losses import Loss
from qvpipe.learning.metrics import mean_average_precision


@dataclass(frozen=True)
class Items:
    """Items of a data set, held in memory.

    Attributes:
        pictures: uint8 `[items, views, 3, height, width]`.
        targets: float32, 0 or 1, `[items, classes]`.
    """

    pictures: Tensor
    targets: Tensor

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.pictures)

    def to(self, device: torch.device) -> "Items":
        """Return the same items on a device."""
        return Items(self.pictures.to(device), self.targets.to(device))


@dataclass(frozen=True)
class Epoch:
    """What an epoch came to: mean training loss, validation mAP, last learning rate, speed."""

    number: int
    loss: float
    map: float
    lr: float
    items_per_s: float


@dataclass(frozen=True)
class Fit:
    """A finished training.

    Attributes:
        best: The epoch with the highest validation mAP.
        curve: Every epoch.
        state: The network's state after the best epoch, on the CPU.
        probabilities: Of the validation items by that state, float32 `[items, classes]`.
    """

    best: Epoch
    curve: tuple[Epoch, ...]
    state: dict[str, Tensor]
    probabilities: Tensor


Augmentation = Callable[[Tensor], Tensor]


def fit(
    network: nn.Module,
    train: Items,
    valid: Items,
    loss: Loss,
    augment: Augmentation,
    recipe: TrainSettings,
    device: torch.device,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Fit:
    """Train a network and keep the weights of its best epoch.

    AdamW, OneCycle per step, mixed precision where the device has it, a moving average of the
    weights that is what is validated, and an end when the validation mAP no longer rises.

    Args:
        network: Takes `Items.pictures`, gives logits `[items, classes]`; is trained in place.
        train: What is learned from.
        valid: What every epoch is judged by.
        loss: Of logits and targets.
        augment: Applied to the pictures of every training batch.
        recipe: Settings of the training.
        device: Where the work is done.
        on_epoch: Called after each epoch.

    Raises:
        QvpipeError: If the loss is no longer a number.
    """
    network = network.to(device).to(memory_format=torch.channels_last)
    train, valid = train.to(device), valid.to(device)
    steps = math.ceil(len(train) / recipe.batch_size)
    optimizer = torch.optim.AdamW(
        (parameter for parameter in network.parameters() if parameter.requires_grad),
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.lr, total_steps=recipe.epochs * steps, pct_start=recipe.warmup
    )
    precision = choose_precision(device, recipe.amp)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    average = ModelEmaV3(network, decay=recipe.ema_decay, use_warmup=True)
    curve: list[Epoch] = []
    best = Fit(Epoch(0, math.nan, -1.0, 0.0, 0.0), (), {}, torch.empty(0))

    for number in range(1, recipe.epochs + 1):
        start = time.perf_counter()
        network.train()
        total = torch.zeros((), device=device)
        for batch in _batches(train, recipe.batch_size):
            with torch.autocast(device.type, precision, enabled=precision != torch.float32):
                logits = network(augment(batch.pictures))
            value = loss(logits, batch.targets)
            scaler.scale(value).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
            lr = float(schedule.get_last_lr()[0])
            schedule.step()
            average.update(network, schedule.last_epoch)
            total += value.detach() * len(batch)
        mean_loss = total.item() / len(train)
        if not math.isfinite(mean_loss):
            raise QvpipeError(
                f"training diverged: the loss of epoch {number} is not a number; lower train.lr "
                f"(it is {recipe.lr:g})"
            )
        seconds = time.perf_counter() - start
        probabilities = predict(
            average.module, valid.pictures, recipe.batch_size, device, precision
        )
        score = mean_average_precision(valid.targets.cpu().numpy(), probabilities.numpy())
        epoch = Epoch(number, mean_loss, score, lr, len(train) / seconds)
        curve.append(epoch)
        on_epoch(epoch)
        if score > best.best.map:
            state = {
                name: value.cpu().clone(memory_format=torch.contiguous_format)
                for name, value in average.module.state_dict().items()
            }
            best = Fit(epoch, (), state, probabilities)
        if number - best.best.number >= recipe.patience:
            break
    return Fit(best.best, tuple(curve), best.state, best.probabilities)


def _batches(items: Items, size: int) -> Iterator[Items]:
    """Give the items in a random order; the last batch may be smaller, but never a single item.

    A single item would leave batch normalisation without a variance.
    """
    order = torch.randperm(len(items), device=items.pictures.device)
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    for part in parts:
        yield Items(items.pictures[part], items.targets[part])
