"""Heads: features `[n, features]` to logits `[n, classes]`."""

from torch import nn


def make_head(name: str, features: int, classes: int, dropout: float) -> nn.Module:
    """Return the head of that name.

    Args:
        name: `linear`, or `mlp` with one hidden layer as wide as the features.
        features: Width of the input.
        classes: Number of classes.
        dropout: Share of the features that is dropped in training.
    """
    linear = nn.Sequential(nn.Dropout(dropout), nn.Linear(features, classes))
    if name == "mlp":
        return nn.Sequential(nn.Linear(features, features), nn.GELU(), *linear)
    return linear
