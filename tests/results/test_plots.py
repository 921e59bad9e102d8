import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from qvpipe.results import plots

CLASSES = ["ZC", "crack", "roots"]
TRUTH = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 1], [1, 0, 0]])
SCORES = np.array([[0.9, 0.1, 0.2], [0.2, 0.8, 0.3], [0.1, 0.7, 0.9], [0.8, 0.2, 0.1]])


def test_reliability_is_of_what_was_said_and_what_is_there() -> None:
    upper, lower = plots.reliability(TRUTH, SCORES, bins=2).axes
    line = upper.lines[1]
    assert np.asarray(line.get_xdata()) == pytest.approx([1.2 / 7, 4.1 / 5])
    assert np.asarray(line.get_ydata()) == pytest.approx([0, 1])
    assert [bar.get_extents().height > 0 for bar in lower.patches] == [True, True]
    assert lower.dataLim.ymax == 7


def test_cooccurrence_counts_pairs_of_labels_and_of_predictions() -> None:
    labels, predictions = plots.cooccurrence(TRUTH, SCORES, CLASSES).axes
    for axes in (labels, predictions):
        table = np.asarray(axes.images[0].get_array())
        assert table.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0]]


def test_a_fold_that_has_its_share_of_a_class_is_pale_however_small_it_is() -> None:
    counts = np.array([[2, 8], [4, 16], [0, 10]])
    axes = plots.classes_by_folds(CLASSES, counts, ["validation", "training"]).axes[0]
    shares = np.asarray(axes.images[0].get_array())
    assert shares == pytest.approx(counts / [[1.5, 8.5], [3, 17], [1.5, 8.5]])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["validation", "training"]
    unnamed = plots.classes_by_folds(CLASSES, counts).axes[0]
    assert [label.get_text() for label in unnamed.get_xticklabels()] == ["fold 0", "fold 1"]


def test_precision_and_recall_reach_the_corner_where_all_is_right() -> None:
    panels = plots.precision_recall(TRUTH, SCORES, CLASSES).axes
    assert [axes.get_title(loc="left") for axes in panels] == [
        f"{name}  AP 1.00" for name in CLASSES
    ]


def test_cleaning_frames_every_picture_in_the_colour_of_its_fate() -> None:
    fates = ["", "blurred", "duplicate"] * 4
    clean = pd.DataFrame(
        {
            "video": ["a"] * 12,
            "time_s": np.arange(12) / 2,
            "sharpness": np.arange(12.0),
            "dropped": fates,
        }
    )
    stored = np.arange(12, dtype=np.uint8).repeat(40 * 50 * 3).reshape(12, 40, 50, 3)
    figure = plots.cleaning(clean, {"a": stored}, 0.3)
    counted, _, sheet = figure.axes
    assert [bar.get_width() for bar in _rectangles(counted)] == [4, 4, 4]
    assert sheet.get_title(loc="left") == "a: 4 blurred, 4 duplicate of 12"
    borders = _rectangles(sheet)
    assert [border.get_edgecolor() for border in borders] == [
        to_rgba(plots.FATES[fate][1]) for fate in fates
    ]
    pixels = np.asarray(sheet.images[0].get_array())
    middles = [
        np.add(border.get_xy(), (border.get_width() // 2, border.get_height() // 2)).astype(int)
        for border in borders
    ]
    assert [pixels[y, x, 0] for x, y in middles] == list(range(12))
    texts = [text.get_text() for text in sheet.texts]
    assert "5.50 s   sharpness 11" in texts
    assert texts.count("blurred") == 4


def test_accuracy_has_the_spread_of_the_folds_as_its_band() -> None:
    folds = [
        pd.DataFrame({"number": [1, 2, 3], "accuracy": [0.4, 0.6, 0.8]}),
        pd.DataFrame({"number": [1, 2], "accuracy": [0.2, 0.6]}),
    ]
    (axes,) = plots.accuracy_by_epoch({"m": folds}).axes
    # The second fold stopped at 0.6.
    assert np.asarray(axes.lines[-1].get_ydata()) == pytest.approx([0.3, 0.6, 0.7])
    edges = axes.collections[0].get_paths()[0].vertices
    spread = np.asarray(edges)[np.asarray(edges)[:, 0] == 1, 1]
    assert (spread.min(), spread.max()) == pytest.approx((0.3 - 0.02**0.5, 0.3 + 0.02**0.5))


def test_confusion_counts_labels_by_rows() -> None:
    counts = np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]])
    (axes,) = plots.confusion({"test": counts}, CLASSES).axes
    assert [text.get_text() for text in axes.texts] == ["3", "1", "0", "0", "2", "0", "0", "0", "0"]
    assert np.asarray(axes.images[0].get_array())[0].tolist() == [0.75, 0.25, 0]
    assert axes.get_title(loc="left") == "test: 5 of 6 right"


def test_f1_stands_for_each_class_and_set_with_the_mean() -> None:
    scores = {"out of fold": {"a": 0.5, "b": 1.0}, "test": {"a": 0.25, "b": 0.75}}
    (axes,) = plots.f1_by_class(scores, {"out of fold": 0.75, "test": 0.5}).axes
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        *["out of fold, mean 0.75", "test, mean 0.50"]
    ]
    # From below: the last class of one set, the first class of it, then the other set's.
    assert [bar.get_width() for bar in _rectangles(axes)] == [1.0, 0.5, 0.75, 0.25]


def _rectangles(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def test_durations_tell_who_is_left_out_and_how_long_each_class_is() -> None:
    index = pd.DataFrame(
        {
            "status": ["ok", "ok", "ok", "excluded", "failed"],
            "labels": ["0", "1", "1 2", "0", "0"],
            "duration_s": [10.0, 20.0, 40.0, 90.0, np.nan],
        }
    )
    left, right = plots.durations(index, CLASSES).axes
    legend = left.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["3 used", "1 left out"]
    assert sum(bar.get_extents().height > 0 for bar in left.patches) == 4
    assert [text.get_text() for text in right.get_yticklabels()] == [
        "ZC  (1)", "crack  (2)", "roots  (1)",
    ]  # fmt: skip
    # A box has seven lines: itself, two whiskers with their ends, the median, what lies outside.
    medians = [np.asarray(line.get_xdata())[0] for line in right.lines[5::7]]
    assert medians == [10, 30, 40]
