import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qvpipe.compute.pool import each
from qvpipe.config import ComputeSettings
from qvpipe.errors import QvpipeError
from tests.compute.hostile_work import crash_at_threes, end_of_file, fail, misbehave, process, same
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow

HANG = "took longer than frames.timeout_s (2 s)"


def compute(workers: int) -> ComputeSettings:
    return ComputeSettings(workers=workers)


def reason(how: str, why: str) -> str:
    return f"{how} {why}"


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def eventually(what: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    numbers = [number for number, _ in each(process, range(8), compute(workers), "test")]
    assert numbers == list(range(8))


def test_work_is_shared_by_as_many_processes_as_asked_for() -> None:
    assert {pid for _, pid in each(process, range(4), compute(1), "test")} == {os.getpid()}
    pids = {pid for _, pid in each(process, range(8), compute(2), "test")}
    assert len(pids) == 2
    assert os.getpid() not in pids


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_arrive(workers: int) -> None:
    with pytest.raises(QvpipeError, match="two is not allowed"):
        list(each(fail, range(5), compute(workers), "test"))


def test_an_error_says_where_in_the_process_it_arose() -> None:
    with pytest.raises(EOFError, match="0") as caught:
        list(each(end_of_file, range(2), compute(2), "test"))
    assert "in end_of_file" in "".join(caught.value.__notes__)


def test_nothing_to_do_shows_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(each(fail, [], compute(0), "test")) == []
    assert capsys.readouterr().err == ""


def test_a_single_process_survives_too() -> None:
    hows = ["fine", "segfault", "hang", "fine"]
    results = each(misbehave, hows, compute(1), "test", timeout_s=2, lost=reason)
    assert [result.split()[0] for result in results] == ["done", "segfault", "hang", "done"]


def test_what_crashes_hangs_or_takes_too_much_costs_itself_alone() -> None:
    hows = [
        *["fine", "segfault", "fine", "killed", "exit", "fine", "hang", "fine", "compute", "fine"],
        *["large", "large picture", "fine"],
    ]
    results = list(each(misbehave, hows, compute(2), "test", timeout_s=2, lost=reason))
    crash = "crashed the process that worked on it"
    large = "needs more memory than a process may take (896 MiB)"
    assert dict(zip(hows, results, strict=True)) == {
        "fine": "done",
        "segfault": f"segfault {crash} (signal 11)",
        "killed": "killed had its process killed (signal 9), most often for want of memory",
        "exit": f"exit {crash} (exit code 7)",
        "hang": f"hang {HANG}",
        "compute": f"compute {HANG}",
        "large": f"large {large}",
        "large picture": f"large picture {large}",
    }
    assert results.count("done") == 6


def minus(number: int, why: str) -> int:
    return -number


def test_processes_that_crash_at_once_take_nothing_with_them() -> None:
    """A pool whose processes share a queue loses innocent items here."""
    results = each(crash_at_threes, range(9), compute(2), "test", lost=minus)
    assert list(results) == [n if n % 3 else -n for n in range(9)]


def test_without_a_result_for_it_a_lost_item_is_an_error_that_names_it() -> None:
    with pytest.raises(QvpipeError, match=r"^test: segfault crashed the process .*\(signal 11\)$"):
        list(each(misbehave, ["fine", "segfault"], compute(2), "test"))


class Counting:
    """Items that count how many of them were asked for."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.taken = 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        for number in range(self.length):
            self.taken += 1
            yield number


def test_the_work_stays_close_to_who_takes_the_results() -> None:
    items: Any = Counting(100)
    results = each(same, items, compute(2), "test", ahead=3)
    assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
    time.sleep(0.5)
    assert items.taken <= 4 + 2 * 3 + 4
    results.close()  # type: ignore[attr-defined]


PARENT = """
import os, signal, sys
from qvpipe.config import ComputeSettings
from qvpipe.compute.pool import each
from tests.compute.hostile_work import stay
# A shell lets what it runs in the background ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
print(os.getpid(), flush=True)
list(each(stay, [sys.argv[1]] * 2, ComputeSettings(workers=2), "test"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_its_parent(how: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(f"if __name__ == '__main__':\n{indent(PARENT)}")
    (tmp_path / "pids").mkdir()
    parent = subprocess.Popen(
        [sys.executable, script, tmp_path / "pids"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert eventually(lambda: len(list((tmp_path / "pids").iterdir())) == 2)
    pids = [int(path.name) for path in (tmp_path / "pids").iterdir()]
    assert all(alive(pid) for pid in pids)
    parent.send_signal(how)
    parent.wait(timeout=20)
    assert eventually(lambda: not any(alive(pid) for pid in pids))


def indent(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.strip().splitlines())
