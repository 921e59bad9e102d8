"""Labels without training: classes by their names, through a model of texts and pictures.

Radford et al., Learning transferable visual models from natural language supervision, ICML 2021.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qvpipe.config import QVPIPE_MEANINGS
from qvpipe.search.embedder import Clip, Vectors

Floats = NDArray[np.floating[Any]]
Targets = NDArray[np.int64]


@dataclass(frozen=True)
class ZeroShot:
    """A classifier of videos that has learned from none of them.

    Attributes:
        clip: The model of texts and pictures.
        classes: Embeddings of the classes, `[classes, dimensions]`.
    """

    clip: Clip
    classes: Vectors

    def similarities(self, videos: Sequence[Vectors]) -> Floats:
        """Return how alike videos and classes are, in [-1, 1], `[videos, classes]`.

        Args:
            videos: The embeddings of the frames of each, `[frames, dimensions]`.
        """
        return np.stack([video_vector(frames) for frames in videos]) @ self.classes.T

    def probabilities(self, similarities: Floats) -> Floats:
        """Return the probabilities of classes; see the function of that name."""
        return probabilities(similarities, self.clip.scale)

    def predict(self, videos: Sequence[NDArray[np.uint8]]) -> Floats:
        """Return the probabilities of the classes, `[videos, classes]`.

        Args:
            videos: The frames of each, `[frames, height, width, 3]`.
        """
        embedded = [self.clip.images(list(frames)) for frames in videos]
        return self.probabilities(self.similarities(embedded))


def zero_shot(clip: Clip, classes: Sequence[str], templates: Sequence[str]) -> ZeroShot:
    """Return the classifier of some classes; codes of QV-Pipe stand for what they mean.

    Args:
        clip: The model of texts and pictures.
        classes: Their names.
        templates: See `class_vectors`.
    """
    names = [QVPIPE_MEANINGS.get(name, name) for name in classes]
    return ZeroShot(clip, class_vectors(clip, names, templates))


def class_vectors(clip: Clip, names: Sequence[str], templates: Sequence[str]) -> Vectors:
    """Return the embeddings of classes, `[classes, dimensions]`.

    Args:
        clip: What embeds texts.
        names: Of the classes, as people say them.
        templates: Prompts with `{}` where the name stands; their embeddings are averaged.
    """
    vectors = clip.texts([template.format(name) for name in names for template in templates])
    return _unit(vectors.reshape(len(names), len(templates), -1).mean(axis=1))


def video_vector(frames: Vectors) -> Vectors:
    """Return the embedding of a video, `[dimensions]`: the mean of its frames', of length 1."""
    return _unit(frames.mean(axis=0))


def probabilities(similarities: Floats, scale: float) -> Floats:
    """Return the softmax over the classes, as CLIP was trained with, `[videos, classes]`.

    For items of several classes as well, since similarities of right and wrong classes lie close
    together and only say which one is more alike. An ensemble calibrates what comes of it.

    Args:
        similarities: In [-1, 1], `[videos, classes]`.
        scale: What they are multiplied by before.
    """
    logits = scale * similarities.astype(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def precision_at(similarities: Floats, truth: Targets, count: int) -> float:
    """Return the share of right ones among the most similar classes, the mean over videos.

    Where a video has a single class, it is at most 1 / `count`.

    Args:
        similarities: `[videos, classes]`.
        truth: 0 or 1, `[videos, classes]`.
        count: How many classes of each video are looked at.
    """
    return float(_first(similarities, truth, count).mean())


def recall_at(similarities: Floats, truth: Targets, count: int) -> float:
    """Return the share of a video's classes that is among its most similar, the mean over videos.

    Where a video has a single class, it is the share of videos that have it among them.

    Args:
        similarities: `[videos, classes]`.
        truth: 0 or 1, `[videos, classes]`; each video has a class.
        count: How many classes of each video are looked at.
    """
    found = _first(similarities, truth, count).sum(axis=1)
    return float((found / truth.sum(axis=1)).mean())


def judge(similarities: Floats, truth: Targets) -> dict[str, float]:
    """Return how right the most similar classes are, and how far right and wrong pairs lie apart.

    A pair is a video and a class; it is right if the video shows the class.

    Args:
        similarities: In [-1, 1], `[videos, classes]`.
        truth: 0 or 1, `[videos, classes]`; each video has a class, and no class has all videos.
    """
    right = truth == 1
    return {
        "precision_at_1": precision_at(similarities, truth, 1),
        "precision_at_3": precision_at(similarities, truth, 3),
        "recall_at_3": recall_at(similarities, truth, 3),
        "similarity_right": float(similarities[right].mean()),
        "similarity_wrong": float(similarities[~right].mean()),
    }


def _first(similarities: Floats, truth: Targets, count: int) -> Targets:
    """Return which of the most similar classes are right, `[videos, count]`."""
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(truth, order, axis=1)


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit
