import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY


def test_the_committed_results_are_those_of_the_code_and_the_settings() -> None:
    """Where it fails, `dvc repro` and commit dvc.lock with metrics/."""
    program = Path(sys.executable).parent / "dvc"
    environment = {key: value for key, value in os.environ.items() if key != "DVC_ROOT"}
    done = subprocess.run(
        [program, "status", "--json"],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    changed = [
        (stage, path, state)
        for stage, changes in json.loads(done.stdout).items()
        for change in changes
        if isinstance(change, dict)
        for path, state in change.get("changed deps", {}).items()
        if path.startswith(("src/", "params.yaml"))
    ]
    assert changed == []
