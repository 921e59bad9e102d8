"""What was found, as one HTML file that needs nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qvpipe import files
from qvpipe.results.page import Picture, clock, environment
from qvpipe.search.collection import Hit
from qvpipe.video.images import Image
from qvpipe.video.store import unpack

TEMPLATES = Path(__file__).parent / "templates"

WIDTH = 320
"""Of a frame on the page, in pixels, at most."""


@dataclass(frozen=True)
class Found:
    """A search with what it found."""

    query: str
    """The text, or the name of the example."""
    by: str
    """What has searched."""
    hits: Sequence[Hit]
    """The most similar first."""
    example: Image | None = None
    """The picture that was searched by, uint8 `[height, width, 3]`."""


def render(found: Found) -> str:
    """Return a search as one HTML page that asks for nothing outside itself.

    Raises:
        VideoError: If the frames cannot be read.
    """
    return environment(TEMPLATES).get_template("search.html").render(_shown(found))


def fragment(found: Found) -> str:
    """Return the part of the page below its heading, with its style, as an HTML fragment.

    Raises:
        VideoError: If the frames cannot be read.
    """
    return environment(TEMPLATES).get_template("hits.html").render(_shown(found))


def text(found: Found) -> str:
    """Return a line for each frame that was found."""
    width = max([5, *(len(hit.video) for hit in found.hits)])
    lines = [f"similarity  {'video':{width}}  {'time':>8}  labels"]
    lines += [
        f"{hit.similarity:10.3f}  {hit.video:{width}}  {clock(hit.time_s):>8}  "
        f"{', '.join(hit.labels) or '-'}"
        for hit in found.hits
    ]
    return "\n".join(lines)


def _shown(found: Found) -> dict[str, object]:
    frames = [unpack(files.frames_zip(hit.video), [hit.position]).frames[0] for hit in found.hits]
    pictures = [Picture.of(frame, WIDTH) for frame in frames]
    return {
        "found": found,
        "example": None if found.example is None else Picture.of(found.example, WIDTH),
        "rows": list(zip(found.hits, pictures, strict=True)),
    }
