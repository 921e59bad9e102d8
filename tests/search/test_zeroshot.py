from pathlib import Path

import numpy as np
import pytest

from qvpipe.search.embedder import load_clip
from qvpipe.search.zeroshot import class_vectors, judge, probabilities, video_vector

SIMILARITIES = np.array([[0.9, 0.1, 0.2, 0.3], [0.5, 0.4, 0.3, 0.2], [0.0, 0.1, 0.2, 0.3]])
TRUTH = np.array([[1, 0, 0, 0], [0, 1, 1, 0], [1, 0, 0, 0]])


def test_precision_and_recall_are_those_by_hand() -> None:
    result = judge(SIMILARITIES, TRUTH)
    # The most similar class is right for the first video alone.
    assert result["precision_at_1"] == pytest.approx(1 / 3)
    # Of the first three classes 1, 2 and 0 are right.
    assert result["precision_at_3"] == pytest.approx((1 / 3 + 2 / 3 + 0) / 3)
    assert result["recall_at_3"] == pytest.approx((1 + 1 + 0) / 3)
    assert result["similarity_right"] == pytest.approx((0.9 + 0.4 + 0.3 + 0.0) / 4)
    wrong = (0.1 + 0.2 + 0.3) + (0.5 + 0.2) + (0.1 + 0.2 + 0.3)
    assert result["similarity_wrong"] == pytest.approx(wrong / 8)


def test_probabilities_are_a_softmax() -> None:
    shares = probabilities(SIMILARITIES, scale=100.0)
    assert shares.sum(axis=1) == pytest.approx(1)
    assert shares[0, 0] / shares[0, 3] == pytest.approx(np.exp(60))
    assert np.array_equal(shares.argsort(axis=1), SIMILARITIES.argsort(axis=1))


def test_prompts_of_a_class_are_averaged(tiny_clip: Path) -> None:
    clip = load_clip(str(tiny_clip), "cpu")
    vectors = class_vectors(clip, ["crack", "roots"], ["a photo of {}", "{} in a pipe"])
    mean = clip.texts(["a photo of roots", "roots in a pipe"]).mean(axis=0)
    assert vectors[1] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)


def test_a_video_is_the_mean_of_its_frames() -> None:
    assert video_vector(np.eye(2, dtype=np.float32)) == pytest.approx([2**-0.5, 2**-0.5])
