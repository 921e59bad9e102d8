"""The worked examples of CONTRIBUTING.md, each applied to a copy of the repository and run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from qvpipe import files
from tests.conftest import REPOSITORY, RenderClip

EXAMPLES = dict(
    re.findall(
        r"^## (.+?)\n.*?```diff\n(.*?)```",
        (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8"),
        flags=re.DOTALL | re.MULTILINE,
    )
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The code and the settings of the repository, in a folder of their own."""
    shutil.copytree(REPOSITORY / "src", tmp_path / "src")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    return tmp_path


def apply(example: str, folder: Path) -> None:
    """Make the changes that an example shows; what it leaves must stand once in the file."""
    for part in re.split(r"^--- ", EXAMPLES[example], flags=re.MULTILINE)[1:]:
        name, _, changes = part.partition("\n")
        path = folder / name
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for change in re.split(r"^@@\n", changes, flags=re.MULTILINE):
            lines = change.splitlines()
            old = "\n".join(line[1:] for line in lines if not line.startswith("+"))
            new = "\n".join(line[1:] for line in lines if not line.startswith("-"))
            assert not old or text.count(old) == 1, f"{name} does not hold once:\n{old}"
            text = text.replace(old, new) if old else new
        path.write_text(text, encoding="utf-8")


def run(folder: Path, *command: str) -> str:
    """Run Python in a copy, with the copy's code."""
    environment = {key: value for key, value in os.environ.items() if key != "DVC_ROOT"}
    program = Path(sys.executable)
    environment["PATH"] = f"{program.parent}{os.pathsep}{environment['PATH']}"
    environment["PYTHONPATH"] = str(folder / "src")
    done = subprocess.run(
        [program, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_every_example_is_tried_here() -> None:
    assert list(EXAMPLES) == ["A loss", "A backbone", "A stage", "A data set"]


@pytest.mark.slow
def test_a_loss(copy: Path) -> None:
    apply("A loss", copy)
    params = copy / "params.yaml"
    text = params.read_text(encoding="utf-8")
    params.write_text(text.replace("\nloss: bce\n", "\nloss: focal\n"), encoding="utf-8")
    # With logits of 0, half is missed, and the entropy is ln 2.
    code = """
import math, torch
from qvpipe import files
from qvpipe.learning.losses import make_loss
loss = make_loss(files.read_settings(), torch.ones(2))
value = loss(torch.zeros(3, 2), torch.tensor([[0.0, 1.0]] * 3))
assert math.isclose(value, math.log(2) / 4, rel_tol=1e-6), value
"""
    run(copy, "-c", code)


@pytest.mark.slow
def test_a_backbone(copy: Path) -> None:
    apply("A backbone", copy)
    code = """
import torch
from qvpipe import files
from qvpipe.learning.network import Network
settings = files.read_settings()
assert settings.members[-1] == "residual"
network = Network(settings.models["residual"], 17, pretrained="none")
assert network(torch.zeros(2, 1, 3, 96, 96, dtype=torch.uint8)).shape == (2, 17)
"""
    run(copy, "-c", code)


@pytest.mark.slow
def test_a_stage(copy: Path) -> None:
    apply("A stage", copy)
    index = pd.DataFrame({"group": ["a", "b", "a"], "duration_s": [1.0, 5.0, 2.5]})
    files.write_table(copy / files.INDEX, index)
    run(copy, "-m", "dvc", "init", "--no-scm", "--quiet")
    run(copy, "-m", "dvc", "repro", "--single-item", "lengths")
    assert (copy / "data/lengths.csv").read_text() == "group,duration_s\nb,5.0\na,3.5\n"
    assert "didn't change" in run(copy, "-m", "dvc", "repro", "--single-item", "lengths")


@pytest.mark.slow
def test_a_data_set(copy: Path, render_clip: RenderClip) -> None:
    apply("A data set", copy)
    raw = copy / "data/raw"
    (raw / "culverts").mkdir(parents=True)
    for name in ("one.mp4", "two.avi"):
        render_clip(raw / "culverts" / name, codec="mpeg4", frames=5)
    (raw / "culverts.json").write_text(json.dumps({"one.mp4": [1], "two.avi": [0, 1]}))
    (raw / "culverts.txt").write_text("root\nsilt\n", encoding="utf-8")
    assert "index: 2 videos in, 2 out" in run(copy, "-m", "qvpipe.stages.index")
    assert (copy / files.CLASSES).read_text(encoding="utf-8") == "root\nsilt\n"
    assert files.read_table(copy / files.INDEX)["labels"].to_list() == ["1", "0 1"]
