"""Work that other processes do in tests, apart so that they need not import pytest."""

import ctypes
import hashlib
import os
import signal
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from qvpipe.errors import QvpipeError


def process(number: int) -> tuple[int, int]:
    time.sleep(0.02 * (3 - number % 4))
    return number, os.getpid()


def fail(number: int) -> int:
    if number == 2:
        raise QvpipeError("two is not allowed")
    return number


def end_of_file(number: int) -> int:
    raise EOFError(number)


def misbehave(how: str) -> str:
    if how == "segfault":
        ctypes.string_at(0)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        os._exit(7)
    if how == "hang":
        time.sleep(600)
    if how == "compute":
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
    if how == "large":
        np.ones(2**31, dtype=np.uint8)
    if how == "large picture":
        cv2.resize(np.zeros((8, 8, 3), np.uint8), (30_000, 30_000))
    return "done"


def crash_at_threes(number: int) -> int:
    if number % 3 == 0:
        os.kill(os.getpid(), signal.SIGSEGV)
    return number


def same(number: int) -> int:
    return number


def stay(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)


def where(number: int) -> tuple[int, str]:
    """Take half a second on Ray and say on which node."""
    import ray

    assert "torch" not in sys.modules
    time.sleep(0.5)
    return number, ray.get_runtime_context().get_node_id()


def begin(place: tuple[str, str], threads: int) -> int:
    """Fail, or lose the process the first time, or say how many threads there are."""
    folder, how = place
    if how == "fail":
        raise QvpipeError("it is not allowed")
    begun = Path(folder) / "begun"
    if how == "lost" and not begun.exists():
        begun.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return threads
