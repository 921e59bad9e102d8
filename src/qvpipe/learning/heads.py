"""Heads: what a backbone finds to logits `[n, classes]`."""

from timm.layers.ml_decoder import MLDecoder
from torch import nn

ON_MAPS = frozenset({"ml_decoder"})
"""Heads that take feature maps, `[n, features, h, w]`; all others take `[n, features]`."""


def make_head(name: str, features: int, classes: int, dropout: float) -> nn.Module:
    """Return the head of that name.

    Args:
        name: `linear`, `mlp` with one hidden layer as wide as the features, or `ml_decoder`,
            which asks a feature map for each class (Ridnik et al., WACV 2023).
        features: Width of the input.
        classes: Number of classes.
        dropout: Share of the features that is dropped in training; `ml_decoder` has its own.
    """
    if name == "ml_decoder":
        return _ml_decoder(features, classes)
    linear = nn.Sequential(nn.Dropout(dropout), nn.Linear(features, classes))
    if name == "mlp":
        return nn.Sequential(nn.Linear(features, features), nn.GELU(), *linear)
    return linear


def _ml_decoder(features: int, classes: int) -> nn.Module:
    """Return timm's ML-Decoder.

    PyTorch's wrapper around its one layer asks that layer for a self-attention, which ML-Decoder
    does without, so the layer stands there alone.
    """
    decoder = MLDecoder(classes, initial_num_features=features)
    decoder.decoder = decoder.decoder.layers[0]
    return decoder
