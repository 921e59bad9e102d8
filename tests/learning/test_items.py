"""Pictures held on the device and pictures read by workers are the same to the loop."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from qvpipe.config import BceSettings, ModelSettings, TrainSettings
from qvpipe.learning import items
from qvpipe.learning.fit import Fit, fit
from qvpipe.learning.items import OnDemand, read_items
from qvpipe.learning.losses import bce
from qvpipe.learning.network import Network
from tests.learning.stored import read

CPU = torch.device("cpu")
TARGETS = torch.tensor([[k % 2, k % 3 == 0] for k in range(12)]).float()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for k in range(12):
        np.save(tmp_path / f"{k}.npy", random.integers(0, 256, (1, 32, 32, 3), dtype=np.uint8))
    return tmp_path


def trained(folder: Path, cache: str) -> Fit:
    reader, names = partial(read, folder=folder), [str(k) for k in range(12)]
    part = read_items(names, reader, TARGETS, CPU, cache, workers=1)  # type: ignore[arg-type]
    assert isinstance(part.pictures, OnDemand) == (cache == "workers")
    torch.manual_seed(0)
    model = ModelSettings(input="frames", size=32, backbone="test_resnet", pretrained="none")
    recipe = TrainSettings(epochs=2, batch_size=4, ema_decay=0.5)
    return fit(Network(model, 2, "none"), part, part, bce(BceSettings()), recipe, CPU, grid=2)


@pytest.mark.slow
def test_both_give_the_same_weights(folder: Path) -> None:
    held, read_again = trained(folder, "device"), trained(folder, "workers")
    assert all(torch.equal(held.state[name], read_again.state[name]) for name in held.state)
    assert torch.equal(held.probabilities, read_again.probabilities)


def test_pictures_are_held_where_they_fit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [str(k) for k in range(12)]
    held = read_items(names, partial(read, folder=folder), TARGETS, CPU).pictures
    assert isinstance(held, torch.Tensor)
    assert held.shape == (12, 1, 3, 32, 32)
    expected = read("7", folder)[0].transpose(2, 0, 1)
    assert (held[7, 0].numpy() == expected).all()
    monkeypatch.setattr(items, "free_memory", lambda device: 12 * 32 * 32 * 3)
    assert isinstance(
        read_items(names, partial(read, folder=folder), TARGETS, CPU).pictures, OnDemand
    )


def test_the_free_memory_is_that_of_the_machine() -> None:
    assert 2**26 < items.free_memory(CPU) < 2**46
