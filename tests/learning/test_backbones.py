from pathlib import Path
from typing import cast

import pytest
import safetensors.torch
import timm
import torch

from qvpipe.errors import QvpipeError
from qvpipe.learning.backbones import freeze, make_backbone, statistics
from qvpipe.learning.heads import make_head


def test_bundled_weights_are_those_that_the_network_was_trained_with() -> None:
    """Batch normalisation remembers the mean of its input, which only the right weights give."""
    backbone = make_backbone("tf_efficientnet_lite0", "bundled").eval()
    seen: dict[str, torch.Tensor] = {}
    layer = backbone.get_submodule("blocks.0.0.bn1")
    layer.register_forward_pre_hook(lambda module, inputs: seen.update(features=inputs[0]))
    smooth = torch.nn.functional.interpolate(
        torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(0)), 128, mode="bicubic"
    )
    backbone((smooth - 0.5) / 0.5)
    measured = seen["features"].mean(dim=(0, 2, 3))
    expected = cast("torch.Tensor", layer.running_mean)
    assert torch.corrcoef(torch.stack([measured, expected]))[0, 1] > 0.7


def test_the_statistics_are_the_backbones_own() -> None:
    mean, std = statistics(make_backbone("tf_efficientnet_lite0", "none"))
    assert mean.flatten().tolist() == [0.5, 0.5, 0.5]
    assert std.shape == (3, 1, 1)


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(timm.create_model("test_resnet").state_dict(), path)
    loaded = make_backbone("test_resnet", str(path)).state_dict()
    saved = safetensors.torch.load_file(path)
    assert all(torch.equal(value, saved[name]) for name, value in loaded.items())


@pytest.mark.parametrize(
    ("name", "pretrained", "message"),
    [
        ("resnet_18", "none", "timm has no backbone 'resnet_18'; it has for instance"),
        ("test_resnet", "bundled", "no weights of 'test_resnet' are bundled"),
        ("test_resnet", "weights.safetensors", "there is no weights file 'weights.safetensors'"),
    ],
)
def test_weights_that_cannot_be_had_are_said(name: str, pretrained: str, message: str) -> None:
    with pytest.raises(QvpipeError, match=message):
        make_backbone(name, pretrained)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"other": torch.zeros(1)}, path)
    with pytest.raises(QvpipeError, match="do not fit 'test_resnet'"):
        make_backbone("test_resnet", str(path))


def test_a_hub_that_cannot_be_reached_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(QvpipeError, match="the hub gave no weights for 'resnet18'"):
        make_backbone("resnet18", "hub")


def test_frozen_parts_stay_as_they_are() -> None:
    backbone = make_backbone("test_resnet", "none")
    freeze(backbone, ["conv1", "bn1", "layer1"])
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=0.1)
    backbone.train()(torch.rand(4, 3, 32, 32)).sum().backward()
    optimizer.step()
    changed = {
        name for name, value in backbone.state_dict().items() if (value != before[name]).any()
    }
    assert any(name.startswith("layer2") for name in changed)
    assert not any(name.startswith(("conv1", "bn1", "layer1")) for name in changed)


def test_a_part_that_is_not_there_is_said() -> None:
    with pytest.raises(QvpipeError, match=r"has no part 'layr1'; did you mean 'layer1'\?"):
        freeze(make_backbone("test_resnet", "none"), ["layr1"])


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_heads_give_a_logit_for_each_class(name: str) -> None:
    assert make_head(name, 12, 5, dropout=0.5)(torch.zeros(3, 12)).shape == (3, 5)
