"""Models by their names on the Hugging Face hub: asked for once, and not for long."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

from huggingface_hub import constants, model_info

from qvpipe.errors import one_line

ANSWERS_S = 10
"""Seconds in which the hub answers, or is taken to be away. Libraries try for up to minutes."""

Model = TypeVar("Model")


def from_hub(name: str, load: Callable[[], Model]) -> Model:
    """Load a model; what the hub has given before is not asked for again.

    Args:
        name: The model's name on the hub.
        load: Loads it, from the hub's cache where it is there.

    Raises:
        OSError: If the hub does not answer or has no such model.
    """
    with contextlib.suppress(OSError), _from_cache_alone():
        return load()
    try:
        model_info(name, timeout=ANSWERS_S)
    except Exception as error:  # The hub's client raises those of its own network library.
        raise ConnectionError(one_line(error)) from error
    return load()


@contextlib.contextmanager
def _from_cache_alone() -> Iterator[None]:
    """Do what the environment variable HF_HUB_OFFLINE does from the start, for a while."""
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
