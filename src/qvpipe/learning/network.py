"""The network: a backbone on each view of an item or on a whole clip, and a head."""

import contextlib

import torch
from torch import Tensor, nn

from qvpipe.config import ModelSettings
from qvpipe.learning.backbones import freeze, make_backbone, statistics
from qvpipe.learning.clips import make_clip_backbone
from qvpipe.learning.heads import ON_MAPS, make_head


class Network(nn.Module):
    """Pictures `[items, views, 3, h, w]`, from 0 to 255, to float32 logits `[items, classes]`.

    A super-image is an item of one view; an item of the input `frames` has one view a frame, and
    its logits are the mean over them. Of a clip the views are its frames, which are seen together.

    Attributes:
        whole: Whether the views of an item are seen together.
        memory_format: In which pictures enter the backbone; by default as they come.
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
        self.whole = settings.input == "clip"
        self.backbone = (
            make_clip_backbone(settings, pretrained)
            if self.whole
            else make_backbone(
                settings.backbone, pretrained, settings.size, pooled=settings.head not in ON_MAPS
            )
        )
        freeze(self.backbone, settings.freeze)
        features: int = self.backbone.num_features  # type: ignore[assignment]
        self.head = make_head(
            settings.head,
            features,
            classes,
            settings.dropout,
            settings.hidden,
            settings.activation,
        )
        self.memory_format = torch.preserve_format
        mean, std = statistics(self.backbone)
        self.register_buffer("mean", mean * 255, persistent=False)
        self.register_buffer("std", std * 255, persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the logits of each item."""
        features = self.features(pictures if self.whole else pictures.flatten(0, 1))
        # Half precision knows so few logits that many items would be equal.
        with _full_precision(pictures.device.type):
            logits: Tensor = self.head(features.float())
        return logits.reshape(len(pictures), -1, logits.shape[-1]).mean(dim=1)

    def features(self, pictures: Tensor) -> Tensor:
        """Return what the backbone finds in pictures or whole clips, from 0 to 255.

        It is `[n, features]`, or `[n, features, h, w]` where the head takes feature maps.
        """
        normalised = (pictures - self.mean) / self.std
        found: Tensor = self.backbone(normalised.to(memory_format=self.memory_format))
        if getattr(self.backbone, "output_fmt", "NCHW") == "NHWC" and found.ndim == 4:
            return found.permute(0, 3, 1, 2)
        return found

    def lay_out(self, channels_last: bool) -> None:
        """Choose the memory format of weights and pictures; that of clips stays as it is."""
        if not self.whole:
            self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
            self.to(memory_format=self.memory_format)


def _full_precision(device_type: str) -> contextlib.AbstractContextManager[object]:
    """Switch mixed precision off; the device that computes nothing has none."""
    if device_type == "meta":
        return contextlib.nullcontext()
    return torch.autocast(device_type, enabled=False)
