from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from qvpipe import files
from qvpipe.config import Settings
from qvpipe.learning.metrics import challenge_map
from qvpipe.stages.ensemble import ensemble
from qvpipe.video.images import encode_jpeg

Arrays = tuple[NDArray[Any], NDArray[Any]]

CLASSES = ["ZC", "CJ", "CK"]


def lay(truth: NDArray[Any], members: Mapping[str, NDArray[Any]], folds: int) -> None:
    """Lay predictions, and all else that the stage reads, where it looks for them."""
    count, classes = truth.shape
    videos = np.array([f"v{i:02}" for i in range(count)])
    labels = [" ".join(map(str, np.flatnonzero(row))) for row in truth]
    fold = np.arange(count) % folds
    groups = [f"g{i // 2}" for i in range(count)]
    files.CLASSES.parent.mkdir()
    files.CLASSES.write_text("".join(f"{name}\n" for name in CLASSES[:classes]))
    files.write_table(files.INDEX, pd.DataFrame({"video": videos, "labels": labels}))
    files.write_table(files.SPLITS, pd.DataFrame({"video": videos, "group": groups, "fold": fold}))
    for member, scores in members.items():
        for k in range(folds):
            table = pd.DataFrame(scores[fold == k], columns=CLASSES[:classes])
            table.insert(0, "video", videos[fold == k])
            files.write_table(files.fold_predictions(member, k), table)
            curve = pd.DataFrame({"number": [1], "accuracy": [0.5]})
            files.write_table(files.fold_model(member, k) / "curve.csv", curve)
    for number, video in enumerate(videos):
        image = np.full((24, 24, 3), number, dtype=np.uint8)
        files.superimage(video).parent.mkdir(parents=True, exist_ok=True)
        files.superimage(video).write_bytes(encode_jpeg(image, 90))


@pytest.fixture
def predicted(settings: Settings) -> Arrays:
    """Lay two folds of predictions; return truth and scores."""
    random = np.random.default_rng(0)
    truth = (random.random((80, 3)) < 0.4).astype(int)
    scores = 0.6 * random.random((80, 3)) + 0.2 * truth
    lay(truth, {"m": scores}, folds=2)
    return truth, scores


def test_of_a_single_choice_accuracy_weighs_the_members(settings: Settings) -> None:
    """The first member ranks better, the second decides better."""
    truth = np.eye(2, dtype=int)[[0, 1, 0, 1, 0, 1]]
    scores = {
        "m": np.array([0.45, 0.3, 0.44, 0.29, 0.43, 0.28]),  # in order, but none above one half
        "other": np.array([0.9, 0.2, 0.8, 0.7, 0.6, 0.1]),
    }
    lay(truth, {name: np.stack([p, 1 - p], axis=1) for name, p in scores.items()}, folds=1)
    choice = replace(
        settings, task="multiclass", folds=(0,), members=("m", "other"),
        ensemble=replace(settings.ensemble, calibration="none"),
    )  # fmt: skip
    ensemble(choice)
    result = files.read_json(files.METRICS / "ensemble.json")
    ends = result["interval"]["accuracy"]
    assert 0 < ends["low"] < result["accuracy"] < ends["high"] <= 1
    members = result["members"]
    assert members["m"]["map"] > members["other"]["map"]
    assert [members[name]["accuracy"] for name in members] == pytest.approx([3 / 6, 5 / 6])
    assert [members[name]["weight"] for name in members] == pytest.approx([3 / 8, 5 / 8])


def test_the_challenges_metric_and_the_interval_stand_beside_the_map(
    predicted: Arrays, settings: Settings
) -> None:
    truth, scores = predicted
    ensemble(replace(settings, folds=(0, 1)))
    result = files.read_json(files.METRICS / "ensemble.json")
    challenge = result["challenge"]
    assert challenge["map"] == pytest.approx(challenge_map(truth, scores))
    assert challenge["map_defects"] == pytest.approx(challenge_map(truth, scores, [1, 2]))
    each = [challenge_map(truth[k::2], scores[k::2]) for k in range(2)]
    assert challenge["mean_over_folds"]["map"] == pytest.approx(np.mean(each))
    assert challenge["mean_over_folds"]["map_sd"] == pytest.approx(np.std(each, ddof=1))
    for name in ("map", "map_defects"):
        assert result["interval"][name]["low"] < result[name] < result["interval"][name]["high"]
