"""The items of a data set: held in memory, or read again for every batch."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Read = Callable[[str], NDArray[np.uint8]]
"""Reads the pictures of an item, `[views, height, width, 3]`."""

CHUNK = 256
"""Items that are decoded at once on their way to the device."""

READERS = 16
"""Processes that read where the settings leave it open, at most: each holds PyTorch in memory."""

FREE_SHARE = 0.4
"""Share of the free memory that pictures may fill; the network needs the rest."""


class OnDemand:
    """Pictures that worker processes read when they are asked for, ahead of the network."""

    def __init__(self, names: Sequence[str], read: Read, workers: int, pinned: bool) -> None:
        """Say where they come from.

        Args:
            names: Of the items.
            read: Reads the pictures of one; goes to the workers, so it must be picklable.
            workers: Number of processes, which stay until the end; 0 reads in this one.
            pinned: Whether batches lie where a GPU fetches them by itself.
        """
        self._parts: list[list[int]] = []
        self._loader = DataLoader(
            _Reading(list(names), read),
            batch_sampler=self._parts,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pinned,
            # A process that uses a GPU must not be forked.
            multiprocessing_context="spawn" if workers else None,
        )

    def batches(self, parts: Sequence[Tensor], device: torch.device) -> Iterator[Tensor]:
        """Give the pictures of parts of the items, `[part, views, 3, height, width]`."""
        self._parts[:] = [part.tolist() for part in parts]
        for pictures in self._loader:
            yield pictures.to(device, non_blocking=True)


@dataclass(frozen=True)
class _Reading(Dataset[Tensor]):
    names: Sequence[str]
    read: Read

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, position: int) -> Tensor:
        return torch.from_numpy(self.read(self.names[position])).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Items:
    """Items of a data set.

    Attributes:
        pictures: uint8 `[items, views, 3, height, width]`, or what reads them.
        targets: float32, 0 or 1, `[items, classes]`.
    """

    pictures: Tensor | OnDemand
    targets: Tensor

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.targets)

    def to(self, device: torch.device) -> "Items":
        """Return the same items with all that is held on a device."""
        held = self.pictures
        return Items(held.to(device) if isinstance(held, Tensor) else held, self.targets.to(device))

    def batches(self, parts: Sequence[Tensor], device: torch.device) -> Iterator[Tensor]:
        """Give the pictures of parts of the items, on the device."""
        if isinstance(self.pictures, OnDemand):
            yield from self.pictures.batches(parts, device)
        else:
            for part in parts:
                yield self.pictures[part].to(device)


def read_items(
    names: Sequence[str],
    read: Read,
    targets: Tensor,
    device: torch.device,
    cache: Literal["auto", "device", "workers"] = "auto",
    workers: int = 0,
) -> Items:
    """Return items whose pictures are held on the device, where they fit.

    Args:
        names: Of the items.
        read: Reads the pictures of one; all are of one size.
        targets: float32, 0 or 1, `[items, classes]`.
        device: Where the pictures are to lie.
        cache: `device` holds them, `workers` reads them for every batch, `auto` chooses.
        workers: Processes that read; 0 is one for each core, and at most `READERS`.
    """
    first = read(names[0])
    fits = first.nbytes * len(names) < FREE_SHARE * free_memory(device)
    if cache == "workers" or (cache == "auto" and not fits):
        processes = workers or min(os.cpu_count() or 1, READERS)
        pictures = OnDemand(names, read, processes, pinned=device.type == "cuda")
        return Items(pictures, targets.to(device))
    held = torch.empty((len(names), *first.shape), dtype=torch.uint8, device=device)
    with ThreadPoolExecutor(workers or None) as pool:
        for start in range(0, len(names), CHUNK):
            chunk = np.stack(list(pool.map(read, names[start : start + CHUNK])))
            held[start : start + CHUNK] = torch.from_numpy(chunk).to(device)
    return Items(held.permute(0, 1, 4, 2, 3), targets.to(device))


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free where a device keeps its tensors."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("MemAvail")).split()[1])
    except (OSError, StopIteration):
        return 2**33  # other systems do not say, and have 8 GB at least
