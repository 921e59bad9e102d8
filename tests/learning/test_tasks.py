import numpy as np
import pytest
import torch
from torch import Tensor

from qvpipe.config import CeSettings, ModelSettings, TrainSettings
from qvpipe.learning.fit import fit
from qvpipe.learning.items import Items
from qvpipe.learning.losses import ce
from qvpipe.learning.network import Network
from qvpipe.learning.tasks import activation, decisions

CLASSES = ["a", "b", "c"]


def test_probabilities_of_a_single_choice_add_up_to_one() -> None:
    logits = torch.tensor([[0.0, 1.0, -1.0]])
    assert activation("multiclass")(logits).sum().item() == pytest.approx(1)
    assert activation("multilabel")(logits)[0, 0].item() == 0.5


def test_decisions_are_judged_by_hand_computed_values() -> None:
    truth = np.eye(3)[[0, 0, 1, 2]]
    scores = np.eye(3)[[0, 1, 1, 1]]
    found = decisions("multiclass", truth, scores, CLASSES)
    assert found["accuracy"] == 0.5
    assert found["precision"] == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert found["recall"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert found["per_class_f1"] == pytest.approx({"a": 2 / 3, "b": 1 / 2, "c": 0})
    assert found["f1"] == pytest.approx((2 / 3 + 1 / 2) / 3)
    assert decisions("multilabel", truth, scores, CLASSES) == {}


def test_a_network_learns_to_choose_one_class() -> None:
    recipe = TrainSettings(
        epochs=6, batch_size=8, lr=2e-3, optimizer="rmsprop", schedule="cosine", ema_decay=0.0
    )
    model = ModelSettings(input="superimage", size=32, backbone="test_resnet", pretrained="none")
    torch.manual_seed(0)
    network = Network(model, 3, "none")
    fitted = fit(
        network, items(60, 1), items(30, 2), ce(CeSettings()), recipe, torch.device("cpu"),
        task="multiclass",
    )  # fmt: skip
    assert fitted.probabilities.sum(dim=1) == pytest.approx(torch.ones(30))
    assert fitted.best.decided["accuracy"] > 0.9
    assert fitted.best.row()["accuracy"] == fitted.best.decided["accuracy"]


def items(count: int, seed: int) -> Items:
    """Return noise whose brightest channel is the class."""
    generator = torch.Generator().manual_seed(seed)
    chosen: Tensor = torch.randint(0, 3, (count,), generator=generator)
    pictures = torch.randint(0, 100, (count, 1, 3, 32, 32), generator=generator)
    pictures[torch.arange(count), :, chosen] += 100
    return Items(pictures.to(torch.uint8), torch.eye(3)[chosen])
