"""Where a network looks: Grad-CAM (Selvaraju et al., 2017) by captum."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from captum.attr import LayerGradCam
from numpy.typing import NDArray
from torch import Tensor, nn

from qvpipe.errors import QvpipeError
from qvpipe.learning.network import Network

REDUCTION = 16
"""A heat map has one value for this many pixels of a picture. Deeper layers see further and are
coarser: a tile would be one or two values wide."""

Heat = NDArray[np.float32]


def heat_maps(networks: Sequence[Network], pictures: Tensor, target: int) -> Heat:
    """Return what in pictures speaks for a class, as the mean over networks.

    Args:
        networks: Of one member.
        pictures: uint8 `[views, 3, height, width]`, the views of one item.
        target: Index of the class.

    Returns:
        Heat, 0 or more, `[views, height / 16, width / 16]`. A view without any speaks against it.

    Raises:
        QvpipeError: If the backbone has no maps of features.
    """
    maps = [_heat_map(network, pictures, target) for network in networks]
    return cast("Heat", np.mean([one / max(one.max(), 1e-12) for one in maps], axis=0))


def _heat_map(network: Network, pictures: Tensor, target: int) -> Heat:
    gradcam = LayerGradCam(network.eval(), _layer(network.backbone))
    device = next(network.parameters()).device
    attributed = gradcam.attribute(
        pictures[np.newaxis].to(device, torch.float32), target=target, relu_attributions=True
    )
    return cast("Heat", attributed[:, 0].detach().cpu().numpy())


def _layer(backbone: nn.Module) -> nn.Module:
    """Return the deepest module of a timm model whose features are no coarser than `REDUCTION`."""
    stages = cast("Sequence[dict[str, Any]]", getattr(backbone, "feature_info", None) or ())
    fine = [stage for stage in stages if stage["reduction"] <= REDUCTION]
    if not fine or not isinstance(_module(backbone, fine[-1]), nn.Module):
        raise QvpipeError(
            f"{type(backbone).__name__} has no maps of features that could show where it looks; "
            "explain a member with a convolutional backbone"
        )
    return _module(backbone, fine[-1])


def _module(backbone: nn.Module, stage: dict[str, Any]) -> nn.Module:
    return backbone.get_submodule(stage["module"])
