import shutil
import threading
from pathlib import Path

import pytest
from dvc.repo import Repo

from qvpipe import files
from qvpipe.doctor import health
from qvpipe.doctor.health import Finding
from qvpipe.errors import QvpipeError
from tests.conftest import REPOSITORY


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with nothing but settings."""
    monkeypatch.chdir(tmp_path)
    for variable in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    return tmp_path


def test_what_fails_or_hangs_is_a_finding() -> None:
    def mendable() -> Finding:
        raise QvpipeError("plug it in")

    def broken() -> Finding:
        raise ImportError("libGL.so.1\nis not there")

    def hanging() -> Finding:
        threading.Event().wait()
        return Finding("never")

    checks = {
        "good": lambda: Finding("here"), "mendable": mendable, "broken": broken, "hanging": hanging
    }  # fmt: skip
    found = health.examine(checks, patience_s=0.5)
    assert list(found) == list(checks)
    assert found["good"] == Finding("here")
    assert found["mendable"].mend == "plug it in"
    assert found["broken"].text == "does not work: ImportError: libGL.so.1 is not there"
    assert found["hanging"].mend


def test_a_line_fits_the_screen_and_its_mending_stands_below() -> None:
    shown = health.line("raw data", Finding("many words " * 20, "do this " * 20)).splitlines()
    assert all(len(row) < 80 for row in shown)
    assert shown[0].startswith("!!  raw data  many words")
    assert any(row.startswith("              -> do this") for row in shown)
    assert health.line("disk", Finding("5 GB free")) == "ok  disk      5 GB free"


def test_a_typo_in_the_settings_is_told_once(folder: Path) -> None:
    text = (folder / "params.yaml").read_text(encoding="utf-8")
    (folder / "params.yaml").write_text(text.replace("\nloss:", "\nlss:"), encoding="utf-8")
    checks = {name: health.CHECKS[name] for name in ("settings", "raw data", "models")}
    told, *others = (finding.mend for finding in health.examine(checks).values())
    assert "lss: unknown key" in told
    assert "did you mean 'loss'?" in told
    assert others == ["mend the settings first"] * 2


@pytest.mark.slow
def test_every_check_of_a_bare_folder_ends_in_a_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "params.yaml").write_text("seed: [", encoding="utf-8")
    assert health.report() == 1
    printed = capsys.readouterr().out
    for name in health.CHECKS:
        assert f"  {name:10}" in printed
    assert "params.yaml is no valid YAML" in printed
    assert "`git init`" in printed
    assert "`dvc init`" in printed
    assert "Traceback" not in printed


def test_torch_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "ASK_TORCH", "raise ImportError('libcudart.so')")
    assert health.torch().text == "torch cannot be imported: ImportError: libcudart.so"
    monkeypatch.setattr(health, "ASK_TORCH", "import os; os.abort()")
    assert health.torch().mend


def test_a_codec_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not health.decoders().mend
    monkeypatch.setattr(health, "CODECS", {"H.264": "h264", "Cinepak 9": "cinepak9"})
    assert "no Cinepak 9" in health.decoders().text
    assert health.decoders().mend


def test_the_raw_folder_may_be_absent_where_there_is_an_index(folder: Path) -> None:
    assert "`dvc pull`" in health.raw().mend
    files.write_json(files.INDEX, {})
    assert not health.raw().mend
    videos = folder / "data/raw/track1_raw_video"
    videos.mkdir(parents=True)
    (videos / "d1.mp4").touch()
    assert health.raw().text.endswith("no label file data/raw/qv_pipe_train.json")
    (folder / "data/raw/qv_pipe_train.json").touch()
    assert health.raw().text.startswith("1 videos in data/raw/track1_raw_video")
    assert not health.raw().mend


def test_a_remote_that_is_away_is_named(folder: Path) -> None:
    with Repo.init(no_scm=True) as repo, repo.config.edit() as config:
        config["remote"]["nas"] = {"url": str(folder / "nas")}
    assert "nothing at the remote nas" in health.dvc().text
    (folder / "nas").mkdir()
    assert health.dvc().text.endswith("remote nas")


@pytest.mark.slow
def test_a_server_that_is_down_is_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not health.mlflow().mend
    assert "`dvc repro` registers one" in health.models().mend
    assert not (folder / "mlflow.db").exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(QvpipeError, match=r"^http://127\.0\.0\.1:9 does not answer"):
        health.mlflow()
