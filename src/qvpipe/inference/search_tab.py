"""The part of the page that finds frames by a text or by a picture."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from qvpipe.errors import QvpipeError
from qvpipe.search.page import Found, fragment
from qvpipe.search.searcher import Searcher, read_picture
from qvpipe.video.packets import IMAGE_ENDINGS

HINT = "Say what is to be seen, or drop a picture of something like it."

Searchers = Mapping[str, Callable[[], Searcher]]
"""What can search, by its name, and what loads it."""


def add_search(searchers: Searchers, note: Callable[[str], str]) -> None:
    """Add the fields of search to the part of a Gradio page that is being built.

    Args:
        searchers: What can search; the first is chosen.
        note: Makes the HTML of a sentence.
    """
    import gradio

    loaded: dict[str, Searcher] = {}

    def searcher(name: str) -> Searcher:
        if name not in loaded:
            loaded[name] = searchers[name]()
        return loaded[name]

    def find(text: str, name: str, count: int) -> str:
        """Return the frames that are most like a text, as HTML."""
        if not text.strip():
            return note(HINT)
        try:
            by = searcher(name)
            return fragment(Found(text, by.title, by.by_text(text.strip(), int(count))))
        except QvpipeError as error:
            raise gradio.Error(str(error)) from error

    def find_like(upload: str | None, name: str, count: int) -> tuple[None, str]:
        """Return an empty file field, and the frames that are most like a picture as HTML."""
        if upload is None:
            return None, note(HINT)
        path = Path(upload)
        try:
            picture, by = read_picture(path), searcher(name)
            hits = by.by_picture(picture, int(count))
            return None, fragment(Found(path.name, by.title, hits, picture))
        except QvpipeError as error:
            raise gradio.Error(str(error)) from error
        finally:
            shutil.rmtree(path.parent, ignore_errors=True)

    with gradio.Row(equal_height=True):
        with gradio.Column(scale=3):
            text = gradio.Textbox(
                label="What is to be seen", placeholder="tree roots in the pipe", elem_id="text"
            )
            button = gradio.Button("Search", variant="primary", elem_id="search")
        like = gradio.File(
            label="Or a picture like it",
            file_types=sorted(IMAGE_ENDINGS),
            height=150,
            scale=2,
            min_width=160,
            elem_id="like",
        )
        with gradio.Column(scale=2, min_width=160):
            choice = gradio.Dropdown(
                choices=list(searchers),
                value=next(iter(searchers)),
                label="Collection",
                interactive=True,
                elem_id="collection",
            )
            count = gradio.Slider(1, 50, value=12, step=1, label="Frames", elem_id="count")
    found = gradio.HTML(note(HINT), elem_id="found", apply_default_css=False, min_height=140)
    for event in (text.submit, button.click):
        event(
            find,
            [text, choice, count],
            found,
            api_visibility="private",
            concurrency_limit=1,
            show_progress_on=[found],
        )
    like.upload(
        find_like,
        [like, choice, count],
        [like, found],
        api_visibility="private",
        concurrency_limit=1,
        show_progress_on=[found],
    )
