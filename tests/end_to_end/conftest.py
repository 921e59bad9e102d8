"""A whole project in a folder of its own, with tiny settings, run once for all tests here."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY

TINY: Mapping[str, Any] = {
    "members": ["framewise", "superimage"],
    "folds": [0, 1],
    "splits": {"folds": 2},
    "frames": {"count": 12, "size": 64},
    "superimages": {"tile": 24},
    "train": {"epochs": 1},
    "models": {
        "framewise": {"size": 48, "frames": 2, "train": {"epochs": 1}},
        "superimage": {"size": 72},
    },
}


@dataclass(frozen=True)
class Project:
    """A checkout with settings of its own."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that the person who runs commands here has set."""

    def run(self, *command: str, code: int = 0) -> str:
        """Run a command in the project as a person would, and return all that it printed."""
        scripts = Path(sys.executable).parent
        hidden = {"MLFLOW_TRACKING_URI", "DVC_ROOT", "PYTHONPATH"}
        environment = {key: value for key, value in os.environ.items() if key not in hidden}
        environment["PATH"] = f"{scripts}{os.pathsep}{environment['PATH']}"
        environment |= {"COLUMNS": "200", **self.environment}
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == code, (
            f"{' '.join(command)} gave {done.returncode}:\n{done.stdout}"
        )
        return done.stdout

    def git(self, *arguments: str, code: int = 0) -> str:
        """Run git."""
        who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        return self.run("git", *who, *arguments, code=code)

    def set(self, changes: Mapping[str, Any]) -> None:
        """Change settings."""
        path = self.folder / "params.yaml"
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump(merged(tree, changes), sort_keys=False), encoding="utf-8")


def merged(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tree of settings with changes to some leaves."""
    result = dict(tree)
    for key, value in changes.items():
        inner = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if inner else value
    return result


def make_project(folder: Path, changes: Mapping[str, Any]) -> Project:
    """Copy what is versioned of this repository to a folder and make it a repository."""
    names: Sequence[str] = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in names:
        if (REPOSITORY / name).is_file() and name != "dvc.lock" and not name.startswith("metrics/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    project = Project(folder)
    project.set(changes)
    project.git("init", "--quiet")
    project.git("add", ".")
    project.git("commit", "--quiet", "--message", "start")
    return project


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project that has gone through the whole pipeline once, and is committed."""
    made = make_project(tmp_path_factory.mktemp("project"), TINY)
    made.run("qvpipe", "demo-data", "--videos", "20", "--seed", "1")
    made.run("dvc", "repro")
    made.git("add", ".")
    made.git("commit", "--quiet", "--message", "first results")
    return made
