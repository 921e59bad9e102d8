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


@pytest.fixture
def predicted(settings: Settings) -> Arrays:
    """Lay two folds of predictions where the stage looks for them; return truth and scores."""
    random = np.random.default_rng(0)
    truth = (random.random((80, 3)) < 0.4).astype(int)
    scores = 0.6 * random.random((80, 3)) + 0.2 * truth
    videos = [f"v{i:02}" for i in range(80)]
    labels = [" ".join(map(str, np.flatnonzero(row))) for row in truth]
    folds = np.arange(80) % 2
    groups = [f"g{i // 2}" for i in range(80)]
    files.CLASSES.parent.mkdir()
    files.CLASSES.write_text("".join(f"{name}\n" for name in CLASSES))
    files.write_table(files.INDEX, pd.DataFrame({"video": videos, "labels": labels}))
    files.write_table(files.SPLITS, pd.DataFrame({"video": videos, "group": groups, "fold": folds}))
    for fold in range(2):
        table = pd.DataFrame(scores[folds == fold], columns=CLASSES)
        table.insert(0, "video", np.array(videos)[folds == fold])
        files.write_table(files.fold_predictions("m", fold), table)
    for number, video in enumerate(videos):
        image = np.full((24, 24, 3), number, dtype=np.uint8)
        files.superimage(video).parent.mkdir(parents=True, exist_ok=True)
        files.superimage(video).write_bytes(encode_jpeg(image, 90))
    return truth, scores


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
