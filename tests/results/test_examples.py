import numpy as np

from qvpipe.results.examples import CAPTION_HEIGHT, GAP, HEADING, ROW, SIDE, TITLE, sheet
from qvpipe.video.images import Image


def plain(value: int) -> Image:
    return np.full((30, 30, 3), value, dtype=np.uint8)


def cell(page: Image, row: int, column: int) -> Image:
    """Return a caption with its picture below."""
    top = 2 * GAP + TITLE + row * ROW + HEADING + 14
    left = GAP + column * (SIDE + GAP)
    return page[top : top + CAPTION_HEIGHT + SIDE, left : left + SIDE]


def test_every_picture_stands_in_its_row_below_its_caption() -> None:
    first, second = [(plain(10), "a"), (plain(20), "b")], [(plain(30), "c\nd")]
    page = sheet("CJ deposit", {"best": first, "worst": second})
    assert page.shape == (2 * GAP + TITLE + 2 * ROW, GAP + 2 * (SIDE + GAP), 3)
    for (row, column), value in {(0, 0): 10, (0, 1): 20, (1, 0): 30}.items():
        found = cell(page, row, column)
        assert (found[CAPTION_HEIGHT:] == value).all()
        assert found[:CAPTION_HEIGHT].min() < 100
    assert (cell(page, 1, 1) == 255).all()


def test_a_caption_that_is_too_long_runs_into_nothing() -> None:
    page = sheet("CJ", {"best": [(plain(10), "x" * 200), (plain(10), "")]})
    assert cell(page, 0, 0)[:CAPTION_HEIGHT].min() < 100
    assert (cell(page, 0, 1)[:CAPTION_HEIGHT] == 255).all()
    assert (page[:, GAP + SIDE : 2 * GAP + SIDE] == 255).all()


def test_a_sheet_without_pictures_has_room_for_its_title() -> None:
    page = sheet("Misclassified: none of many", {})
    assert page.shape[0] == 2 * GAP + TITLE
    assert page[:, :-GAP].min() < 100
    assert (page[:, -GAP:] == 255).all()
