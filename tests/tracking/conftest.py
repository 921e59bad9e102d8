"""A working directory that holds the results of one member and one fold."""

from pathlib import Path

import pytest

from qvpipe import files
from qvpipe.config import Settings, parse
from tests.conftest import REPOSITORY
from tests.tracking.results import RESULT, write_weights


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of one member and one fold, whose results lie in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    text = (REPOSITORY / "params.yaml").read_text(encoding="utf-8")
    text = text.replace("members: [framewise, superimage]", "members: [framewise]")
    text = text.replace("folds: [0, 1, 2, 3, 4]", "folds: [0]")
    files.INDEX.parent.mkdir()
    files.INDEX.write_text("video\na\n", encoding="utf-8")
    files.SPLITS.write_text("video,group,fold\na,a,0\n", encoding="utf-8")
    files.CLASSES.write_text("ZC\nC(J)\n", encoding="utf-8")
    files.write_json(files.fold_metrics("framewise", 0), RESULT)
    write_weights(0)
    return parse(text)
