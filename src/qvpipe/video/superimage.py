"""Super-images: the frames of a video as the tiles of one square picture."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

import numpy as np

from qvpipe.config import SuperimagesSettings
from qvpipe.video.images import Image, encode_jpeg, square
from qvpipe.video.store import Origin

VERSION = 1
"""Raise it whenever the same frames and settings would give another super-image than before."""


def compose(
    frames: Sequence[Image] | Image, grid: int, tile: int, fit: Literal["squash", "letterbox"]
) -> Image:
    """Lay frames out in order of time, row by row.

    Args:
        frames: `grid`² frames, each uint8 [height, width, 3].
        grid: Tiles in a row and in a column.
        tile: Side of a tile in pixels.
        fit: How a frame becomes square, see `images.square`.

    Returns:
        uint8 [grid * tile, grid * tile, 3].
    """
    if len(frames) != grid**2:
        raise ValueError(f"a super-image of {grid} x {grid} tiles cannot hold {len(frames)} frames")
    tiles = np.stack([square(frame, tile, fit) for frame in frames])
    rows = tiles.reshape(grid, grid, tile, tile, 3)
    return rows.transpose(0, 2, 1, 3, 4).reshape(grid * tile, grid * tile, 3)


def origin_hash(
    stored: Origin | None, positions: Sequence[int], settings: SuperimagesSettings
) -> str:
    """Return a hash of all that a super-image is made from, 32 hexadecimal digits.

    Args:
        stored: What the stored frames were made from.
        positions: Which of them stand on the super-image.
        settings: How they are laid out.
    """
    facts = [VERSION, stored and asdict(stored), list(positions), asdict(settings)]
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()


def superimage_jpeg(
    frames: Sequence[Image] | Image, settings: SuperimagesSettings, comment: str = ""
) -> bytes:
    """Return the super-image of frames as the bytes of a JPEG.

    Args:
        frames: As many as the grid has tiles, in order of time.
        settings: How they are laid out.
        comment: What `images.read_comment` is to give back; it changes no pixel.
    """
    image = compose(frames, settings.grid, settings.tile, settings.fit)
    return encode_jpeg(image, settings.quality, comment)
