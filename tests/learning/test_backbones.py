from pathlib import Path
from typing import Any, Literal, cast

import pytest
import safetensors.torch
import timm
import torch

from qvpipe.config import ModelSettings
from qvpipe.errors import QvpipeError
from qvpipe.learning.backbones import checkpoint_activations, freeze, make_backbone, statistics
from qvpipe.learning.heads import make_head
from qvpipe.learning.network import Network


def test_bundled_weights_are_those_that_the_network_was_trained_with() -> None:
    """Batch normalisation remembers the mean of its input, which only the right weights give."""
    backbone = make_backbone("tf_efficientnet_lite0", "bundled", 64).eval()
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
    mean, std = statistics(make_backbone("tf_efficientnet_lite0", "none", 64))
    assert mean.flatten().tolist() == [0.5, 0.5, 0.5]
    assert std.shape == (3, 1, 1)


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(timm.create_model("test_resnet").state_dict(), path)
    loaded = make_backbone("test_resnet", str(path), 64).state_dict()
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
        make_backbone(name, pretrained, 64)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"other": torch.zeros(1)}, path)
    with pytest.raises(QvpipeError, match="do not fit 'test_resnet'"):
        make_backbone("test_resnet", str(path), 64)


def test_a_hub_that_cannot_be_reached_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    ways_out = "connect to it, or set pretrained to a safetensors file, to bundled or to none"
    with pytest.raises(QvpipeError, match=f"the hub gave no weights for 'resnet18'.*{ways_out}"):
        make_backbone("resnet18", "hub", 64)


def test_frozen_parts_stay_as_they_are() -> None:
    backbone = make_backbone("test_resnet", "none", 64)
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
        freeze(make_backbone("test_resnet", "none", 64), ["layr1"])


@pytest.mark.slow
@pytest.mark.parametrize("head", ["linear", "ml_decoder"])
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet18", 64),
        ("resnet50", 64),
        ("tresnet_m", 64),
        ("tresnet_l", 64),
        ("convnext_atto", 64),
        ("efficientnet_b0", 64),
        ("tf_efficientnetv2_s", 64),
        ("swin_tiny_patch4_window7_224", 96),
        ("dm_nfnet_f0", 64),
    ],
)
def test_a_step_through_every_kind_of_backbone(name: str, size: int, head: str) -> None:
    """Every trained weight gets a gradient, so no part of the network is left out."""
    settings = ModelSettings(
        input="frames", size=size, backbone=name, head=cast("Any", head), pretrained="none"
    )
    torch.manual_seed(0)
    network = Network(settings, 3, "none").train()
    logits = network(torch.randint(0, 256, (2, 1, 3, size, size), dtype=torch.uint8))
    assert logits.shape == (2, 3)
    logits.square().sum().backward()
    missing = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["convnext_base", "dm_nfnet_f3", "swin_base_patch4_window7_224"])
def test_a_step_of_large_backbones_without_their_memory(name: str) -> None:
    settings = ModelSettings(input="superimage", size=96, backbone=name, pretrained="none")
    with torch.device("meta"):
        network = Network(settings, 17, "none")
        logits = network(torch.zeros(2, 1, 3, 96, 96, dtype=torch.uint8))
        assert logits.shape == (2, 17)
        logits.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("name", ["test_resnet", "convnext_atto"])
def test_checkpointing_changes_no_gradient(name: str) -> None:
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        backbone = make_backbone(name, "none", 64).train()
        if checkpointing:
            checkpoint_activations(backbone)
        backbone(
            torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
        ).sum().backward()
        gradients.append([p.grad for p in backbone.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 0
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_a_backbone_without_checkpointing_is_said() -> None:
    with pytest.raises(QvpipeError, match=r"train\.checkpointing: the backbone, a Identity,"):
        checkpoint_activations(torch.nn.Identity())


def test_half_precision_leaves_the_logits_apart() -> None:
    """Two thousand logits in bfloat16 would be a few hundred values."""
    settings = ModelSettings(input="frames", size=32, backbone="test_resnet", pretrained="none")
    torch.manual_seed(0)
    network = Network(settings, 4, "none").eval()
    pictures = torch.randint(0, 256, (500, 1, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits = network(pictures)
    assert logits.dtype == torch.float32
    assert len(logits.unique()) > 1900


@pytest.mark.slow
@pytest.mark.parametrize("head", ["linear", "ml_decoder"])
def test_the_network_compiles_as_a_whole(head: Literal["linear", "ml_decoder"]) -> None:
    """A break of the graph would cost its fusions, and raises here."""
    settings = ModelSettings("frames", 32, "test_resnet", head=head, pretrained="none")
    network = Network(settings, 4, "none").train()
    network.lay_out(channels_last=True)
    pictures = torch.randint(0, 256, (2, 2, 3, 32, 32), dtype=torch.uint8)
    torch.manual_seed(0)
    expected = network(pictures)
    network.compile(fullgraph=True, backend="eager")
    torch.manual_seed(0)
    torch.testing.assert_close(network(pictures), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert network(pictures).dtype == torch.float32


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_heads_give_a_logit_for_each_class(name: str) -> None:
    assert make_head(name, 12, 5, dropout=0.5)(torch.zeros(3, 12)).shape == (3, 5)


def test_a_hidden_layer_has_the_width_and_the_activation_that_are_set() -> None:
    torch.manual_seed(0)
    head = make_head("mlp", 12, 5, dropout=0.4, hidden=7, activation="relu")
    assert {name: list(value.shape) for name, value in head.state_dict().items()} == {
        "0.weight": [7, 12], "0.bias": [7], "3.weight": [5, 7], "3.bias": [5],
    }  # fmt: skip
    features = torch.randn(3, 12)
    weights = head.state_dict()
    inner = (features @ weights["0.weight"].T + weights["0.bias"]).clamp(min=0)
    torch.testing.assert_close(
        head.eval()(features), inner @ weights["3.weight"].T + weights["3.bias"]
    )
    assert [layer.p for layer in head.modules() if isinstance(layer, torch.nn.Dropout)] == [0.4] * 2
    assert list(next(make_head("mlp", 12, 5, 0.0).parameters()).shape) == [12, 12]


def test_transfer_learning_trains_the_head_alone() -> None:
    """Keras counts 2,257,984 weights of MobileNetV2, with the means and variances of its norms."""
    settings = ModelSettings(
        input="superimage",
        size=224,
        backbone="mobilenetv2_100",
        head="mlp",
        hidden=100,
        activation="relu",
        dropout=0.3,
        freeze=("conv_stem", "bn1", "blocks", "conv_head", "bn2"),
    )
    network = Network(settings, 3, "none")
    trained = [value.numel() for value in network.parameters() if value.requires_grad]
    assert sum(trained) == (1280 * 100 + 100) + (100 * 3 + 3) == 128_403
    whole = timm.create_model("mobilenetv2_100", num_classes=0)
    assert sum(value.numel() for value in whole.parameters()) == 2_223_872
    # A frozen norm keeps scale, shift, mean and variance, and counts no batches.
    norms = [m for m in whole.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    statistics_of_norms = sum(2 * norm.num_features for norm in norms)
    kept = sum(value.numel() for value in network.backbone.state_dict().values())
    assert kept == 2_223_872 + statistics_of_norms == 2_257_984
    before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    network.train()
    network(torch.randint(0, 256, (2, 1, 3, 64, 64), dtype=torch.uint8)).sum().backward()
    assert all(torch.equal(value, before[n]) for n, value in network.backbone.state_dict().items())
    assert all(p.grad is not None for p in network.head.parameters())


def test_ml_decoder_asks_the_whole_map() -> None:
    """What stands at one place alone changes the logits, and another place's does otherwise."""
    torch.manual_seed(0)
    head = make_head("ml_decoder", 12, 5, dropout=0.0).eval()
    maps = torch.rand(3, 12, 4, 4)
    changed = maps.clone()
    changed[1, :, 0, 0] += 5
    logits, other = head(maps), head(changed)
    assert logits.shape == (3, 5)
    assert (logits[1] != other[1]).all()
    torch.testing.assert_close(logits[[0, 2]], other[[0, 2]])
