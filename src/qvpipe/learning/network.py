"""The network: a backbone on each view of an item, a head, logits averaged over the views."""

from torch import Tensor, nn

from qvpipe.config import ModelSettings
from qvpipe.learning.backbones import freeze, make_backbone, statistics
from qvpipe.learning.heads import make_head


class Network(nn.Module):
    """Pictures `[items, views, 3, h, w]`, uint8, to logits `[items, classes]`.

    A super-image is an item of one view; an item of the input `frames` has one view a frame.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, settings: ModelSettings, classes: int, pretrained: str) -> None:
        """Make the network.

        Args:
            settings: Names the backbone and the head.
            classes: Number of classes.
            pretrained: Where the backbone's weights come from; `none` if a whole state follows.

        Raises:
            QvpipeError: If the backbone or its weights cannot be had.
        """
        super().__init__()
        self.backbone = make_backbone(settings.backbone, pretrained)
        freeze(self.backbone, settings.freeze)
        features: int = self.backbone.num_features  # type: ignore[assignment]
        self.head = make_head(settings.head, features, classes, settings.dropout)
        mean, std = statistics(self.backbone)
        self.register_buffer("mean", mean * 255, persistent=False)
        self.register_buffer("std", std * 255, persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the logits of each item."""
        items, views = pictures.shape[:2]
        normalised = (pictures.flatten(0, 1) - self.mean) / self.std
        logits: Tensor = self.head(self.backbone(normalised))
        return logits.reshape(items, views, -1).mean(dim=1)
