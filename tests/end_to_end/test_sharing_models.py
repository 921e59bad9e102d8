"""The champion, by comparison and by hand, and a copy of it for elsewhere."""

import json
import re
import subprocess
import sys
from pathlib import Path

import mlflow
from mlflow import MlflowClient

from tests.end_to_end.conftest import Project

ELSEWHERE = """
import sys
sys.path = [path for path in sys.path if not path.endswith("src")]
sys.modules.pop("qvpipe", None)
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
table = model.predict([sys.argv[2]])
import qvpipe
assert qvpipe.__file__.startswith(sys.argv[1]), qvpipe.__file__
print(table["status"].item(), len(table.columns))
"""


def client_of(project: Project) -> MlflowClient:
    # MLflow looks a model's source up at the global address, whatever the client's is.
    mlflow.set_tracking_uri(f"sqlite:///{project.folder / 'mlflow.db'}")
    return MlflowClient()


def test_an_exported_model_needs_neither_repository_nor_server(
    project: Project, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    project.run("qvpipe", "export", "models:/qvpipe@champion", str(folder))
    video = next((project.folder / "data/raw/track1_raw_video").iterdir())
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(folder), str(video)],
        cwd=tmp_path,
        env={"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-2:] == ["ok", "21"]
    elsewhere = Project(tmp_path / "elsewhere")
    elsewhere.folder.mkdir()
    elsewhere.run("qvpipe", "predict", str(video), "--model", str(folder))
    assert [path.name for path in elsewhere.folder.iterdir()] == ["predictions.csv"]
    again = project.run("qvpipe", "export", "models:/qvpipe@champion", str(folder), code=1)
    assert "error: " in again
    assert "not empty" in again


def test_nothing_that_is_logged_says_what_the_labels_are(project: Project, tmp_path: Path) -> None:
    client = client_of(project)
    champion = client.get_model_version_by_alias("qvpipe", "champion")
    assert champion.run_id is not None
    folder = Path(client.download_artifacts(champion.run_id, "", str(tmp_path)))
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found >= {
        "pictures/precision_recall.png",
        "pictures/per_class_ap.png",
        "pictures/classes_by_folds.png",
        "pictures/cooccurrence.png",
        "pictures/reliability.png",
        "pictures/examples/00_ZC.jpg",
        "predictions/ensemble.csv",
        "predictions/framewise.csv",
        "predictions/superimage.csv",
    }
    for path in folder.rglob("*.csv"):
        assert "labels" not in path.read_text(encoding="utf-8").splitlines()[0]
    assert not [name for name in found if name.endswith((".mp4", "train.json"))]


def test_a_version_is_promoted_by_hand_with_a_reason(project: Project) -> None:
    client = client_of(project)
    before = client.get_model_version_by_alias("qvpipe", "champion")
    assert "mAP" in (before.description or "")
    copy = client.create_model_version("qvpipe", str(before.source), before.run_id)
    try:
        version = str(copy.version)
        printed = project.run("qvpipe", "promote", version, "--reason", "a test")
        assert f"in place of version {before.version}" in printed
        now = client.get_model_version_by_alias("qvpipe", "champion")
        assert str(now.version) == version
        assert now.tags["promoted"].endswith(": a test")
    finally:
        client.set_registered_model_alias("qvpipe", "champion", before.version)
        client.delete_model_version("qvpipe", str(copy.version))
    unknown = project.run("qvpipe", "promote", "999", "--reason", "none", code=1)
    assert "error: there is no version 999 of the model qvpipe" in unknown
    assert "usage:" in project.run("qvpipe", "promote", "1", code=2)
    silent = project.run("qvpipe", "promote", "1", "--reason", " ", code=1)
    assert "error: say with --reason why" in silent


def test_experiments_of_dvc_and_runs_of_mlflow_are_compared(
    project: Project, tmp_path: Path
) -> None:
    champion = client_of(project).get_model_version_by_alias("qvpipe", "champion")
    picture = tmp_path / "compared.png"
    run = str(champion.run_id)
    printed = project.run("qvpipe", "compare", "HEAD", run, "--out", str(picture))
    assert "20 videos, each judged by models that did not see its inspection" in printed
    assert "95 % interval" in printed
    committed = json.loads(project.git("show", "HEAD:metrics/ensemble.json"))
    assert re.search(rf"^ensemble +{committed['map']:.3f}", printed, flags=re.MULTILINE)
    assert picture.read_bytes().startswith(b"\x89PNG")
    version = f"models:/qvpipe/{champion.version}"
    same = project.run("qvpipe", "compare", version, "models:/qvpipe@champion")
    assert "+0.000 mAP, 95 % interval +0.000 to +0.000" in same
    assert "error: nothing-like-that: DVC finds no results" in project.run(
        "qvpipe", "compare", "HEAD", "nothing-like-that", code=1
    )
