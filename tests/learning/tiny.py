"""A tiny training, for tests that run it in processes of their own.

    python -m tests.learning.tiny RESULT [RESUME [KILLED_AT]]

`KILLED_AT` is the call of the loss at which the process kills itself; 0 is never.
"""

import os
import signal
import sys
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from qvpipe.config import BceSettings, ModelSettings, TrainSettings
from qvpipe.learning.distributed import joined
from qvpipe.learning.fit import fit
from qvpipe.learning.items import Items
from qvpipe.learning.losses import bce
from qvpipe.learning.network import Network

# Its norm does not mix items, as batch normalisation does, which PyTorch joins on GPUs alone.
MODEL = ModelSettings(
    input="superimage", size=32, backbone="test_convnext", pretrained="none", dropout=0.0
)
RECIPE = TrainSettings(epochs=4, batch_size=8, lr=1e-3, ema_decay=0.9, clip_norm=1.0)


def items(count: int, seed: int) -> Items:
    """Return noise whose brightness tells the two classes."""
    generator = torch.Generator().manual_seed(seed)
    targets = (torch.rand(count, 2, generator=generator) < 0.5).float()
    pictures = torch.randint(0, 100, (count, 1, 3, 32, 32), generator=generator)
    pictures[:, :, 0] += (100 * targets[:, 0]).long().view(-1, 1, 1, 1)
    return Items(pictures.to(torch.uint8), targets)


def main(result: Path, resume: Path | None = None, killed_at: int = 0) -> None:
    """Train and write the weights."""
    calls = 0
    plain = bce(BceSettings())

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(logits, targets)

    torch.manual_seed(0)
    network = Network(MODEL, 2, "none")
    with joined(torch.device("cpu")) as (world, device):
        fitted = fit(
            network, items(21, 1), items(9, 2), loss, RECIPE, device,
            grid=2, seed=3, world=world, resume=resume,
        )  # fmt: skip
        if world.rank == 0:
            safetensors.torch.save_file(
                {**fitted.state, "probabilities": fitted.probabilities}, result
            )


if __name__ == "__main__":
    torch.set_num_threads(1)
    result, resume, killed_at = [*sys.argv[1:], "", "0"][:3]
    main(Path(result), Path(resume) if resume else None, int(killed_at))
