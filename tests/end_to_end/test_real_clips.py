"""Real videos with labels of their own, by settings alone, where a folder of them is there."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from qvpipe import files
from tests.conftest import REAL_CLIPS
from tests.end_to_end.conftest import TINY, make_project, merged


@pytest.mark.skipif(not REAL_CLIPS.is_dir(), reason="the folder of real clips is not here")
def test_real_clips_become_a_registered_model(tmp_path: Path) -> None:
    data = {
        "videos": str(REAL_CLIPS / "videos"),
        "labels": str(REAL_CLIPS / "labels.json"),
        "classes": str(REAL_CLIPS / "classes.txt"),
    }
    project = make_project(tmp_path, merged(TINY, {"data": data}))
    printed = project.run("dvc", "repro")
    assert "index: 44 videos in, 44 out" in printed
    assert "splits: 44 videos in, 44 out" in printed

    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert client.get_model_version_by_alias("qvpipe", "champion").tags["map"]
    result = files.read_json(tmp_path / "metrics/ensemble.json")
    assert list(result["per_class"]) == (REAL_CLIPS / "classes.txt").read_text().splitlines()
    assert result["videos"] == 44

    splits = files.read_table(tmp_path / files.SPLITS)
    assert (splits.groupby("group")["fold"].nunique() == 1).all()
    # Clips that show the same join inspections, and never divide one.
    named = files.read_table(tmp_path / files.INDEX).set_index("video")["group"]
    assert named.nunique() == 14
    assert (splits.groupby(splits["video"].map(named))["fold"].nunique() == 1).all()
    raw = {path.name for path in (REAL_CLIPS / "videos").iterdir()}
    copied = [path for path in tmp_path.rglob("*") if path.name in raw]
    assert copied == []
