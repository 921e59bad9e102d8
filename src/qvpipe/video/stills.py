"""Image files: pictures that stand alone.

Pillow reads them. It knows a picture's size before it decodes any of it, applies the orientation
that a camera noted in every format, and fails on a file that breaks off. OpenCV fills what is
missing with grey and drops either transparency or the orientation; FFmpeg rounds the colours of a
JPEG in its own way. Of a file with several pictures the first one counts.
"""

from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps

from qvpipe.video.images import Image
from qvpipe.video.packets import MAX_PIXELS, VideoError

MOTION_JPEG_ENDINGS = frozenset([".mjpeg", ".mjpg"])

HEAD_BYTES = 12
"""How much of a file tells its format."""


def image_format(path: Path) -> str:
    """Return `jpeg`, `png`, `webp`, `bmp` or `tiff` for an image file, otherwise ''.

    The first bytes decide, since a name may lie and an upload has none. Only of JPEGs that follow
    one another as a video, which begin like a single one, no more than the name tells.
    """
    if path.suffix.lower() in MOTION_JPEG_ENDINGS:
        return ""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return ""
    signs = {
        "jpeg": head.startswith(b"\xff\xd8\xff"),
        "png": head.startswith(b"\x89PNG\r\n\x1a\n"),
        "webp": head.startswith(b"RIFF") and head[8:] == b"WEBP",
        "bmp": head.startswith(b"BM") and head[6:10] == bytes(4),
        "tiff": head.startswith((b"II*\0", b"MM\0*")),
    }
    return next((name for name, fits in signs.items() if fits), "")


def read_image(path: Path) -> Image:
    """Return the picture in an image file as it is to be looked at.

    Orientation is applied, what is transparent stands on black, and of more than 8 bits a colour
    the upper ones are taken.

    Returns:
        uint8 [height, width, 3], RGB.

    Raises:
        VideoError: If the file is damaged, too large, or holds no colours.
    """
    try:
        with Pillow.open(path, formats=[image_format(path).upper()]) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise _too_large(path)
            return _rgb(ImageOps.exif_transpose(picture), path)
    except (VideoError, MemoryError):
        raise
    except Pillow.DecompressionBombError:
        raise _too_large(path) from None
    except Exception as error:  # Pillow raises whatever the reading of a damaged file runs into.
        raise VideoError(f"{path.name} is a damaged image ({error})") from None


def _too_large(path: Path) -> VideoError:
    return VideoError(
        f"{path.name} is an image of more than {MAX_PIXELS} pixels; make it smaller first"
    )


def _rgb(picture: Pillow.Image, path: Path) -> Image:
    if picture.mode.startswith("I;16"):
        grey = (np.asarray(picture) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    if picture.mode in ("I", "F"):
        raise VideoError(
            f"{path.name} holds numbers of 32 bits, not colours; save it with 8 or 16 bits a pixel"
        )
    if picture.has_transparency_data:
        seen = picture.convert("RGBA")
        picture = Pillow.alpha_composite(Pillow.new("RGBA", seen.size, (0, 0, 0, 255)), seen)
    return np.array(picture.convert("RGB"), dtype=np.uint8)
