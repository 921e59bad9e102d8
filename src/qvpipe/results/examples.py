"""Example pictures of a class on one sheet; laid out pixel by pixel, since there is one a class."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from qvpipe.results.plots import RED
from qvpipe.video.images import Image, resize

Captioned = Sequence[tuple[Image, str]]
"""Square pictures, each with what is written above it, at most two lines."""

SIDE = 240
"""Of a picture on the sheet, in pixels; so are all lengths here."""
GAP = 20
TITLE, HEADING, CAPTION = 21, 16, 13
"""Sizes of the letters."""
CAPTION_HEIGHT = 40
ROW = HEADING + 14 + CAPTION_HEIGHT + SIDE + GAP

INK = "#222222"


def sheet(title: str, rows: Mapping[str, Captioned]) -> Image:
    """Lay captioned pictures out in rows.

    Args:
        title: Of the sheet.
        rows: What each row shows, and its pictures; none gives the title alone.

    Returns:
        uint8 `[height, width, 3]`, RGB.
    """
    columns = max((len(pictures) for pictures in rows.values()), default=0)
    head = 2 * GAP + TITLE
    width = max(GAP + columns * (SIDE + GAP), 2 * GAP + round(_font(TITLE).getlength(title)))
    page = PillowImage.new("RGB", (width, head + len(rows) * ROW), "white")
    pen = ImageDraw.Draw(page)
    pen.text((GAP, GAP), title, INK, _font(TITLE))
    for row, (heading, pictures) in enumerate(rows.items()):
        top = head + row * ROW
        pen.text((GAP, top), heading, RED, _font(HEADING))
        for column, (picture, caption) in enumerate(pictures):
            place = (GAP + column * (SIDE + GAP), top + HEADING + 14)
            page.paste(_captioned(picture, caption), place)
    return np.asarray(page)


def _captioned(picture: Image, caption: str) -> PillowImage.Image:
    """Return a picture below its caption, which is cut off where it is wider."""
    cell = PillowImage.new("RGB", (SIDE, CAPTION_HEIGHT + SIDE), "white")
    ImageDraw.Draw(cell).multiline_text((0, 0), caption, INK, _font(CAPTION))
    cell.paste(PillowImage.fromarray(resize(picture, SIDE, SIDE)), (0, CAPTION_HEIGHT))
    return cell


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size)
