import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import CLIPModel, CLIPProcessor

from qvpipe.config import ModelSettings
from qvpipe.errors import QvpipeError
from qvpipe.learning.network import Network
from qvpipe.search.embedder import Backbone, identity, load_clip
from qvpipe.video.images import square
from tests.search.tiny import DIMENSIONS, save_tiny_clip

CPU = torch.device("cpu")


def pictures(count: int) -> list[NDArray[np.uint8]]:
    """Return pictures of several sizes."""
    rng = np.random.default_rng(0)
    return [
        rng.integers(0, 256, (40 + 8 * i, 64, 3), dtype=np.uint8).repeat(2, axis=0)
        for i in range(count)
    ]


def test_pictures_and_texts_become_vectors_of_length_1(tiny_clip: Path) -> None:
    clip = load_clip(str(tiny_clip), "cpu", batch_size=2)
    long = "a text of more words than the model knows places for, which is cut at its end"
    for vectors in (clip.images(pictures(5)), clip.texts(["a crack", "roots", long])):
        assert vectors.dtype == np.float32
        assert vectors.shape[1] == DIMENSIONS
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)


def test_the_batch_size_changes_no_embedding(tiny_clip: Path) -> None:
    one, many = (load_clip(str(tiny_clip), "cpu", batch_size=size) for size in (1, 64))
    texts = ["a crack", "roots in the pipe"]
    assert one.images(pictures(5)) == pytest.approx(many.images(pictures(5)), abs=1e-6)
    assert one.texts(texts) == pytest.approx(many.texts(texts), abs=1e-6)


def test_products_are_the_similarities_of_the_model_itself(tiny_clip: Path) -> None:
    clip, texts = load_clip(str(tiny_clip), "cpu"), ["a crack", "roots"]
    inputs = CLIPProcessor.from_pretrained(tiny_clip)(
        images=pictures(3), text=texts, padding=True, return_tensors="pt"
    )
    with torch.inference_mode():
        logits = CLIPModel.from_pretrained(tiny_clip).eval()(**inputs).logits_per_image
    products = clip.images(pictures(3)) @ clip.texts(texts).T
    assert clip.scale * products == pytest.approx(logits.numpy(), abs=1e-4)


@pytest.mark.parametrize(
    ("backbone", "head"),
    [
        ("resnet10t", "linear"),
        ("resnet10t", "ml_decoder"),
        ("swin_tiny_patch4_window7_224", "ml_decoder"),
    ],
)
def test_a_classifier_embeds_with_its_own_backbone(backbone: str, head: str) -> None:
    model = ModelSettings(input="superimage", size=224, backbone=backbone)
    model = ModelSettings(**{**vars(model), "head": head})
    torch.manual_seed(0)
    network = Network(model, 3, "none").eval()
    vectors = Backbone(network, model, 1, CPU, batch_size=2).images(pictures(3))
    squares = np.stack([square(picture, 224, "squash") for picture in pictures(3)])
    tensors = torch.from_numpy(squares).permute(0, 3, 1, 2)
    with torch.inference_mode():
        features = network.backbone((tensors - network.mean) / network.std)
    if features.ndim == 4:
        features = features.mean((1, 2) if features.shape[-1] == vectors.shape[1] else (2, 3))
    expected = features / features.norm(dim=1, keepdim=True)
    assert vectors == pytest.approx(expected.numpy(), abs=1e-5)


def test_a_single_frame_is_as_large_as_a_tile(tiny_clip: Path) -> None:
    model = ModelSettings(input="superimage", size=96, backbone="resnet10t")
    network = Network(model, 3, "none")
    small = Backbone(network, model, 3, CPU, 4).images(pictures(1))
    as_tile = ModelSettings(input="frames", size=32, backbone="resnet10t")
    assert np.array_equal(small, Backbone(network, as_tile, 1, CPU, 4).images(pictures(1)))


def test_another_model_in_the_same_folder_has_another_identity(tmp_path: Path) -> None:
    first = identity(str(save_tiny_clip(tmp_path / "clip")))
    again = identity(str(shutil.copytree(tmp_path / "clip", tmp_path / "copy")))
    other = identity(str(save_tiny_clip(tmp_path / "clip", seed=1)))
    assert first == again != other
    assert identity("openai/clip-vit-base-patch32") == "openai/clip-vit-base-patch32"


def test_a_folder_without_a_model_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(QvpipeError, match=r"holds no CLIP model .* save one there") as caught:
        load_clip(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_hub_that_cannot_be_reached_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(QvpipeError, match=r"the hub gave no CLIP model 'nobody/no") as caught:
        load_clip("nobody/no-such-model")
    assert "\n" not in str(caught.value)


def test_without_transformers_one_sentence_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(QvpipeError, match=r"pip install -r requirements-search\.txt"):
        load_clip("openai/clip-vit-base-patch32")
