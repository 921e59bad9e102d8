"""The same work on many videos in several processes."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

import cv2
from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, title: str
) -> Iterator[Result]:
    """Do the same work on every item, with a bar, and yield the results in the items' order.

    Args:
        work: A function that other processes can import.
        items: What it is called with.
        workers: Number of processes; 0 is one for each core.
        title: What the bar is called.
    """
    processes = min(workers or os.cpu_count() or 1, len(items))
    if processes <= 1:
        yield from tqdm(map(work, items), title, len(items), disable=not items)
        return
    # Forked processes would inherit locks of OpenCV's and FFmpeg's threads and could wait forever.
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_start_worker)
    try:
        yield from tqdm(pool.map(work, items), title, len(items))
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    # Ctrl-C reaches every process of the terminal; the parent lets its workers finish and ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
