"""The training loop."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from qvpipe.config import TrainSettings
from qvpipe.errors import QvpipeError
from qvpipe.learning import checkpoint
from qvpipe.learning.augment import augment, draw
from qvpipe.learning.backbones import checkpoint_activations
from qvpipe.learning.distributed import ALONE, World, synchronise_norms
from qvpipe.learning.evaluate import autotuned, choose_precision, mixed, predict_batches
from qvpipe.learning.items import Items
from qvpipe.learning.losses import Loss
from qvpipe.learning.metrics import Floats, Targets, mean_average_precision
from qvpipe.learning.network import Network
from qvpipe.learning.recipe import make_average, make_optimizer, make_schedule
from qvpipe.learning.tasks import MEASURES, Name, activation, decisions


@dataclass(frozen=True)
class Epoch:
    """What an epoch came to.

    Attributes:
        number: From 1.
        loss: Mean training loss.
        map: Validation mAP of the better of two sets of weights.
        map_raw: Of the weights as they are.
        map_ema: Of their moving average; without one, the same as `map_raw`.
        lr: Last learning rate of the head.
        items_per_s: Items learned from in a second.
        seconds: The whole epoch with its validation.
        score: By what the better weights and the best epoch are chosen: the task's measure, then
            `map`.
        decided: What `tasks.decisions` says of the better probabilities, without single classes.
    """

    number: int
    loss: float
    map: float
    map_raw: float
    map_ema: float
    lr: float
    items_per_s: float
    seconds: float
    score: tuple[float, float]
    decided: Mapping[str, float] = field(default_factory=dict)

    def row(self) -> dict[str, float]:
        """Return all values by their names."""
        values: dict[str, float] = dataclasses.asdict(self)
        del values["decided"], values["score"]
        return {**values, **self.decided}


@dataclass
class Progress:
    """All that a training changes; what is saved after every epoch and gone on from.

    Attributes:
        curve: The epochs so far.
        state: The better weights of the best of them, on the CPU.
        probabilities: Of the validation items by that state.
    """

    network: Network
    optimizer: Optimizer
    schedule: LRScheduler
    scaler: torch.amp.GradScaler
    average: ModelEmaV3 | None
    curve: list[Epoch] = field(default_factory=list)
    state: dict[str, Tensor] = field(default_factory=dict)
    probabilities: Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def best(self) -> Epoch:
        """The first epoch with the highest score in validation."""
        return max(self.curve, key=lambda epoch: epoch.score)

    @property
    def stale(self) -> int:
        """The number of epochs since the best one."""
        return len(self.curve) - self.best.number if self.curve else 0

    def step(self, clip_norm: float) -> float:
        """Move the weights by the gradients that have added up, and return the rate of the head."""
        if clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        lr = float(self.schedule.get_last_lr()[-1])
        self.schedule.step()
        if self.average:
            self.average.update(self.network, self.schedule.last_epoch)
        return lr

    def add(self, epoch: Epoch, network: nn.Module, probabilities: Tensor) -> None:
        """Add an epoch, and keep its weights if it is the best."""
        self.curve.append(epoch)
        if self.best is epoch:
            self.probabilities = probabilities
            self.state = {
                name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
                for name, value in network.state_dict().items()
            }

    def save(self, path: Path | None) -> None:
        """Write everything to a file, if there is to be one."""
        if path is None:
            return
        content = {name: part.state_dict() for name, part in self._parts().items()}
        curve = [dataclasses.asdict(epoch) for epoch in self.curve]
        kept = {"state": self.state, "probabilities": self.probabilities}
        checkpoint.save(path, {**content, **kept, "curve": curve})

    def load(self, path: Path | None) -> None:
        """Go on from a file, if there is one."""
        content = checkpoint.load(path)
        if content is None:
            return
        for name, part in self._parts().items():
            part.load_state_dict(content[name])
        self.curve = [Epoch(**epoch) for epoch in content["curve"]]
        self.state, self.probabilities = content["state"], content["probabilities"]

    def _parts(self) -> dict[str, Any]:
        parts = {name: getattr(self, name) for name in ("network", "optimizer", "schedule")}
        parts["scaler"] = self.scaler
        return parts if self.average is None else {**parts, "average": self.average}


@dataclass(frozen=True)
class Work:
    """What a training is told, as `fit` describes it; the items lie on the device."""

    train: Items
    valid: Items
    loss: Loss
    recipe: TrainSettings
    device: torch.device
    task: Name = "multilabel"
    grid: int = 1
    seed: int = 0
    world: World = ALONE

    @property
    def sizes(self) -> list[int]:
        """The sizes of the batches of an epoch."""
        return batch_sizes(len(self.train), self.recipe.batch_size, least=2 * self.world.size)

    @property
    def precision(self) -> torch.dtype:
        """Of the arithmetic."""
        return choose_precision(self.device, self.recipe.amp)


@dataclass(frozen=True)
class Fit:
    """A finished training.

    Attributes:
        best: The epoch with the highest score in validation.
        curve: Every epoch.
        state: The better weights of the best epoch, raw or averaged, on the CPU.
        probabilities: Of the validation items by that state, float32 `[items, classes]`.
    """

    best: Epoch
    curve: tuple[Epoch, ...]
    state: dict[str, Tensor]
    probabilities: Tensor


def fit(
    network: Network,
    train: Items,
    valid: Items,
    loss: Loss,
    recipe: TrainSettings,
    device: torch.device,
    *,
    task: Name = "multilabel",
    grid: int = 1,
    seed: int = 0,
    world: World = ALONE,
    resume: Path | None = None,
    on_step: Callable[[int], object] = lambda items: None,
    on_epoch: Callable[[Epoch], object] = lambda epoch: None,
) -> Fit:
    """Train a network and keep the weights of its best epoch.

    All chance comes from the seed and the number of the epoch, so a training that was killed goes
    on from its last epoch as if nothing had been.

    Args:
        network: Takes `Items.pictures`, gives logits `[items, classes]`; is trained in place.
        train: What is learned from.
        valid: What every epoch is judged by.
        loss: Of logits and targets.
        recipe: Settings of the training.
        device: Where the work is done.
        task: What the logits say.
        grid: Tiles in a row of a super-image; 1 if pictures have none.
        seed: Of the order, the augmentation and dropout.
        world: The processes that share the work; each has all items.
        resume: Where every epoch is saved, and gone on from; None saves nothing.
        on_step: Called after each step with the number of its items.
        on_epoch: Called after each epoch, also after those of a training that was killed.

    Raises:
        QvpipeError: If the loss is no longer a number, or the backbone has no checkpointing.
    """
    work = Work(train.to(device), valid.to(device), loss, recipe, device, task, grid, seed, world)
    truth = valid.targets.cpu().numpy()
    network.to(device).lay_out(recipe.channels_last)
    synchronise_norms(network, world, device)
    if recipe.checkpointing:
        checkpoint_activations(network.backbone)
    progress = begin(network, work)
    progress.load(resume)
    for epoch in progress.curve:
        on_epoch(epoch)
    model = world.wrap(network, device)
    if recipe.compile:
        model.compile()

    while len(progress.curve) < recipe.epochs and progress.stale < recipe.patience:
        start, number = time.perf_counter(), len(progress.curve) + 1
        with autotuned():
            total, lr = learn(model, progress, work, number, on_step)
        mean_loss = world.sum(total).item() / len(train)
        if not math.isfinite(mean_loss):
            raise QvpipeError(
                f"training diverged: the loss of epoch {number} is not a number; lower train.lr "
                f"(it is {recipe.lr:g})"
            )
        learned = time.perf_counter() - start

        candidates = [network, progress.average.module] if progress.average else [network]
        with torch.compiler.set_stance("force_eager"):
            found = [_judge(candidate, work) for candidate in candidates]
        maps = [mean_average_precision(truth, probabilities.numpy()) for probabilities in found]
        scores = [MEASURES[task].of(truth, probabilities.numpy()) for probabilities in found]
        better = -1 if (scores[-1], maps[-1]) >= (scores[0], maps[0]) else 0
        epoch = Epoch(
            number=number,
            loss=mean_loss,
            map=maps[better],
            map_raw=maps[0],
            map_ema=maps[-1],
            lr=lr,
            items_per_s=len(train) / learned,
            seconds=time.perf_counter() - start,
            score=(scores[better], maps[better]),
            decided=_decided(task, truth, found[better].numpy()),
        )
        progress.add(epoch, candidates[better], found[better])
        if world.rank == 0:
            progress.save(resume)
        on_epoch(epoch)
    return Fit(progress.best, tuple(progress.curve), progress.state, progress.probabilities)


def begin(network: Network, work: Work) -> Progress:
    """Return the progress of a training that has done nothing yet; the network is on its device."""
    optimizer = make_optimizer(network, work.recipe, work.device)
    schedule = make_schedule(optimizer, work.recipe, len(work.sizes))
    scaler = torch.amp.GradScaler(work.device.type, enabled=work.precision == torch.float16)
    return Progress(network, optimizer, schedule, scaler, make_average(network, work.recipe))


def learn(
    model: nn.Module,
    progress: Progress,
    work: Work,
    number: int,
    on_step: Callable[[int], object] = lambda items: None,
) -> tuple[Tensor, float]:
    """Learn from every item once.

    No step waits for the device, so nothing here asks for the value of a tensor.

    Args:
        model: The network of `progress`, or what wraps it.
        progress: Is moved on.
        work: What the training is told.
        number: Of the epoch, from 1.
        on_step: Called after each step with the number of its items.

    Returns:
        The sum of the items' losses, on the device, and the last learning rate of the head.
    """
    recipe, world, device, train = work.recipe, work.world, work.device, work.train
    random = np.random.default_rng([work.seed, number])
    torch.manual_seed(int(random.integers(2**32)) + world.rank)
    order = torch.from_numpy(random.permutation(len(train))).to(device)
    choices = draw(len(train), recipe, work.grid, random, device)
    batches = order.split(work.sizes)
    shares = [
        world.share(batch).tensor_split(min(recipe.accumulate, len(batch) // world.size))
        for batch in batches
    ]
    pictures = train.batches([part for share in shares for part in share], device)
    total, lr = torch.zeros((), device=device), 0.0
    progress.network.train()
    for batch, share in zip(batches, shares, strict=True):
        for part in share:
            seen, wanted = augment(next(pictures), train.targets[part], choices.of(part))
            with world.summing(model, last=part is share[-1]):
                with mixed(device, work.precision):
                    logits = model(seen)
                value = work.loss(logits, wanted) * (len(part) / len(batch))
                progress.scaler.scale(value * world.size).backward()
            total += value.detach() * len(batch)
        lr = progress.step(recipe.clip_norm)
        on_step(len(batch))
    return total, lr


def batch_sizes(items: int, batch_size: int, least: int) -> list[int]:
    """Return the sizes of the batches of an epoch.

    The last batch may be smaller; below `least` it joins the one before, since a single item
    would leave batch normalisation without a variance, and a process without an item waits.
    """
    sizes = [batch_size] * (items // batch_size)
    rest = items - sum(sizes)
    if sizes and rest < least:
        sizes[-1] += rest
        return sizes
    return [*sizes, rest]


def _judge(network: nn.Module, work: Work) -> Tensor:
    """Return the probabilities of the validation items, on the CPU, found by all processes."""
    valid, device = work.valid, work.device
    mine = work.world.share(torch.arange(len(valid), device=device))
    probabilities = torch.zeros_like(valid.targets)
    if len(mine):
        batches = valid.batches(mine.split(work.recipe.batch_size), device)
        probabilities[mine] = predict_batches(
            network, batches, device, work.precision, activation(work.task)
        )
    return work.world.sum(probabilities).cpu()


def _decided(task: Name, truth: Targets, probabilities: Floats) -> dict[str, float]:
    classes = [str(column) for column in range(truth.shape[1])]
    found = decisions(task, truth, probabilities, classes)
    return {name: value for name, value in found.items() if isinstance(value, float)}
