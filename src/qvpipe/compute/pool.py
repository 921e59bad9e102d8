"""The same work on many videos: in this process, in several, or on a cluster."""

import contextlib
import os
import textwrap
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

from qvpipe.compute.processes import in_processes
from qvpipe.compute.worker import Lost
from qvpipe.config import ComputeSettings
from qvpipe.errors import QvpipeError

Item = TypeVar("Item")
Result = TypeVar("Result")

SMALL_RESULTS = 256
"""For `ahead`, where a result is no more than a row of a table."""


def each(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    compute: ComputeSettings,
    title: str,
    *,
    timeout_s: float | None = None,
    lost: Callable[[Item, str], Result] | None = None,
    ahead: int = 4,
) -> Iterator[Result]:
    """Do the same work on every item, with a bar, and yield the results in the items' order.

    Args:
        work: A function that other processes can import.
        items: What it is called with.
        compute: Where it runs, and in how many processes.
        title: What the bar is called.
        timeout_s: Seconds after which the work on an item is given up; None for never.
        lost: Gives the result of an item whose work was given up, crashed its process or took
            more memory than a process may have. The text is the end of a sentence that begins
            with the item, such as "took longer than frames.timeout_s (60 s)".
        ahead: For each process, how many items may be under way or finished beyond what has been
            yielded. It bounds the results that are held in memory, and it is how far the others
            get while one item hangs.

    Raises:
        QvpipeError: If an item is lost and there is no `lost`.
        Exception: What `work` raises.
    """
    if not items:
        return
    processes = min(compute.workers or os.cpu_count() or 1, len(items))
    outcomes: Generator[Result | Lost]
    if compute.engine == "ray":
        from qvpipe.compute.cluster import on_ray

        outcomes = on_ray(work, items, compute, timeout_s, ahead)
    elif processes > 1 or timeout_s or lost:
        outcomes = in_processes(work, items, processes, timeout_s, processes * ahead)
    else:
        outcomes = (work(item) for item in items)
    # Whatever ends the loop, no process outlives it.
    with contextlib.closing(outcomes):
        for item, outcome in zip(items, tqdm(outcomes, title, len(items)), strict=True):
            if not isinstance(outcome, Lost):
                yield outcome
            elif lost:
                yield lost(item, outcome.reason)
            else:
                raise QvpipeError(f"{title}: {textwrap.shorten(str(item), 80)} {outcome.reason}")
