"""What HTML files that need nothing else are made of."""

import base64
from dataclasses import dataclass
from pathlib import Path

import jinja2

from qvpipe.video.images import Image, encode_jpeg, resize

TEMPLATES = Path(__file__).parent / "templates"

QUALITY = 75
"""Of the JPEGs; 500 videos stay well below 60 MB with it."""


@dataclass(frozen=True)
class Picture:
    """A picture as the bytes of a JPEG, so that it can stand inside the file."""

    jpeg: bytes
    width: int
    height: int

    @classmethod
    def of(cls, image: Image, width: int) -> "Picture":
        """Return an image as a picture of at most that width."""
        height, now = image.shape[:2]
        small = resize(image, width, max(1, round(height * width / now))) if now > width else image
        return cls(encode_jpeg(small, QUALITY), small.shape[1], small.shape[0])

    @property
    def uri(self) -> str:
        """The whole picture as an address."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode("ascii")


def environment(templates: Path) -> jinja2.Environment:
    """Return what renders the templates of a folder; whatever they are given is escaped.

    They can extend `page.html`, the frame of an HTML file that asks for nothing outside itself.
    """
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([templates, TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["clock"] = clock
    return made


def clock(seconds: float) -> str:
    """Return a time as minutes and seconds, such as 1:02.5."""
    tenths = round(10 * seconds)
    return f"{tenths // 600}:{tenths % 600 // 10:02d}.{tenths % 10}"
