"""Pictures in memory: JPEG and changes of size."""

import os
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from qvpipe.video.packets import VideoError

Image = npt.NDArray[np.uint8]
"""A picture, [height, width, 3], RGB."""

JPEG_END = b"\xff\xd9"


def encode_jpeg(image: Image, quality: int, comment: str = "") -> bytes:
    """Return a picture as the bytes of a JPEG of quality 1 to 100, with a comment if there is one.

    Raises:
        VideoError: If it is too large for a JPEG.
    """
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:
        raise VideoError(f"a picture of shape {image.shape} could not be written as a JPEG")
    jpeg = data.tobytes()
    if not comment:
        return jpeg
    # A comment stands after the first segment, whose length its third and fourth byte tell.
    text = comment.encode()
    start = 4 + int.from_bytes(jpeg[4:6], "big")
    return jpeg[:start] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + jpeg[start:]


def read_comment(path: Path) -> str | None:
    """Return the comment of a JPEG file; None if there is no whole JPEG with one."""
    try:
        with path.open("rb") as file:
            file.seek(-len(JPEG_END), os.SEEK_END)
            whole = file.read() == JPEG_END
            file.seek(0)
            with PillowImage.open(file, formats=["JPEG"]) as image:
                comment = image.info.get("comment")
    except OSError:
        return None
    return comment.decode("utf-8", "replace") if whole and isinstance(comment, bytes) else None


def decode_jpeg(data: bytes) -> Image:
    """Return the picture in the bytes of a JPEG.

    Raises:
        VideoError: If they hold none.
    """
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise VideoError("a stored frame is damaged; remove its file and take it again")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def shrink(image: Image, side: int) -> Image:
    """Return a picture with a shorter side of `side` pixels; a smaller one stays as it is."""
    height, width = image.shape[:2]
    shorter = min(height, width)
    if shorter <= side:
        return image
    return resize(image, round(width * side / shorter), round(height * side / shorter))


def square(image: Image, side: int, fit: Literal["squash", "letterbox"]) -> Image:
    """Return a picture as a square.

    Args:
        image: uint8 [height, width, 3].
        side: Side of the square in pixels.
        fit: `squash` changes the aspect; `letterbox` keeps it between black bars.

    Returns:
        uint8 [side, side, 3].
    """
    if fit == "squash":
        return resize(image, side, side)
    height, width = image.shape[:2]
    longer = max(height, width)
    inner = resize(
        image, max(1, round(width * side / longer)), max(1, round(height * side / longer))
    )
    top, left = (side - inner.shape[0]) // 2, (side - inner.shape[1]) // 2
    canvas = np.zeros((side, side, 3), dtype=np.uint8)
    canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return canvas


def resize(image: Image, width: int, height: int) -> Image:
    """Return a picture in another size, averaged where it shrinks and interpolated otherwise."""
    shrinks = width < image.shape[1] or height < image.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), dtype=np.uint8)
