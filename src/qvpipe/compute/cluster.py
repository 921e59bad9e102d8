"""The same work on many items, on a Ray cluster.

Ray schedules the work, and does it again where a machine of the cluster is lost. Its machines see
the repository and the raw videos under the same paths as this one.
"""

import contextlib
import faulthandler
import itertools
import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NoReturn, TypeVar

from qvpipe.compute.worker import TOO_LARGE, Lost, attempt, crashed, prepare, too_long
from qvpipe.config import ComputeSettings
from qvpipe.errors import QvpipeError

Item = TypeVar("Item")
Result = TypeVar("Result")

RETRIES = 3
"""How often an item is tried again whose process or machine was lost."""


def on_ray(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    compute: ComputeSettings,
    timeout_s: float | None,
    ahead: int,
) -> Generator[Result | Lost]:
    """Yield the results of the work on each item, in the items' order.

    Args:
        work: A function that the machines of the cluster can import.
        items: What it is called with.
        compute: Says which cluster.
        timeout_s: Seconds after which the work on an item is given up; None for never.
        ahead: For each core of the cluster, how many items may be under way or finished and not
            yet yielded.

    Raises:
        QvpipeError: If Ray is not installed, or there is no such cluster, or it fails.
    """
    with _connected(compute) as ray:
        task = ray.remote(_attempt_there).options(max_retries=RETRIES)
        rest = timeout_s, Path.cwd(), os.environ.get("DVC_ROOT")
        window = max(1, int(ray.cluster_resources().get("CPU", 1))) * ahead
        coming = iter(items)
        under_way = deque(task.remote(work, i, *rest) for i in itertools.islice(coming, window))
        while under_way:
            outcome = _outcome(ray, under_way.popleft())
            under_way.extend(task.remote(work, i, *rest) for i in itertools.islice(coming, 1))
            yield outcome


def _outcome(ray: ModuleType, reference: Any) -> Any:  # noqa: ANN401 - whatever the work gives
    """Wait for what comes of an item."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.WorkerCrashedError:
        return crashed(None)
    except ray.exceptions.OutOfMemoryError:
        return TOO_LARGE
    except ray.exceptions.RayError as error:
        reason = " ".join(str(error).split())
        raise QvpipeError(
            f"the Ray cluster failed ({reason}); what was finished is kept, so run it again"
        ) from error


def _attempt_there(
    work: Callable[[Item], Result],
    item: Item,
    timeout_s: float | None,
    folder: Path,
    dvc_root: str | None,
) -> Result | Lost:
    """Do the work on a machine of the cluster, in the folder in which it would be done here."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise QvpipeError(
            f"{socket.gethostname()} of the Ray cluster cannot enter {folder} ({error.strerror}); "
            "all its machines must see the repository under the same path"
        ) from None
    if dvc_root:
        os.environ["DVC_ROOT"] = dvc_root
    prepare()
    try:
        with _time_limit(timeout_s):
            return attempt(work, item)
    except _TooLongError:
        return too_long(timeout_s or 0)


class _TooLongError(BaseException):
    """The time for an item is over; no handler of ordinary exceptions stops it."""


@contextlib.contextmanager
def _time_limit(timeout_s: float | None) -> Iterator[None]:
    """Interrupt the block after `timeout_s` seconds, counted where and when the work is done.

    What does not let itself be interrupted ends with its process after twice the time.
    """
    if timeout_s is None:
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise _TooLongError

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    faulthandler.dump_traceback_later(2 * timeout_s, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def _connected(compute: ComputeSettings) -> Iterator[ModuleType]:
    """Give Ray, connected to the cluster."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise QvpipeError(
            "compute.engine: ray needs Ray; install it with "
            "`uv pip install -r requirements-ray.txt`, or set compute.engine: local"
        ) from None
    if compute.address:
        _check_address(compute.address)
        ray.init(compute.address, log_to_driver=False, logging_level=logging.ERROR)
    else:
        ray.init(
            "local",
            num_cpus=compute.workers or None,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Say at once that nothing answers, for which Ray itself takes minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError):
        raise QvpipeError(
            f"compute.address: no Ray cluster answers at {address!r}; `ray start --head` starts "
            "one and prints its address, such as 10.0.0.1:6379"
        ) from None
