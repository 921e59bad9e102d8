"""A training that is killed goes on, and one shared by processes is that of a single one."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from qvpipe.learning import checkpoint
from tests.conftest import REPOSITORY
from tests.learning import tiny


def weights(path: Path) -> dict[str, Tensor]:
    loaded: dict[str, Tensor] = safetensors.torch.load_file(path)
    return loaded


def run(*arguments: object, launcher: tuple[str, ...] = ()) -> int:
    """Train in a process of its own, or in several."""
    command = [sys.executable, *launcher, "-m", "tests.learning.tiny", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, check=False).returncode


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Sums of floats depend on how many threads share them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def undisturbed(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    path = tmp_path_factory.mktemp("undisturbed") / "weights"
    tiny.main(path)
    return weights(path)


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", [2, 8])
def test_a_training_that_was_killed_ends_with_the_very_weights(
    killed_at: int, tmp_path: Path, undisturbed: dict[str, Tensor]
) -> None:
    """An epoch has three steps, so the kills are in the first epoch and in the third."""
    result, resume = tmp_path / "weights", tmp_path / "resume.pt"
    assert run(result, resume, killed_at) == -signal.SIGKILL
    assert not result.exists()
    assert resume.exists() == (killed_at > 3)
    tiny.main(result, resume)
    ended = weights(result)
    assert all(torch.equal(ended[name], value) for name, value in undisturbed.items())


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path, undisturbed: dict[str, Tensor]) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    assert run(tmp_path / "weights", launcher=launcher) == 0
    shared = weights(tmp_path / "weights")
    for name, value in undisturbed.items():
        torch.testing.assert_close(shared[name], value, rtol=1e-3, atol=1e-4)


def test_a_file_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    path = tmp_path / "resume.pt"
    assert checkpoint.load(path) is None
    path.write_bytes(b"half a file")
    assert checkpoint.load(path) is None
    checkpoint.save(path, {"weights": torch.ones(1000)})
    path.write_bytes(path.read_bytes()[:1000])
    assert checkpoint.load(path) is None
    (tmp_path / "resume.12345").write_bytes(b"what a killed process left")
    (tmp_path / "resume.part").mkdir()
    checkpoint.save(path, {"epoch": 3, "weights": torch.ones(2)})
    loaded = checkpoint.load(path)
    assert loaded is not None
    assert loaded["epoch"] == 3
    assert {entry.name for entry in tmp_path.iterdir()} == {"resume.pt", "resume.part"}


def test_another_setting_or_file_is_another_training(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("one")
    first = checkpoint.key({"lr": 1}, [path])
    assert checkpoint.key({"lr": 1}, [path]) == first
    assert checkpoint.key({"lr": 2}, [path]) != first
    path.write_text("two")
    assert checkpoint.key({"lr": 1}, [path]) != first
