"""Backbones that see a clip as a whole: VideoMAE of transformers and Video Swin of torchvision.

They take `[n, frames, 3, size, size]`, give features `[n, num_features]`, and answer to the same
questions as timm's models do.
"""

import contextlib
import dataclasses
import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torchvision
from huggingface_hub.errors import StrictDataclassError
from timm.models import checkpoint_seq
from torch import Tensor, nn
from torchvision.models.video.swin_transformer import SwinTransformer3d

from qvpipe.config import ModelSettings
from qvpipe.errors import QvpipeError
from qvpipe.learning.backbones import load_weights
from qvpipe.learning.hub import from_hub

if TYPE_CHECKING:
    from transformers import VideoMAEForVideoClassification

STATISTICS = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
"""Of ImageNet, which the weights of all of these models expect."""

VIDEOMAE: dict[str, dict[str, int]] = {
    "videomae_small": {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536},
    "videomae_base": {},
    "videomae_large": {
        "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
        "intermediate_size": 4096,
    },
}  # fmt: skip
"""What each VideoMAE has otherwise than the one that transformers takes for granted."""

VIDEOMAE_HUB = {
    "videomae_small": "MCG-NJU/videomae-small-finetuned-kinetics",
    "videomae_base": "MCG-NJU/videomae-base",
    "videomae_large": "MCG-NJU/videomae-large",
}
"""Where `hub` finds weights: learned without labels, but for the small one, which has no others."""

SWIN: dict[str, dict[str, Any]] = {
    "swin3d_t": {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24]},
    "swin3d_s": {"embed_dim": 96, "depths": [2, 2, 18, 2], "num_heads": [3, 6, 12, 24]},
    "swin3d_b": {"embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32]},
}
"""The sizes of Video Swin, by torchvision's names."""

SWIN_HUB = {
    "swin3d_t": "KINETICS400_V1",
    "swin3d_s": "KINETICS400_V1",
    "swin3d_b": "KINETICS400_IMAGENET22K_V1",
}
"""Which of torchvision's weights `hub` takes."""


def make_clip_backbone(settings: ModelSettings, pretrained: str) -> nn.Module:
    """Return a backbone that sees a clip as a whole.

    Args:
        settings: Name it, the frames and the size of its clips, and what its architecture has
            otherwise than its name says.
        pretrained: `hub`, `none`, or a file or folder. For VideoMAE that is a folder written by
            `save_pretrained`, or the id of a model on the hub; for Video Swin a safetensors file
            that holds the state of torchvision's model.

    Raises:
        QvpipeError: If there is no such backbone, it cannot take such clips, or the weights cannot
            be had.
    """
    name = settings.backbone
    if name in VIDEOMAE:
        return _video_mae(settings, pretrained)
    if name in SWIN:
        return _video_swin(settings, pretrained)
    raise QvpipeError(
        f"models: there is no backbone {name!r} for the input clip; there are "
        f"{', '.join([*VIDEOMAE, *SWIN])}"
    )


class VideoMae(nn.Module):
    """VideoMAE: a transformer on tubes of two frames, their mean normalised (Tong et al., 2022).

    Attributes:
        num_features: Width of the features.
        pretrained_cfg: Mean and standard deviation of the pictures.
    """

    def __init__(self, model: "VideoMAEForVideoClassification") -> None:
        """Take over a model of transformers that has no classifier."""
        super().__init__()
        self.model = model
        self.num_features: int = model.config.hidden_size
        self.pretrained_cfg = STATISTICS

    def forward(self, clips: Tensor) -> Tensor:
        """Return the features of each clip."""
        features: Tensor = self.model(pixel_values=clips).logits
        return features

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute activations again in the backward pass."""
        if enable:
            self.model.activation_checkpointing_enable({"use_reentrant": False})


class VideoSwin(SwinTransformer3d):  # type: ignore[misc]  # torchvision has no types
    """Video Swin: attention in windows of space and time that shift (Liu et al., CVPR 2022).

    Attributes:
        pretrained_cfg: Mean and standard deviation of the pictures.
    """

    def __init__(self, **architecture: Any) -> None:  # noqa: ANN401 - torchvision's own arguments
        """Make torchvision's model."""
        super().__init__(**architecture)
        self.pretrained_cfg = STATISTICS
        self._checkpointing = False

    def forward(self, clips: Tensor) -> Tensor:
        """Return the features of each clip."""
        maps = self.pos_drop(self.patch_embed(clips.transpose(1, 2)))
        if self._checkpointing and self.training:
            maps = checkpoint_seq(self._blocks(), maps)
        else:
            maps = self.features(maps)
        features: Tensor = self.norm(maps).mean(dim=(1, 2, 3))
        return features

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute activations again in the backward pass."""
        self._checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Return the names of the positions' weights, which are not to decay."""
        tables = "relative_position_bias_table"
        return {name for name, _ in self.named_parameters() if name.endswith(tables)}

    def _blocks(self) -> list[nn.Module]:
        stages = self.features.children()
        return [
            block
            for stage in stages
            for block in (stage.children() if isinstance(stage, nn.Sequential) else [stage])
        ]


def _video_mae(settings: ModelSettings, pretrained: str) -> VideoMae:
    try:
        from transformers import VideoMAEConfig, VideoMAEForVideoClassification
    except ImportError as error:
        raise QvpipeError(
            "models: VideoMAE needs transformers; `uv pip install -r requirements-clips.txt`"
        ) from error
    name = settings.backbone
    known = {field.name for field in dataclasses.fields(VideoMAEConfig)}
    _check_known(settings.architecture, known - {"image_size", "num_frames"})
    of_clips = {"image_size": settings.size, "num_frames": settings.frames, "num_labels": 0}
    with _saying_what_is_unfit():
        config: Any = VideoMAEConfig(**{**VIDEOMAE[name], **settings.architecture, **of_clips})
        if settings.frames % config.tubelet_size or settings.size % config.patch_size:
            raise QvpipeError(
                f"models: {name} takes frames in tubes of {config.tubelet_size} and a size in "
                f"patches of {config.patch_size}; found frames {settings.frames} and size "
                f"{settings.size}"
            )
        if pretrained == "none":
            return VideoMae(VideoMAEForVideoClassification(config))
    place = VIDEOMAE_HUB[name] if pretrained == "hub" else pretrained
    if not (Path(place).is_dir() or re.fullmatch(r"[\w-]+/[\w.-]+", place)):
        raise QvpipeError(
            f"models: pretrained: found {place!r}; for VideoMAE it is a folder that "
            "save_pretrained wrote, the id of a model on the hub, such as "
            f"{VIDEOMAE_HUB[name]}, or hub or none"
        )

    def load() -> Any:  # noqa: ANN401 - without types in transformers
        return VideoMAEForVideoClassification.from_pretrained(
            place, config=config, output_loading_info=True
        )

    try:
        model, found = load() if Path(place).is_dir() else from_hub(place, load)
    except OSError as error:
        raise QvpipeError(
            f"models: {place!r} gave no weights of VideoMAE; connect to the hub, or set pretrained "
            "to a folder that save_pretrained wrote, or to none"
        ) from error
    except (RuntimeError, ValueError) as error:
        raise _other_weights(name, place) from error
    # Pretraining leaves a decoder behind, and a classifier is not wanted.
    strange = [*found["missing_keys"], *found["unexpected_keys"]]
    if any(".encoder." in key or ".embeddings." in key for key in strange):
        raise _other_weights(name, place)
    return VideoMae(model)


def _video_swin(settings: ModelSettings, pretrained: str) -> VideoSwin:
    name = settings.backbone
    architecture = {"patch_size": [2, 4, 4], "window_size": [8, 7, 7], **SWIN[name]}
    rates = {"mlp_ratio", "dropout", "attention_dropout", "stochastic_depth_prob"}
    _check_known(settings.architecture, {*architecture, *rates})
    with _saying_what_is_unfit():
        backbone = VideoSwin(**{**architecture, **settings.architecture})
    if pretrained == "hub":
        weights = torchvision.models.get_model_weights(name)[SWIN_HUB[name]]
        try:
            backbone.load_state_dict(weights.get_state_dict(progress=False, check_hash=True))
        except OSError as error:
            raise QvpipeError(
                f"models: torchvision's weights of {name!r} could not be had "
                f"({type(error).__name__}); connect to the network, or set pretrained to a "
                "safetensors file or to none"
            ) from error
    elif pretrained != "none":
        load_weights(backbone, name, pretrained)
    backbone.head = nn.Identity()
    return backbone


def _check_known(architecture: Mapping[str, Any], known: Collection[str]) -> None:
    for key in architecture:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0)
            raise QvpipeError(
                f"models: architecture: the backbone has no {key!r}; did you mean {near[0]!r}?"
            )


@contextlib.contextmanager
def _saying_what_is_unfit() -> Iterator[None]:
    try:
        yield
    except (ArithmeticError, LookupError, StrictDataclassError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise QvpipeError(
            f"models: architecture: the backbone cannot be made so ({reason})"
        ) from error


def _other_weights(name: str, place: str) -> QvpipeError:
    return QvpipeError(
        f"models: the weights in {place!r} are of another size than {name}; name that backbone, or "
        "set architecture to what the config.json beside the weights says"
    )
