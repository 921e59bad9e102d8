"""What holds for every process that works on videos, of this machine or of a cluster."""

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")

MEMORY = 896 * 2**20
"""Bytes that a process may take beyond the about 100 MB that it has after its start. What asks for
more gets an error instead, in FFmpeg and OpenCV too. Linux alone can hold a process to it."""


@dataclass(frozen=True)
class Lost:
    """What befell an item instead of a result."""

    reason: str
    """The end of a sentence that begins with the item."""


TOO_LARGE = Lost(f"needs more memory than a process may take ({MEMORY // 2**20} MiB)")


def attempt(work: Callable[[Item], Result], item: Item) -> Result | Lost:
    """Return the result of the work on an item; none of it if memory runs out."""
    try:
        return work(item)
    except MemoryError:
        return TOO_LARGE
    except cv2.error as error:
        if error.code != cv2.Error.StsNoMem:
            raise
        return TOO_LARGE


def too_long(timeout_s: float) -> Lost:
    """Return what befalls an item that takes longer than `timeout_s` seconds."""
    return Lost(f"took longer than frames.timeout_s ({timeout_s:g} s)")


def crashed(code: int | None) -> Lost:
    """Return what befalls an item whose process ended.

    Args:
        code: How it ended: an exit code, a signal if negative, None if that isn't known.
    """
    if code is None:
        return Lost("crashed the process that worked on it")
    if code == -signal.SIGKILL:
        return Lost("had its process killed (signal 9), most often for want of memory")
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return Lost(f"crashed the process that worked on it ({how})")


def prepare() -> None:
    """Make this process keep to one core and to its memory."""
    cv2.setNumThreads(1)
    if sys.platform == "linux":
        import resource

        limit, highest = resource.getrlimit(resource.RLIMIT_DATA)
        if limit == resource.RLIM_INFINITY:
            resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + MEMORY, highest))


def _data_bytes() -> int:
    """Return the size of this process's private memory, as Linux counts it for RLIMIT_DATA."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData:"))
