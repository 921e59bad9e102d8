import os
import time

import pytest

from qvpipe.errors import QvpipeError
from qvpipe.video.pool import each


def process(number: int) -> tuple[int, int]:
    time.sleep(0.02 * (3 - number % 4))
    return number, os.getpid()


def fail(number: int) -> int:
    if number == 2:
        raise QvpipeError("two is not allowed")
    return number


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    assert [number for number, _ in each(process, range(8), workers, "test")] == list(range(8))


def test_work_is_shared_by_as_many_processes_as_asked_for() -> None:
    assert {pid for _, pid in each(process, range(4), 1, "test")} == {os.getpid()}
    pids = {pid for _, pid in each(process, range(8), 2, "test")}
    assert len(pids) == 2
    assert os.getpid() not in pids


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_arrive(workers: int) -> None:
    with pytest.raises(QvpipeError, match="two is not allowed"):
        list(each(fail, range(5), workers, "test"))


def test_nothing_to_do_shows_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(each(fail, [], 0, "test")) == []
    assert capsys.readouterr().err == ""
