import pytest
import timm
import torch

from qvpipe.config import ModelSettings, TrainSettings
from qvpipe.learning.network import Network
from qvpipe.learning.recipe import make_average, make_optimizer, make_schedule

CPU = torch.device("cpu")
MODEL = ModelSettings(input="frames", size=32, backbone="test_resnet", pretrained="none")


def test_norms_and_biases_do_not_decay_and_the_backbone_is_slower() -> None:
    network = Network(MODEL, 2, "none")
    recipe = TrainSettings(lr=0.01, backbone_lr_factor=0.1, weight_decay=0.05)
    told = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in make_optimizer(network, recipe, CPU).param_groups
        for parameter in group["params"]
    }
    assert len(told) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        rate, decay = told[id(parameter)]
        assert rate == pytest.approx(0.001 if name.startswith("backbone") else 0.01)
        assert decay == (0 if parameter.ndim == 1 else 0.05)


def test_what_a_backbone_exempts_does_not_decay() -> None:
    model = ModelSettings(
        input="frames", size=64, backbone="swin_tiny_patch4_window7_224", pretrained="none"
    )
    network = Network(model, 2, "none")
    decaying = {
        id(parameter)
        for group in make_optimizer(network, TrainSettings(), CPU).param_groups
        for parameter in group["params"]
        if group["weight_decay"]
    }
    exempt = timm.create_model(model.backbone, img_size=64).no_weight_decay()  # type: ignore[operator]
    tables = [p for name, p in network.backbone.named_parameters() if name in exempt]
    assert tables
    assert not any(id(table) in decaying for table in tables)


def test_frozen_weights_are_not_the_optimizers() -> None:
    frozen = ModelSettings(
        input="frames", size=32, backbone="test_resnet", pretrained="none", freeze=("layer1",)
    )
    network = Network(frozen, 2, "none")
    optimizer = make_optimizer(network, TrainSettings(), CPU)
    given = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert all(parameter.requires_grad for parameter in given)
    assert len(given) < len(list(network.parameters()))


def test_every_rate_rises_to_its_own_peak_and_falls() -> None:
    network = Network(MODEL, 2, "none")
    recipe = TrainSettings(epochs=10, lr=0.01, backbone_lr_factor=0.1, warmup=0.3)
    optimizer = make_optimizer(network, recipe, CPU)
    schedule = make_schedule(optimizer, recipe, steps=10)
    rates = []
    for _ in range(100):
        rates.append(schedule.get_last_lr())
        optimizer.step()
        schedule.step()
    heads = [step[-1] for step in rates]
    assert max(heads) == pytest.approx(0.01, rel=0.01)
    assert heads.index(max(heads)) == pytest.approx(29, abs=1)
    assert heads[-1] < heads[0] < max(heads)
    assert [step[0] for step in rates] == pytest.approx([rate / 10 for rate in heads])


def test_a_cosine_falls_from_its_peak_to_nothing_and_a_constant_rate_stays() -> None:
    rates = {
        name: rates_of(TrainSettings(epochs=10, lr=0.01, warmup=0.1, schedule=name))
        for name in ("cosine", "constant")
    }
    assert rates["constant"] == [0.01] * 100
    cosine = rates["cosine"]
    assert cosine[:10] == sorted(cosine[:10])
    assert cosine[10] == pytest.approx(0.01)
    assert cosine[55] == pytest.approx(0.005)
    assert cosine[-1] < 1e-5


def rates_of(recipe: TrainSettings) -> list[float]:
    """Return the rate of the head in a hundred steps."""
    optimizer = make_optimizer(Network(MODEL, 2, "none"), recipe, CPU)
    schedule = make_schedule(optimizer, recipe, steps=10)
    rates = []
    for _ in range(100):
        rates.append(float(schedule.get_last_lr()[-1]))
        optimizer.step()
        schedule.step()
    return rates


def test_the_average_starts_as_the_weights_and_slows_down() -> None:
    network = Network(MODEL, 2, "none")
    average = make_average(network, TrainSettings(ema_decay=0.99))
    assert average is not None
    decays = [average.get_decay(step) for step in range(1, 5000)]
    assert decays[0] == 0
    assert decays == sorted(decays)
    assert decays[-1] == 0.99
    assert make_average(network, TrainSettings(ema_decay=0)) is None
