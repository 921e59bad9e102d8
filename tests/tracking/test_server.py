import os
import shutil
import subprocess
import sys

import pytest

from qvpipe import tracking
from qvpipe.config import Settings
from qvpipe.errors import QvpipeError
from tests.conftest import REPOSITORY
from tests.tracking.results import all_runs

pytestmark = pytest.mark.slow

START = """
import sys
sys.stdin.readline()
from qvpipe import files, tracking
settings = files.read_settings()
with tracking.fold_run(settings, "framewise", 0, "cpu"):
    pass
"""


def test_experiments_that_start_at_once_make_one_database(settings: Settings) -> None:
    shutil.copy(REPOSITORY / "params.yaml", "params.yaml")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=dict(os.environ),
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        printed, _ = process.communicate(timeout=300)
        assert process.returncode == 0, printed
    assert [run.info.status for run in all_runs().values()] == ["FINISHED"] * 3


def test_a_server_that_is_not_there_is_one_sentence(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with (
        pytest.raises(QvpipeError, match="start its server") as error,
        tracking.fold_run(settings, "framewise", 0),
    ):
        pytest.fail("nothing may be trained without a run")
    assert "\n" not in str(error.value)
