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
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
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


def at_once(
    work: Callable[[Item, int], Result], items: Sequence[Item], compute: ComputeSettings
) -> Generator[tuple[Item, Result | Exception]]:
    """Do a few long pieces of work at once, and yield each with what came of it when it has ended.

    In a cluster with GPUs each has one for itself. In one without they share the cores: each gets
    `OMP_NUM_THREADS` of them where that is set, otherwise its even share. Work whose process or
    machine is lost is begun again.

    Args:
        work: A function that the machines of the cluster can import; it is given an item and the
            number of threads that it may use, and runs in a process of its own.
        items: What it is called with.
        compute: Says which cluster.

    Raises:
        QvpipeError: If Ray is not installed, or there is no such cluster.
    """
    with _connected(compute) as ray:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        share = share_of(nodes, len(items), compute.device, _threads())
        task = ray.remote(max_calls=1, max_retries=RETRIES, **share)(_do_there)
        passed = {k: v for k, v in os.environ.items() if k.startswith(("DVC_", "MLFLOW_"))}
        rest = _threads() or int(share["num_cpus"]), Path.cwd(), passed
        under_way = {task.remote(work, item, *rest): item for item in items}
        try:
            while under_way:
                (ended, *_), _ = ray.wait(list(under_way))
                yield under_way.pop(ended), _ended(ray, ended)
        finally:
            # Work that is interrupted closes its run in MLflow, if it is given the time.
            for reference in under_way:
                ray.cancel(reference)
            if under_way:
                ray.wait(list(under_way), num_returns=len(under_way), timeout=10)


def share_of(
    nodes: Sequence[Mapping[str, float]], pieces: int, device: str, threads: int
) -> dict[str, float]:
    """Return what each of some pieces of work asks of a cluster.

    Args:
        nodes: What each of its machines has, as Ray names it.
        pieces: How many there are.
        device: What the settings want them to run on.
        threads: How many threads each is told to use, 0 if it is not told.
    """
    if device != "cpu" and any(node.get("GPU") for node in nodes):
        return {"num_gpus": 1, "num_cpus": 1}
    cores = [int(node.get("CPU", 0)) for node in nodes]
    # What no machine has alone would be waited for without end.
    return {"num_cpus": max(1, min(threads or sum(cores) // pieces, max(cores)))}


def _threads() -> int:
    """Return how many threads PyTorch and NumPy are told to use, 0 if they are not told."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() else 0


def _ended(ray: ModuleType, reference: Any) -> Any:  # noqa: ANN401 - whatever the work gives
    """Return what came of a piece of work, be it an error."""
    try:
        outcome = _outcome(ray, reference)
    except Exception as error:
        return error
    return QvpipeError(outcome.reason) if isinstance(outcome, Lost) else outcome


def _do_there(
    work: Callable[[Item, int], Result],
    item: Item,
    threads: int,
    folder: Path,
    environment: Mapping[str, str],
) -> Result:
    """Do a piece of work on a machine of the cluster."""
    _enter(folder)
    os.environ.update(environment)
    return work(item, threads)


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
    _enter(folder)
    if dvc_root:
        os.environ["DVC_ROOT"] = dvc_root
    prepare()
    try:
        with _time_limit(timeout_s):
            return attempt(work, item)
    except _TooLongError:
        return too_long(timeout_s or 0)


def _enter(folder: Path) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise QvpipeError(
            f"{socket.gethostname()} of the Ray cluster cannot enter {folder} ({error.strerror}); "
            "all its machines must see the repository under the same path"
        ) from None


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
