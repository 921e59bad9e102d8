"""Heads: what a backbone finds to logits `[n, classes]`."""

from collections import OrderedDict
from typing import Literal

from timm.layers.ml_decoder import MLDecoder
from torch import nn

Activation = Literal["gelu", "relu"]

ON_MAPS = frozenset({"ml_decoder"})
"""Heads that take feature maps, `[n, features, h, w]`; all others take `[n, features]`."""


def make_head(
    name: str,
    features: int,
    classes: int,
    dropout: float,
    hidden: int = 0,
    activation: Activation = "gelu",
) -> nn.Module:
    """Return the head of that name.

    Args:
        name: `linear`, `mlp` with one hidden layer, or `ml_decoder`, which asks a feature map for
            each class (Ridnik et al., WACV 2023).
        features: Width of the input.
        classes: Number of classes.
        dropout: Share of what enters a layer that is dropped in training; `ml_decoder` has its own.
        hidden: Width of the hidden layer; 0 is as wide as the features.
        activation: What follows the hidden layer.
    """
    if name == "ml_decoder":
        return _ml_decoder(features, classes)
    if name == "mlp":
        return _mlp(features, hidden or features, classes, dropout, activation)
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(features, classes))


def _mlp(
    features: int, hidden: int, classes: int, dropout: float, activation: Activation
) -> nn.Module:
    # The layers with weights keep the names under which models have been stored.
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["dropout"] = nn.Dropout(dropout)
    layers["0"] = nn.Linear(features, hidden)
    layers["1"] = nn.ReLU() if activation == "relu" else nn.GELU()
    layers["2"] = nn.Dropout(dropout)
    layers["3"] = nn.Linear(hidden, classes)
    return nn.Sequential(layers)


def _ml_decoder(features: int, classes: int) -> nn.Module:
    """Return timm's ML-Decoder.

    PyTorch's wrapper around its one layer asks that layer for a self-attention, which ML-Decoder
    does without, so the layer stands there alone.
    """
    decoder = MLDecoder(classes, initial_num_features=features)
    decoder.decoder = decoder.decoder.layers[0]
    return decoder
