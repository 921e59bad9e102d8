import numpy as np
import pytest

from qvpipe import plots

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


def test_precision_and_recall_reach_the_corner_where_all_is_right() -> None:
    panels = plots.precision_recall(TRUTH, SCORES, CLASSES).axes
    assert [axes.get_title(loc="left") for axes in panels] == [
        f"{name}  AP 1.00" for name in CLASSES
    ]
