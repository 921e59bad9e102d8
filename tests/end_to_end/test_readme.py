"""Every command of the README is one that runs."""

import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.end_to_end.conftest import Project
from tests.servers import free_port

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")

ELSEWHERE = {
    "git clone": "the checkout that the tests run in",
    "cd ": "the checkout that the tests run in",
    "source .venv/bin/activate": "`Project.run` does the same",
    "make test": "what runs this",
    "make check": "a part of `make test`",
    "make hooks": "test_hooks",
    "dvc pull": "test_sharing",
    "cp configs/": "test_configs",
    "dvc exp run -S loss=asl": "test_pipeline",
    "dvc exp run -S members=[superimage] --temp": "test_pipeline",
    "dvc exp run -S 'loss=bce,asl,cb_focal' --queue": "test_experiments",
    "dvc queue start": "test_experiments",
    "qvpipe compare asl": "test_sharing_models",
    "qvpipe promote": "test_sharing_models",
    "qvpipe export": "test_sharing_models",
}
"""How commands begin that are tried elsewhere, and where."""


def commands() -> list[str]:
    """Return the commands in the README's shell blocks, without their comments."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    lines = [line.split("   #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.fixture
def server(project: Project) -> Iterator[str]:
    """Start the MLflow UI as the README says and give its address."""
    command = next(line for line in commands() if line.startswith("mlflow ui"))
    program = Path(sys.executable).parent / "mlflow"
    port = free_port()
    arguments = [*command.split()[1:], "--port", str(port), "--workers", "1"]
    process = subprocess.Popen([program, *arguments], cwd=project.folder)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_the_mlflow_ui_starts(server: str) -> None:
    deadline = time.monotonic() + 240
    while True:
        try:
            with urllib.request.urlopen(server, timeout=5) as answer:
                assert b"MLflow" in answer.read()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            assert time.monotonic() < deadline, "the MLflow UI did not answer"
            time.sleep(1)


def test_make_demo_is_what_the_tests_ran(project: Project) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^demo:.*\n((?:\t.+\n)+)", makefile, flags=re.MULTILINE)
    assert recipe is not None
    assert recipe[1].split("\n\t") == ["\tqvpipe demo-data", "dvc repro", "qvpipe results --next\n"]
    printed = project.run("qvpipe", "results", "--next")
    assert re.search(r"^ensemble +0\.\d{3}", printed, flags=re.MULTILINE)
    assert "dvc exp run -S loss=asl" in printed


@pytest.mark.parametrize("command", commands())
def test_every_other_command_runs(command: str, project: Project) -> None:
    if command in ("make demo", "make test") or command.startswith("mlflow ui"):
        pytest.skip("has a test of its own")
    if place := next(
        (where for start, where in ELSEWHERE.items() if command.startswith(start)), ""
    ):
        pytest.skip(f"tried elsewhere: {place}")
    project.run("bash", "-c", command)


def test_pictures_of_the_readme_are_there() -> None:
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert pictures
    assert all((REPOSITORY / picture).is_file() for picture in pictures)
