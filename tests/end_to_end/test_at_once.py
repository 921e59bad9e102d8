"""Trainings at once on Ray give what DVC gets from one after another."""

import contextlib
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from qvpipe.ahead import due
from qvpipe.files import write_json
from qvpipe.video.images import encode_jpeg
from tests.conftest import REPOSITORY
from tests.end_to_end.conftest import Project

pytest.importorskip("ray")

VIDEOS = [f"v{number:02}" for number in range(12)]
PARAMS = {
    "members": ["m"],
    "folds": [0, 1],
    "splits": {"folds": 2},
    "data": {"videos": "raw", "labels": "raw.json", "normal": None},
    "losses": {"bce": {"label_smoothing": 0.0}},
    "loss": "bce",
    "task": "multilabel",
    "seed": 0,
    "superimages": {"grid": 2, "tile": 16},
    "train": {"epochs": 8, "patience": 8, "batch_size": 4},
    "models": {
        "m": {"input": "superimage", "size": 32, "backbone": "test_resnet", "pretrained": "none"}
    },
}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project that has the stage train alone, and all that this stage needs."""
    project = Project(tmp_path_factory.mktemp("start"), {"OMP_NUM_THREADS": "1"})
    data = project.folder / "data"
    (data / "superimages").mkdir(parents=True)
    (data / "frames").mkdir()
    (data / "frames" / "none").touch()
    random = np.random.default_rng(0)
    for video in VIDEOS:
        picture = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        (data / "superimages" / f"{video}.jpg").write_bytes(encode_jpeg(picture, 92))
    rows = [f"{v},,{k % 2},ok" for k, v in enumerate(VIDEOS)]
    table(data / "index.csv", "video,part,labels,status", rows)
    table(data / "splits.csv", "video,group,fold", [f"{v},{v},{v > 'v05':d}" for v in VIDEOS])
    table(data / "classes.txt", "normal", ["crack"])
    table(data / "clean.csv", "video,frame", [])
    shutil.copytree(REPOSITORY / "src", project.folder / "src")
    pipeline = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))
    write_json(project.folder / "dvc.yaml", {"stages": {"train": pipeline["stages"]["train"]}})
    write_json(project.folder / "params.yaml", PARAMS)
    project.git("init", "--quiet")
    project.run("dvc", "init", "--quiet")
    project.git("add", "dvc.yaml", "params.yaml")
    project.git("commit", "--quiet", "--message", "start")
    return project


def table(path: Path, header: str, rows: Sequence[str]) -> None:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def copy(project: Project, folder: Path) -> Project:
    shutil.copytree(project.folder, folder)
    return Project(folder, project.environment)


def made(project: Project) -> dict[str, bytes]:
    folders = ("models", "metrics", "data/predictions")
    files = [path for name in folders for path in (project.folder / name).rglob("*")]
    files.append(project.folder / "dvc.lock")
    return {
        str(path.relative_to(project.folder)): path.read_bytes() for path in files if path.is_file()
    }


def finished(project: Project) -> list[Run]:
    client = MlflowClient(f"sqlite:///{project.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("qvpipe")
    assert experiment is not None
    return sorted(
        client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'"),
        key=lambda run: str(run.info.run_name),
    )


def told(run: Run) -> tuple[object, ...]:
    """Return what a run says but for the commit, when and how fast."""
    own = ("items_per_s", "seconds", "git_commit", "mlflow.source.git.commit")
    metrics, tags = (
        {name: value for name, value in values.items() if name not in own}
        for values in (run.data.metrics, run.data.tags)
    )
    return run.info.run_name, run.data.params, metrics, tags


def kill_once_saved(project: Project, fold: int, killed: list[int], over: threading.Event) -> None:
    """Kill the process that trains a fold ahead once it has saved an epoch."""
    folder = project.folder / ".dvc/tmp/qvpipe"
    while not killed and not over.wait(0.005):
        if any(folder.glob(f"m-fold{fold}-*.pt")):
            killed += [pid for pid, place in places() if place.match(f"m-fold{fold}-*.part")][:1]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)


def places() -> Iterator[tuple[int, Path]]:
    """Give the processes of this machine, each with the folder that it works in."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield int(process.name), (process / "cwd").readlink()


@pytest.fixture(scope="module")
def both(start: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Project]:
    """Train one after another, and at once on Ray with one of the processes killed."""
    folder = tmp_path_factory.mktemp("both")
    one_by_one, at_once = copy(start, folder / "one"), copy(start, folder / "two")
    one_by_one.run("dvc", "repro")
    at_once.set({"compute": {"engine": "ray", "workers": 2}})
    at_once.git("commit", "--quiet", "--all", "--message", "on Ray")
    killed: list[int] = []
    over = threading.Event()
    killer = threading.Thread(target=kill_once_saved, args=(at_once, 1, killed, over))
    killer.start()
    try:
        printed = at_once.run("dvc", "repro")
    finally:
        over.set()
        killer.join()
    assert killed
    assert printed.count("trained on Ray") == 2
    return one_by_one, at_once


def test_ray_gives_what_one_after_another_gives(both: tuple[Project, Project]) -> None:
    one_by_one, at_once = both
    assert made(at_once) == made(one_by_one)
    assert not any((at_once.folder / ".dvc/tmp/qvpipe").iterdir())


def test_the_runs_say_the_same(both: tuple[Project, Project]) -> None:
    one_by_one, at_once = both
    expected = [told(run) for run in finished(one_by_one)]
    assert len(expected) == 2
    assert [told(run) for run in finished(at_once)] == expected


def test_only_what_dvc_would_train_is_due(
    both: tuple[Project, Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = both[1]
    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("DVC_STAGE", "train@m-0")
    assert due("train") == set()
    project.set({"train": {"epochs": 7}})
    assert due("train") == {"m-1"}
