import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from qvpipe import files, tracking
from qvpipe.errors import QvpipeError
from qvpipe.learning.metrics import average_precisions
from qvpipe.results import compare, plots
from qvpipe.results.compare import ENSEMBLE, Judged

CLASSES = ["normal", "crack"]
VIDEOS = [f"v{i}" for i in range(24)]


@pytest.fixture
def truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Write an index and splits of 24 videos in 12 groups and return their targets."""
    monkeypatch.chdir(tmp_path)
    labels = [str(i // 2 % 2) for i in range(24)]
    files.write_table(files.INDEX, pd.DataFrame({"video": VIDEOS, "labels": labels}))
    splits = pd.DataFrame({"video": VIDEOS, "group": [f"g{i // 2}" for i in range(24)]})
    files.write_table(files.SPLITS, splits.assign(fold=[i // 2 % 2 for i in range(24)]))
    files.CLASSES.write_text("".join(f"{name}\n" for name in CLASSES), encoding="utf-8")
    return np.array([[label == "0", label == "1"] for label in labels]).astype(int)


def judged(name: str, scores: np.ndarray) -> Judged:
    table = pd.DataFrame(scores, index=pd.Index(VIDEOS, name="video"), columns=CLASSES)
    digest = tracking.digest(files.INDEX)
    return Judged(name, digest, "same", {"one": table, ENSEMBLE: table})


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((24, 2))


def test_one_that_knows_the_labels_is_better_than_one_that_guesses(truth: np.ndarray) -> None:
    guess = judged("guess", noise(0))
    found = compare.compare([guess, judged("good", truth + 0.5 * noise(1))])
    assert found.videos == 24
    assert found.maps.loc[ENSEMBLE, "good"] == 1
    expected = average_precisions(truth, guess.scores[ENSEMBLE].to_numpy())
    assert found.per_class["guess"].to_list() == expected.tolist()
    (difference,) = found.differences
    assert difference.interval.low > 0
    assert difference.verdict == "good is better"
    printed = compare.text(found)
    assert "good - guess: +" in printed
    assert printed.endswith("good is better")


def test_single_choices_are_compared_by_their_decisions(truth: np.ndarray) -> None:
    guess, good = judged("guess", noise(0)), judged("good", 0.1 + 0.8 * truth)
    found = compare.compare([guess, good], "multiclass")
    expected = (noise(0).argmax(axis=1) == truth.argmax(axis=1)).mean()
    assert list(found.decisions.loc["accuracy"]) == [expected, 1]
    assert found.decisions.loc["log_loss", "good"] == pytest.approx(-np.log(0.9))
    assert found.decisions.index.to_list() == ["accuracy", "precision", "recall", "f1", "log_loss"]
    (difference,) = found.differences
    assert difference.interval.value == pytest.approx(1 - expected)
    assert 0 < difference.interval.low < difference.interval.value < difference.interval.high
    printed = compare.text(found)
    assert f"good - guess: {1 - expected:+.3f} accuracy, 95 % interval +" in printed
    assert "\nlog_loss " in printed
    assert len(compare.compare([guess, good]).decisions) == 0


def test_two_that_guess_are_not_told_apart(truth: np.ndarray) -> None:
    found = compare.compare([judged("a", noise(1)), judged("b", noise(2))])
    assert found.differences[0].verdict == "these videos do not tell which is better"


def test_other_videos_or_folds_are_refused(truth: np.ndarray) -> None:
    one = judged("one", noise(1))
    with pytest.raises(QvpipeError, match=r"two was judged on other videos or labels"):
        compare.compare([one, dataclasses.replace(one, name="two", index="other")])
    with pytest.raises(QvpipeError, match=r"two and one divide the videos into other folds"):
        compare.compare([one, dataclasses.replace(one, name="two", splits="other")])


def test_only_the_videos_that_all_judged_count(truth: np.ndarray) -> None:
    one = judged("one", noise(1))
    half = dataclasses.replace(one, name="half", scores={ENSEMBLE: one.scores[ENSEMBLE].iloc[:12]})
    found = compare.compare([one, half])
    assert found.videos == 12
    assert found.differences[0].interval.value == 0
    assert found.maps["half"].isna().to_dict() == {"one": True, ENSEMBLE: False}
    none = dataclasses.replace(one, name="rest", scores={ENSEMBLE: one.scores[ENSEMBLE].iloc[12:]})
    with pytest.raises(QvpipeError, match="no video in common"):
        compare.compare([half, none])


def test_the_same_experiment_twice_has_two_columns(truth: np.ndarray) -> None:
    one = judged("one", noise(1))
    found = compare.compare([one, one])
    assert found.maps.columns.to_list() == ["one (1)", "one (2)"]


def panels(found: compare.Comparison) -> dict[str, Axes]:
    return {axes.get_title("left"): axes for axes in plots.comparison(found).axes}


def test_the_picture_shows_every_experiment_and_the_interval(truth: np.ndarray) -> None:
    found = compare.compare([judged("a", noise(1)), judged("b", noise(2))])
    drawn = panels(found)
    assert set(drawn) == {
        "mAP",
        "Average precision by class, ensemble",
        "mAP against a, 95 % interval",
    }
    for title in ("mAP", "Average precision by class, ensemble"):
        assert drawn[title].get_legend_handles_labels()[1] == ["a", "b"]
    ends = found.differences[0].interval
    _, line, point = drawn["mAP against a, 95 % interval"].lines
    assert np.array_equal(line.get_xdata(), [ends.low, ends.high])
    assert np.array_equal(point.get_xdata(), [ends.value])


def test_the_picture_shows_decisions_where_items_have_one_class(truth: np.ndarray) -> None:
    found = compare.compare([judged("a", noise(1)), judged("b", noise(2))], "multiclass")
    drawn = panels(found)
    axes = drawn["Decisions of the ensemble"]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["f1", "recall", "precision", "accuracy"]
    shown = [bar.get_width() for bar in axes.containers[0]]
    assert shown == [found.decisions.loc[name, "a"] for name in names]
    assert "accuracy against a, 95 % interval" in drawn
