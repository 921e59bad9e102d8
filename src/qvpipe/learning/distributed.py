"""Training on several devices: one process each, started by `torchrun`."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from qvpipe.learning.network import Network


@dataclass(frozen=True)
class World:
    """The processes that train one network together.

    Attributes:
        rank: Number of this process, from 0; the first one logs and writes.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    def share(self, items: Tensor) -> Tensor:
        """Return the items that are this process's."""
        return items[self.rank :: self.size]

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over the processes, the same in each."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def wrap(self, network: Network, device: torch.device) -> nn.Module:
        """Return a network whose gradients are averaged over the processes."""
        if self.size == 1:
            return network
        return DistributedDataParallel(network, [device] if device.type == "cuda" else None)

    def summing(self, model: nn.Module, last: bool) -> contextlib.AbstractContextManager[None]:
        """Put gradients together only in the last part of a batch."""
        if last or not isinstance(model, DistributedDataParallel):
            return contextlib.nullcontext()
        return model.no_sync()


ALONE = World()


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[tuple[World, torch.device]]:
    """Join the processes that `torchrun` started and give this one's place and device.

    Without `torchrun` it is alone and keeps the device.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE, device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(distributed.get_rank(), size), device
    finally:
        distributed.destroy_process_group()


def synchronise_norms(network: Network, world: World, device: torch.device) -> None:
    """Let batch normalisation see the batch of all processes; PyTorch has that for GPUs alone."""
    if world.size > 1 and device.type == "cuda":
        network.backbone = convert_sync_batchnorm(network.backbone)
