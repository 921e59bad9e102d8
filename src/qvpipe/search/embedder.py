"""What turns pictures, and texts where it can, into vectors that lie close where they are alike."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from qvpipe.config import ModelSettings
from qvpipe.errors import QvpipeError, one_line
from qvpipe.learning.evaluate import choose_device
from qvpipe.learning.hub import from_hub
from qvpipe.video.images import Image, square

if TYPE_CHECKING:
    from transformers import CLIPModel, CLIPProcessor

    from qvpipe.learning.network import Network

Vectors = NDArray[np.float32]
"""Embeddings of length 1, `[items, dimensions]`; products of two are similarities in [-1, 1]."""


class Embedder(Protocol):
    """What embeds pictures."""

    def images(self, pictures: Sequence[Image]) -> Vectors:
        """Return the embeddings of pictures, uint8 `[height, width, 3]` each and of any size."""


class Clip:
    """Contrastive language-image pre-training: texts and pictures in one space.

    Radford et al., Learning transferable visual models from natural language supervision, ICML
    2021.

    Attributes:
        scale: What similarities are multiplied by before the softmax over classes, as it was
            learned.
    """

    def __init__(
        self, model: "CLIPModel", processor: "CLIPProcessor", device: torch.device, batch_size: int
    ) -> None:
        """Use a model.

        Args:
            model: The model.
            processor: What makes its inputs from pictures and texts.
            device: Where the model is to lie.
            batch_size: Items that are embedded together; changes no result.
        """
        self._model = model.to(device).eval()  # type: ignore[arg-type]
        self._processor = processor
        self._device = device
        self._batch_size = batch_size
        self.scale = model.logit_scale.exp().item()

    def images(self, pictures: Sequence[Image]) -> Vectors:
        """Return the embeddings of pictures, uint8 `[height, width, 3]` each and of any size."""

        def embed(part: Sequence[Image]) -> Tensor:
            inputs = self._processor(
                images=list(part), input_data_format="channels_last", return_tensors="pt"
            ).to(self._device)
            return _pooled(self._model.get_image_features(**inputs))

        return _in_batches(embed, pictures, self._batch_size)

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Return the embeddings of texts; what is too long for the model is cut."""

        def embed(part: Sequence[str]) -> Tensor:
            inputs = self._processor(
                text=list(part),
                padding=True,
                truncation=True,
                max_length=self._model.config.text_config.max_position_embeddings,
                return_tensors="pt",
            ).to(self._device)
            return _pooled(self._model.get_text_features(**inputs))

        return _in_batches(embed, texts, self._batch_size)

    def save(self, folder: Path) -> None:
        """Write the model to a folder from which `load_clip` loads it."""
        self._model.save_pretrained(folder)
        self._processor.save_pretrained(folder)


class Backbone:
    """The backbone of a trained classifier; it knows no texts."""

    def __init__(
        self,
        network: "Network",
        model: ModelSettings,
        grid: int,
        device: torch.device,
        batch_size: int,
    ) -> None:
        """Use a network.

        Args:
            network: The classifier.
            model: Says how large its pictures are.
            grid: Tiles in a row of the super-images that it has learned; 1 for frames. A single
                picture is then as large as a tile.
            device: Where it is to lie.
            batch_size: Pictures that are embedded together; changes no result.
        """
        self._network = network.to(device).eval()
        self._size = model.size // grid
        self._device = device
        self._batch_size = batch_size

    def images(self, pictures: Sequence[Image]) -> Vectors:
        """Return the embeddings of pictures, uint8 `[height, width, 3]` each and of any size."""

        def embed(part: Sequence[Image]) -> Tensor:
            squares = np.stack([square(picture, self._size, "squash") for picture in part])
            tensors = torch.from_numpy(squares).permute(0, 3, 1, 2).to(self._device)
            features = self._network.features(tensors)
            return features if features.ndim == 2 else features.mean(dim=(2, 3))

        return _in_batches(embed, pictures, self._batch_size)


def load_clip(source: str, device: str = "auto", batch_size: int = 64) -> Clip:
    """Load a CLIP model; what the hub has given before is not asked for again.

    Args:
        source: The model's name on the hub, or a folder with the model and its processor.
        device: Where it is to lie; see `compute.device`.
        batch_size: Items that are embedded together; changes no result.

    Raises:
        QvpipeError: If transformers is not installed or there is no such model.
    """
    try:
        from transformers import CLIPModel, CLIPProcessor
        from transformers.utils import logging
    except ImportError:
        raise missing_extra() from None
    logging.disable_progress_bar()
    logging.set_verbosity_error()

    def load() -> Clip:
        model = CLIPModel.from_pretrained(source)
        processor = CLIPProcessor.from_pretrained(source)
        return Clip(model, processor, choose_device(device), batch_size)

    try:
        return load() if Path(source).is_dir() else from_hub(source, load)
    except (OSError, ValueError) as error:
        if Path(source).is_dir():
            raise QvpipeError(
                f"the folder {source} holds no CLIP model that transformers can load "
                f"({one_line(error)}); save one there with its processor"
            ) from None
        raise QvpipeError(
            f"the hub gave no CLIP model {source!r} ({one_line(error)}); connect to the hub once, "
            "or name a folder that holds a model"
        ) from None


def identity(source: str) -> str:
    """Return what tells a CLIP model from others: its name, or the hash of a folder's weights."""
    weights = sorted(Path(source).glob("*.safetensors")) if Path(source).is_dir() else []
    if not weights:
        return source
    digest = hashlib.sha256()
    for path in weights:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def missing_extra() -> QvpipeError:
    """Return what is raised where the packages of search are not installed."""
    return QvpipeError(
        "search needs transformers and Chroma; `pip install -r requirements-search.txt` installs "
        "them"
    )


@torch.inference_mode()
def _in_batches(
    embed: Callable[[Sequence[Any]], Tensor], items: Sequence[Any], batch_size: int
) -> Vectors:
    parts = [
        functional.normalize(embed(items[start : start + batch_size]).float(), dim=-1).cpu()
        for start in range(0, len(items), batch_size)
    ]
    return torch.cat(parts).numpy()


def _pooled(output: Any) -> Tensor:  # noqa: ANN401 - its class is private to transformers
    features: Tensor = output.pooler_output
    return features
