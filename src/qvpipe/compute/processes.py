"""The same work on many items, in processes of this machine.

Decoders crash and hang on some files, so every process has a pipe of its own: it is known at any
time what each of them works on, and whatever befalls one costs that one item. In pools whose
processes share a queue, a crash can only be blamed on all that was under way.
"""

import itertools
import multiprocessing
import os
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Generic, TypeVar

from qvpipe.compute.worker import Lost, attempt, crashed, prepare, too_long
from qvpipe.errors import QvpipeError

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    processes: int,
    timeout_s: float | None,
    window: int,
) -> Generator[Result | Lost]:
    """Yield the results of the work on each item, in the items' order.

    Args:
        work: A function that other processes can import.
        items: What it is called with.
        processes: How many of them work at the same time.
        timeout_s: Seconds after which the work on an item is given up; None for never.
        window: How many items may be under way or finished and not yet yielded.
    """
    workers = [_Worker(work, timeout_s) for _ in range(processes)]
    idle: SimpleQueue[_Worker[Item, Result]] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def do(item: Item) -> Result | Lost:
        worker = idle.get()
        try:
            return worker.do(item)
        finally:
            idle.put(worker)

    coming = iter(items)
    # A thread looks after each process, and sleeps while it works.
    threads = ThreadPoolExecutor(processes)
    try:
        under_way = deque(threads.submit(do, i) for i in itertools.islice(coming, window))
        while under_way:
            outcome = under_way.popleft().result()
            under_way.extend(threads.submit(do, i) for i in itertools.islice(coming, 1))
            yield outcome
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.stop()
        threads.shutdown()


class _Worker(Generic[Item, Result]):
    """A process that does one piece of work at a time, and is replaced when it dies."""

    def __init__(self, work: Callable[[Item], Result], timeout_s: float | None) -> None:
        self._work = work
        self._timeout_s = timeout_s
        self._running: tuple[SpawnProcess, Connection] | None = None
        self._stopped = False
        self._starting = Lock()

    def do(self, item: Item) -> Result | Lost:
        """Do the work on one item."""
        process, pipe = self._start()
        try:
            pipe.send(item)
            if not pipe.poll(self._timeout_s):
                _end(process)
                return too_long(self._timeout_s or 0)
            raised, outcome = pipe.recv()
        except (EOFError, ConnectionError):
            process.join(5)
            return crashed(process.exitcode)
        if raised:
            raise outcome
        return outcome  # type: ignore[no-any-return]

    def stop(self) -> None:
        """End the process, whatever it is doing, and start no other."""
        with self._starting:
            self._stopped = True
            if self._running:
                _end(self._running[0])

    def _start(self) -> tuple[SpawnProcess, Connection]:
        """Return the process and the pipe to it, after starting one if none is alive."""
        with self._starting:
            if self._stopped:
                raise RuntimeError("the work has been stopped")
            if not self._running or not self._running[0].is_alive():
                self._running = _launch(self._work)
            return self._running


def _launch(work: Callable[[Item], Result]) -> tuple[SpawnProcess, Connection]:
    """Start a process and return it with the pipe to it, once it is ready for work."""
    # Forked processes would inherit locks of OpenCV's and FFmpeg's threads and could wait forever.
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work), daemon=True)
    process.start()
    theirs.close()
    try:
        pipe.recv()
    except (EOFError, ConnectionError):
        raise QvpipeError("a process to work on videos ended before it began; see above") from None
    return process, pipe


def _end(process: SpawnProcess) -> None:
    process.kill()
    # What waits for a network drive that is gone cannot even be killed.
    process.join(5)


def _serve(pipe: Connection, work: Callable[[Item], Result]) -> None:
    """Do what comes through a pipe until it closes: the life of a process."""
    # Ctrl-C reaches every process of the terminal; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    prepare()
    pipe.send("ready")
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        _send(pipe, *_outcome(work, item))


def _outcome(work: Callable[[Item], Result], item: Item) -> tuple[bool, Any]:
    """Return whether the work raises an error, and the error, or else its result."""
    try:
        return False, attempt(work, item)
    except Exception as error:
        error.add_note(traceback.format_exc())
        return True, error


def _send(pipe: Connection, raised: bool, outcome: object) -> None:
    try:
        pipe.send((raised, outcome))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        pipe.send((True, error))


def _end_with_parent() -> None:
    """End this process as soon as its parent is gone, however that ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
