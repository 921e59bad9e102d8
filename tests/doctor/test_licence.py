"""Planted violations, in each place from where something could leave."""

import gzip
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo
from mlflow import MlflowClient

from qvpipe import files
from qvpipe.doctor import licence
from tests.conftest import REPOSITORY, S3, RenderClip

pytestmark = pytest.mark.slow

LABELS = json.dumps({"d7.mp4": [1, 14], "d8.mp4": [0]})
RAW = Path("data/raw/track1_raw_video")
NOBODY_KNOWS = b"a format that nobody knows"


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, render_clip: RenderClip) -> Path:
    """A repository of git and DVC, with raw videos and labels that both leave alone."""
    monkeypatch.chdir(tmp_path)
    for variable in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    RAW.mkdir(parents=True)
    render_clip(RAW / "d7.mp4", frames=5)
    (RAW / "d8.mp4").write_bytes(NOBODY_KNOWS)
    Path("data/raw/qv_pipe_train.json").write_text(LABELS, encoding="utf-8")
    for name in ("params.yaml", ".gitignore"):
        shutil.copy(REPOSITORY / name, name)
    git("init", "--quiet")
    Repo.init().close()
    commit("start")
    return tmp_path


def git(*arguments: str) -> None:
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    subprocess.run(["git", *who, *arguments], check=True)


def commit(message: str) -> None:
    git("add", ".")
    git("commit", "--quiet", "--message", message)


def track(content: bytes) -> None:
    """Let DVC version a file in a folder."""
    Path("clips").mkdir()
    Path("clips/a.bin").write_bytes(content)
    with Repo() as repo:
        repo.add("clips")


def push(url: str, **options: str) -> None:
    """Push what DVC versions to a new remote named `store`."""
    with Repo() as repo, repo.config.edit() as config:
        config["remote"]["store"] = {"url": url, **options}
    with Repo() as repo:
        repo.push(remote="store")


def look(capsys: pytest.CaptureFixture[str], *places: str) -> tuple[int, str]:
    """Return the exit code and what is printed."""
    capsys.readouterr()
    code = licence.report(files.read_settings(), places or licence.PLACES)
    return code, capsys.readouterr().out


def test_a_clean_house_is_clean(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    track(b"a stored frame")
    (house / "remote").mkdir()
    push(str(house / "remote"))
    client = MlflowClient(f"sqlite:///{house / 'mlflow.db'}")
    experiment = client.create_experiment("qvpipe", (house / "mlruns").as_uri())
    client.log_text(client.create_run(experiment).info.run_id, "good", "note.txt")
    code, printed = look(capsys)
    assert code == 0
    assert printed.splitlines()[-1] == "MLflow's artifacts: 1 files, 0 that may not be there"
    assert len(printed.splitlines()) == 4
    assert all(", 0 that" in line and ": 0 files" not in line for line in printed.splitlines())


def test_git_is_searched_through_to_what_was_removed(
    house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(RAW / "d7.mp4", "notes.txt")
    commit("a video under another name")
    (house / "notes.txt").unlink()
    commit("gone, but not from history")
    git("checkout", "--quiet", "-b", "other")
    Path("deep").mkdir()
    Path("deep/x.gz").write_bytes(gzip.compress(LABELS.encode()))
    commit("labels, packed up")
    git("checkout", "--quiet", "-")
    Path("staged").write_bytes(NOBODY_KNOWS)
    git("add", "staged")
    code, printed = look(capsys, "git")
    assert code == 1
    assert "3 that may not be there" in printed
    assert "notes.txt (commit " in printed
    assert "): the raw file d7.mp4\n" in printed
    assert "deep/x.gz (commit " in printed
    assert "): an archive with the raw file qv_pipe_train.json" in printed
    assert "staged (staged): the raw file d8.mp4" in printed
    assert "[1, 14]" not in printed


def test_experiments_are_part_of_history(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(RAW / "d7.mp4", "clip.mp4")
    commit("as an experiment would")
    git("update-ref", "refs/exps/ab/cdef/bad-exp", "HEAD")
    git("reset", "--quiet", "--hard", "HEAD~1")
    code, printed = look(capsys, "git")
    assert code == 1
    assert "clip.mp4 (commit " in printed


def test_the_cache_names_the_output(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    track((RAW / "d7.mp4").read_bytes())
    shutil.rmtree(RAW)  # also known without the raw folder
    code, printed = look(capsys, "dvc")
    assert code == 1
    assert "which is clips/a.bin: an MP4 or QuickTime video" in printed


@pytest.mark.parametrize(
    ("output", "what"),
    [
        ("data/raw", "the raw folder"),
        ("data/raw/track1_raw_video/d7.mp4", "the raw folder"),
        ("data/raw/qv_pipe_train.json", "the label file"),
    ],
)
def test_an_output_that_would_hold_raw_data_is_named(
    output: str, what: str, house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = f"stages:\n  bad:\n    cmd: 'true'\n    outs: [{output}]\n"
    (house / "dvc.yaml").write_text(stage, encoding="utf-8")
    code, printed = look(capsys, "dvc")
    assert code == 1
    assert f"the output {output} of bad: {what}" in printed


def test_a_remote_in_a_folder_is_searched(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    track(LABELS.encode())
    (house / "remote").mkdir()
    push(str(house / "remote"))
    code, printed = look(capsys, "remotes")
    assert code == 1
    assert "store: files/md5/" in printed
    assert "which is clips/a.bin: the raw file qv_pipe_train.json" in printed
    shutil.rmtree(house / "remote")
    code, printed = look(capsys, "remotes")
    assert code == 1
    assert f"not looked into: the remote store: there is no folder {house / 'remote'}" in printed


def test_a_remote_on_s3_is_searched_for_what_the_cache_no_longer_has(
    house: Path, s3: S3, capsys: pytest.CaptureFixture[str]
) -> None:
    track((RAW / "d7.mp4").read_bytes())
    push(f"s3://{s3.bucket('team')}/dvc", endpointurl=s3.endpoint)
    shutil.rmtree(".dvc/cache")
    code, printed = look(capsys, "remotes")
    assert code == 1
    assert "2 files, 1 that" in printed
    assert "the raw file d7.mp4" in printed


def test_artifacts_are_searched(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client = MlflowClient(f"sqlite:///{house / 'mlflow.db'}")
    experiment = client.create_experiment("qvpipe", (house / "mlruns").as_uri())
    run = client.create_run(experiment).info.run_id
    client.log_artifact(run, str(RAW / "d7.mp4"), "examples/best")
    client.log_text(run, "good", "note.txt")
    client.delete_run(run)
    code, printed = look(capsys, "mlflow")
    assert code == 1
    assert "2 files, 1 that" in printed
    assert f"{run}/artifacts/examples/best/d7.mp4: the raw file d7.mp4" in printed


def test_artifacts_on_s3_are_searched(
    house: Path,
    s3: S3,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", s3.endpoint)
    client = MlflowClient(f"sqlite:///{house / 'mlflow.db'}")
    run = client.create_run(
        client.create_experiment("qvpipe", f"s3://{s3.bucket('team')}/mlflow")
    ).info.run_id
    client.log_text(run, LABELS, "labels.txt")
    code, printed = look(capsys, "mlflow")
    assert code == 1
    assert (
        f"s3://team/mlflow/{run}/artifacts/labels.txt: the raw file qv_pipe_train.json" in printed
    )


def test_without_a_database_none_is_made(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert look(capsys, "mlflow")[0] == 0
    assert not (house / "mlflow.db").exists()
