import os
import subprocess
import sys
from pathlib import Path

import pytest

WRITE = """
import sys
from pathlib import Path
from qvpipe.errors import run
run(lambda: Path(sys.argv[1]).write_text("x" * 100_000) and 0)
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITE, "/dev/full"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: the disk is full; make room")
    assert len(done.stderr.splitlines()) == 1


def test_another_error_keeps_its_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert "IsADirectoryError" in done.stderr


@pytest.mark.parametrize("buffered", ["", "1"])
def test_output_that_nobody_reads_ends_a_command_without_a_word(buffered: str) -> None:
    command = "from qvpipe.errors import run; run(lambda: print('x'))"
    environment = {**os.environ, "PYTHONUNBUFFERED": buffered}
    started = subprocess.Popen(
        [sys.executable, "-c", f"import time; time.sleep(0.5); {command}"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True,
    )  # fmt: skip
    assert started.stdout is not None
    assert started.stderr is not None
    started.stdout.close()
    assert started.stderr.read() == ""
    assert started.wait() == 1
    started.stderr.close()
