"""Experiments that wait in DVC's queue, run side by side, and can be run again."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.end_to_end.conftest import TINY, Project, make_project, merged

QUICK = merged(TINY, {"members": ["superimage"], "folds": [0]})


@pytest.fixture(scope="module")
def quick(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Return a project with one member, one fold and the same videos, before its first run."""
    made = make_project(tmp_path_factory.mktemp("quick"), QUICK)
    raw = made.folder / "data/raw"
    raw.symlink_to(project.folder / "data/raw", target_is_directory=True)
    yield made
    made.run("dvc", "queue", "stop", "--kill")


@pytest.mark.timeout(900)
def test_the_queue_runs_two_at_once_from_an_empty_database(quick: Project) -> None:
    quick.run("dvc", "repro", "superimages")
    quick.git("add", ".")
    quick.git("commit", "--quiet", "--message", "super-images")
    quick.run("dvc", "exp", "run", "--queue", "-S", "loss=asl,cb_focal")
    # The workers keep what they print to, and a pipe would never come to its end.
    quick.run("bash", "-c", "dvc queue start -j 2 > .dvc/tmp/queue.txt 2>&1")
    deadline = time.monotonic() + 540
    while "Queued" in (status := quick.run("dvc", "queue", "status")) or "Running" in status:
        assert time.monotonic() < deadline, status
        time.sleep(2)
    assert status.count("Success") == 2, status

    client = MlflowClient(f"sqlite:///{quick.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("qvpipe")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    parents = {
        run.info.run_id: run.data.params["loss"]
        for run in runs
        if run.data.tags["kind"] == "ensemble"
    }
    assert sorted(parents.values()) == ["asl", "cb_focal"]
    children = [
        parents[run.data.tags["mlflow.parentRunId"]]
        for run in runs
        if run.data.tags["kind"] == "fold"
    ]
    assert sorted(children) == ["asl", "cb_focal"]
    assert len(client.search_model_versions("name = 'qvpipe'")) == 2
    shown = quick.run("dvc", "exp", "show", "--json")
    assert all(f'"loss": "{loss}"' in shown for loss in ("asl", "cb_focal"))
    assert json.loads(shown)


def test_the_same_twice_gives_the_same_lock_file_byte_for_byte(quick: Project) -> None:
    lock = quick.folder / "dvc.lock"
    quick.run("dvc", "repro")
    first = lock.read_bytes()
    assert b"register" in first
    quick.run("dvc", "repro", "--force")
    assert lock.read_bytes() == first


def test_what_was_trained_before_is_taken_from_the_cache(quick: Project) -> None:
    printed = quick.run("dvc", "exp", "run", "-S", "loss=asl")
    assert "'train@superimage-0' is cached - skipping run" in printed
    client = MlflowClient(f"sqlite:///{quick.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("qvpipe")
    assert experiment is not None
    (newest,) = client.search_runs(
        [experiment.experiment_id],
        "tags.kind = 'ensemble'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    assert newest.data.params["loss"] == "asl"
    below = f"tags.mlflow.parentRunId = '{newest.info.run_id}'"
    (fold,) = client.search_runs([experiment.experiment_id], below)
    assert fold.data.params["loss"] == "asl"


def test_a_dirty_tree_is_no_obstacle_and_is_recorded(quick: Project) -> None:
    readme = quick.folder / "README.md"
    readme.write_text(f"{readme.read_text(encoding='utf-8')}\nchanged\n", encoding="utf-8")
    quick.run("dvc", "exp", "run", "-S", "ensemble.normal_above=0.5")
    assert Path(readme).read_text(encoding="utf-8").endswith("changed\n")
    client = MlflowClient(f"sqlite:///{quick.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("qvpipe")
    assert experiment is not None
    newest = client.search_runs(
        [experiment.experiment_id],
        "tags.kind = 'ensemble'",
        order_by=["attributes.start_time DESC"],
    )[0]
    assert newest.data.params["ensemble.normal_above"] == "0.5"
    assert newest.data.tags["git_dirty"] == "true"


def test_a_dvc_that_was_killed_leaves_no_lock_that_matters(project: Project) -> None:
    program = Path(sys.executable).parent / "dvc"
    with subprocess.Popen(
        [program, "repro", "index"], cwd=project.folder, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert any("Running stage 'index'" in line for line in process.stdout)
        process.kill()
    assert "Data and pipelines" in project.run("dvc", "status", "clean")
