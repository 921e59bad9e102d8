import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torchvision
from torch import Tensor
from transformers import VideoMAEConfig, VideoMAEForPreTraining

from qvpipe.config import CeSettings, ModelSettings, TrainSettings
from qvpipe.errors import QvpipeError
from qvpipe.learning.backbones import freeze
from qvpipe.learning.clips import SWIN, VIDEOMAE, make_clip_backbone
from qvpipe.learning.fit import fit
from qvpipe.learning.items import Items
from qvpipe.learning.losses import ce
from qvpipe.learning.network import Network
from qvpipe.learning.recipe import make_optimizer

MAE: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
}  # fmt: skip
WINDOWS = {"embed_dim": 8, "depths": [2, 2], "num_heads": [1, 2], "window_size": [2, 2, 2]}
TINY = {
    name: ModelSettings(
        input="clip", size=32, frames=4, backbone=name, pretrained="none", architecture=architecture
    )
    for name, architecture in (("videomae_base", MAE), ("swin3d_t", WINDOWS))
}
BOTH = pytest.mark.parametrize("settings", TINY.values(), ids=TINY)


def clips(items: int, seed: int = 0) -> Tensor:
    """Return noise, `[items, 4, 3, 32, 32]`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (items, 4, 3, 32, 32), generator=generator, dtype=torch.uint8)


def altered(settings: ModelSettings, **architecture: object) -> ModelSettings:
    return replace(settings, architecture={**settings.architecture, **architecture})


@BOTH
def test_a_clip_is_seen_as_a_whole(settings: ModelSettings) -> None:
    """The order of the frames counts, which no mean over frames could tell."""
    torch.manual_seed(0)
    network = Network(settings, 3, "none").eval()
    seen = clips(2)
    forth, back = network(seen), network(seen.flip(1))
    assert forth.shape == (2, 3)
    assert (forth - back).abs().max() > 1e-4
    torch.testing.assert_close(network(seen[:1]), forth[:1])


@BOTH
def test_every_trained_weight_gets_a_gradient(settings: ModelSettings) -> None:
    network = Network(settings, 3, "none").train()
    network.lay_out(channels_last=True)
    network(clips(2)).square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@BOTH
def test_checkpointing_changes_no_gradient(settings: ModelSettings) -> None:
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        backbone: Any = make_clip_backbone(settings, "none").train()
        backbone.set_grad_checkpointing(checkpointing)
        torch.manual_seed(1)
        backbone(clips(2) / 255).sum().backward()
        gradients.append([p.grad for p in backbone.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 0
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@BOTH
def test_checkpointing_keeps_less(settings: ModelSettings) -> None:
    kept = []
    for checkpointing in (False, True):
        backbone: Any = make_clip_backbone(settings, "none").train()
        backbone.set_grad_checkpointing(checkpointing)
        tensors: list[Tensor] = []

        def pack(tensor: Tensor, tensors: list[Tensor] = tensors) -> Tensor:
            tensors.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            backbone(clips(2) / 255)
        kept.append(len(tensors))
    assert kept[1] < kept[0] / 2


def test_positions_in_windows_do_not_decay() -> None:
    network = Network(TINY["swin3d_t"], 3, "none")
    groups = make_optimizer(network, TrainSettings(), torch.device("cpu")).param_groups
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    tables = [p for name, p in network.named_parameters() if name.endswith("bias_table")]
    assert len(tables) == 4
    assert not decayed & set(map(id, tables))
    assert decayed & {id(p) for p in network.backbone.parameters()}


def test_parts_can_be_frozen() -> None:
    backbone = make_clip_backbone(TINY["videomae_base"], "none")
    freeze(backbone, ["model.videomae.embeddings", "model.videomae.encoder.layer.0"])
    fixed = {name for name, p in backbone.named_parameters() if not p.requires_grad}
    assert len(fixed) > 10
    assert not any("layer.1" in name for name in fixed)


@pytest.mark.parametrize("name", SWIN)
def test_video_swin_is_torchvisions(name: str) -> None:
    """Its own weights fit, by the number that torchvision states for them."""
    with torch.device("meta"):
        ours = make_clip_backbone(ModelSettings("clip", 224, name), "none")
        theirs = torchvision.models.get_model(name)
    stated = torchvision.models.get_model_weights(name).DEFAULT.meta["num_params"]
    assert sum(p.numel() for p in theirs.parameters()) == stated
    shapes = {key: value.shape for key, value in theirs.state_dict().items()}
    for key, value in ours.state_dict().items():
        assert shapes.pop(key) == value.shape
    assert set(shapes) == {"head.weight", "head.bias"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "millions"), [("videomae_small", 22), ("videomae_base", 86), ("videomae_large", 304)]
)
def test_videomae_has_the_sizes_of_its_names(name: str, millions: int) -> None:
    assert name in VIDEOMAE
    with torch.device("meta"):
        backbone = make_clip_backbone(ModelSettings("clip", 224, name, frames=16), "none")
    assert round(sum(p.numel() for p in backbone.parameters()) / 1e6) == millions


def test_videomae_comes_from_a_folder(tmp_path: Path) -> None:
    """Weights from pretraining bring a decoder along, which is left out, and no last norm."""
    config = VideoMAEConfig(
        **MAE, image_size=32, num_frames=4, use_mean_pooling=False, decoder_hidden_size=32,
        decoder_num_attention_heads=2, decoder_num_hidden_layers=1, decoder_intermediate_size=32,
    )  # fmt: skip
    pretrained = VideoMAEForPreTraining(config)
    pretrained.save_pretrained(tmp_path)
    settings = TINY["videomae_base"]
    loaded = make_clip_backbone(settings, str(tmp_path)).state_dict()
    expected = pretrained.videomae.state_dict()
    names = {name.removeprefix("model.videomae.") for name in loaded}
    assert names - set(expected) == {"model.fc_norm.weight", "model.fc_norm.bias"}
    for name in names & set(expected):
        assert torch.equal(loaded[f"model.videomae.{name}"], expected[name])
    for other in ({"num_hidden_layers": 3}, {"num_hidden_layers": 1}, {"hidden_size": 64}):
        with pytest.raises(QvpipeError, match="of another size than videomae_base"):
            make_clip_backbone(altered(settings, **other), str(tmp_path))


def test_video_swin_comes_from_a_file(tmp_path: Path) -> None:
    settings = TINY["swin3d_t"]
    backbone = make_clip_backbone(settings, "none")
    head = {"head.weight": torch.zeros(400, 16), "head.bias": torch.zeros(400)}
    path = tmp_path / "swin.safetensors"
    safetensors.torch.save_file({**backbone.state_dict(), **head}, path)
    loaded = make_clip_backbone(settings, str(path)).state_dict()
    for name, value in backbone.state_dict().items():
        assert torch.equal(loaded[name], value)
    with pytest.raises(QvpipeError, match="do not fit 'swin3d_t'"):
        make_clip_backbone(altered(settings, embed_dim=16), str(path))


@pytest.mark.parametrize(
    ("settings", "pretrained", "message"),
    [
        (replace(TINY["swin3d_t"], backbone="resnet18"), "none", "no backbone 'resnet18' for the"),
        (altered(TINY["swin3d_t"], embed=3), "none", "has no 'embed'; did you mean 'embed_dim'"),
        (altered(TINY["swin3d_t"], num_heads=[1]), "none", "cannot be made so"),
        (altered(TINY["videomae_base"], hiden_size=3), "none", "did you mean 'hidden_size'"),
        (altered(TINY["videomae_base"], hidden_size="wide"), "none", "cannot be made so"),
        (altered(TINY["videomae_base"], num_attention_heads=5), "none", "cannot be made so"),
        (replace(TINY["videomae_base"], frames=5), "none", "tubes of 2 .* found frames 5 and size"),
        (replace(TINY["videomae_base"], size=40), "none", "patches of 16; found .* size 40"),
        (TINY["videomae_base"], "bundled", "pretrained: found 'bundled'; for VideoMAE it is"),
        (TINY["swin3d_t"], "bundled", "no weights of 'swin3d_t' are bundled"),
    ],
)
def test_what_cannot_be_had_is_said(settings: ModelSettings, pretrained: str, message: str) -> None:
    with pytest.raises(QvpipeError, match=message):
        make_clip_backbone(settings, pretrained)


def test_hubs_that_cannot_be_reached_are_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(QvpipeError, match="'MCG-NJU/videomae-base' gave no weights of VideoMAE"):
        make_clip_backbone(TINY["videomae_base"], "hub")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for proxy in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    with pytest.raises(QvpipeError, match="torchvision's weights of 'swin3d_t' could not be had"):
        make_clip_backbone(TINY["swin3d_t"], "hub")


def test_without_transformers_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(QvpipeError, match=r"needs transformers; `uv pip install -r requirements-"):
        make_clip_backbone(TINY["videomae_base"], "none")
    make_clip_backbone(TINY["swin3d_t"], "none")


@BOTH
def test_cross_entropy_with_mixup_learns(settings: ModelSettings) -> None:
    torch.manual_seed(0)
    pictures, classes = clips(48) // 2, torch.arange(48) % 2
    pictures[classes == 1, :, 0] += 60
    items = Items(pictures, torch.eye(2)[classes])
    recipe = TrainSettings(
        epochs=6, batch_size=8, lr=3e-3, weight_decay=0.05, schedule="cosine", warmup=0.1,
        mixup=0.4, flip=0.0, ema_decay=0.0, patience=6,
    )  # fmt: skip
    loss = ce(CeSettings())
    network = Network(settings, 2, "none")
    fitted = fit(network, items, items, loss, recipe, torch.device("cpu"), task="multiclass")
    assert fitted.best.decided["accuracy"] > 0.9
    torch.testing.assert_close(fitted.probabilities.sum(dim=1), torch.ones(48))
