"""From rendered videos to a registered ensemble, as a person runs it."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from qvpipe import files
from qvpipe.config import QVPIPE_CLASSES
from qvpipe.inputs import frame_positions, video_views, views_of
from qvpipe.learning.metrics import mean_average_precision
from qvpipe.learning.targets import targets
from qvpipe.video.images import decode_jpeg
from qvpipe.video.quality import by_video
from qvpipe.video.store import unpack
from tests.end_to_end.conftest import Project


@pytest.fixture
def client(project: Project) -> MlflowClient:
    return MlflowClient(f"sqlite:///{project.folder / 'mlflow.db'}")


def runs(client: MlflowClient, kind: str) -> list[Run]:
    experiment = client.get_experiment_by_name("qvpipe")
    assert experiment is not None
    return list(
        client.search_runs(
            [experiment.experiment_id],
            f"tags.kind = '{kind}'",
            order_by=["attributes.start_time ASC"],
        )
    )


def test_every_video_is_in_one_fold_and_is_predicted_once(project: Project) -> None:
    index = files.read_table(project.folder / files.INDEX)
    splits = files.read_table(project.folder / files.SPLITS)
    assert len(index) == 20
    assert sorted(splits["video"]) == sorted(index["video"])
    for member in ("framewise", "superimage"):
        for fold in (0, 1):
            table = files.read_predictions(project.folder / files.fold_predictions(member, fold))
            assert set(table.index) == set(splits.loc[splits["fold"] == fold, "video"])
            assert tuple(table.columns) == QVPIPE_CLASSES
            assert table.to_numpy().min() >= 0
            assert table.to_numpy().max() <= 1


def test_the_metrics_are_those_of_the_predictions(project: Project) -> None:
    result = files.read_json(project.folder / "metrics/ensemble.json")
    predictions = files.read_predictions(project.folder / "models/ensemble/predictions.csv")
    index = files.read_table(project.folder / files.INDEX).set_index("video")
    truth = targets(index.loc[predictions.index, "labels"], 17)
    assert result["map"] == pytest.approx(mean_average_precision(truth, predictions.to_numpy()))
    assert result["pooled"]["map"] == result["map"]
    assert sum(member["weight"] for member in result["members"].values()) == pytest.approx(1)
    assert set(result["per_class"]) == set(QVPIPE_CLASSES)
    assert all(0 <= error <= 1 for error in result["calibration_error"].values())
    rules = files.read_json(project.folder / "models/ensemble/ensemble.json")
    assert set(rules["thresholds"]) == set(QVPIPE_CLASSES)


def test_a_second_run_does_nothing_again(project: Project) -> None:
    printed = project.run("dvc", "repro")
    assert "20 videos in, 20 out" in printed
    stages = ("frames", "clean", "splits", "superimages", "ensemble", "register")
    trained = [
        f"train@{member}-{fold}" for member in ("framewise", "superimage") for fold in (0, 1)
    ]
    for stage in (*stages, *trained):
        assert f"Stage '{stage}' didn't change, skipping" in printed
    assert project.git("status", "--porcelain") == ""


def test_mlflow_shows_the_ensemble_with_its_folds(project: Project, client: MlflowClient) -> None:
    parent = runs(client, "ensemble")[0]
    result = files.read_json(project.folder / "metrics/ensemble.json")
    assert parent.data.metrics["map"] == pytest.approx(result["map"])
    assert parent.data.params["loss"] == "bce"
    assert {artifact.path for artifact in client.list_artifacts(parent.info.run_id)} >= {
        "ensemble.json",
        "pictures",
        "predictions",
    }
    pictures = client.list_artifacts(parent.info.run_id, "pictures")
    assert "pictures/per_class_ap.png" in {artifact.path for artifact in pictures}
    children = [
        run
        for run in runs(client, "fold")
        if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
    ]
    assert sorted((run.data.tags["member"], run.data.tags["fold"]) for run in children) == [
        (member, fold) for member in ("framewise", "superimage") for fold in ("0", "1")
    ]
    for run in children:
        member, fold = run.data.tags["member"], int(run.data.tags["fold"])
        judged = files.read_json(project.folder / files.fold_metrics(member, fold))
        assert run.data.metrics["map"] == pytest.approx(judged["map"])
        assert run.info.status == "FINISHED"
        assert [m.step for m in client.get_metric_history(run.info.run_id, "loss")] == [1]


def test_the_champion_takes_paths_and_gives_a_table(project: Project) -> None:
    folder = project.folder / "data/raw/track1_raw_video"
    videos = [str(path) for path in sorted(folder.iterdir())[:3]]
    mlflow.set_tracking_uri(f"sqlite:///{project.folder / 'mlflow.db'}")
    model = mlflow.pyfunc.load_model("models:/qvpipe@champion")
    table = model.predict([*videos, "absent.mp4"])
    assert table["video"].to_list() == [*videos, "absent.mp4"]
    assert table["status"].to_list() == ["ok", "ok", "ok", "failed"]
    assert "absent.mp4" in table["error"].iloc[3]
    assert table[list(QVPIPE_CLASSES)].iloc[:3].notna().all(axis=None)
    assert table[list(QVPIPE_CLASSES)].iloc[3].isna().all()
    pd.testing.assert_frame_equal(model.predict(pd.DataFrame({"video": videos})), table.iloc[:3])


def test_predict_writes_a_row_for_each_video(project: Project, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    good = next((project.folder / "data/raw/track1_raw_video").iterdir())
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"")
    printed = project.run("qvpipe", "predict", str(good), str(tmp_path), "--out", str(out), code=3)
    assert "2 videos in, 1 failed" in printed
    table = pd.read_csv(out)
    assert table["status"].to_list() == ["ok", "failed"]
    assert table["error"].iloc[1] == "broken.mp4 is empty (0 bytes)"
    missing = project.run("qvpipe", "predict", "nowhere", code=1)
    assert "error: there is no file or folder nowhere" in missing
    unknown = project.run(
        "qvpipe", "predict", str(good), "--model", "models:/other@champion", code=1
    )
    assert "error: there is no model models:/other@champion" in unknown


def test_another_loss_is_an_experiment_beside_the_first(
    project: Project, client: MlflowClient
) -> None:
    before = len(runs(client, "fold"))
    printed = project.run("dvc", "exp", "run", "--name", "asl", "-S", "loss=asl")
    for stage in ("frames", "clean", "splits", "superimages"):
        assert f"Stage '{stage}' didn't change, skipping" in printed
    rows = json.loads(project.run("dvc", "exp", "show", "--json"))
    assert {"loss: asl", "loss: bce"} <= {f"loss: {loss}" for loss in losses(rows)}
    table = project.run("dvc", "exp", "show", "--only-changed", "--drop", "/|[.]", "--csv")
    header, *lines = [line for line in table.splitlines() if line]
    assert {"loss", "map"} <= set(header.split(","))
    assert any("asl" in line.split(",") for line in lines)
    assert runs(client, "ensemble")[-1].data.params["loss"] == "asl"
    assert runs(client, "ensemble")[-1].data.tags["dvc_experiment"] == "asl"
    assert len(runs(client, "fold")) == before + 4
    versions = client.search_model_versions("name = 'qvpipe'")
    assert len(versions) == 2
    maps = {version.version: float(version.tags["map"]) for version in versions}
    champion = client.get_model_version_by_alias("qvpipe", "champion")
    assert maps[champion.version] == max(maps.values())


def test_a_quick_try_in_a_temporary_folder_trains_one_member_on_one_fold(
    project: Project, client: MlflowClient
) -> None:
    quick = ("-S", "loss=cb_focal", "-S", "members=[superimage]", "-S", "folds=[0]")
    before = project.git("status", "--porcelain")
    printed = project.run("dvc", "exp", "run", "--temp", *quick)
    assert project.git("status", "--porcelain") == before
    assert "Running stage 'train@superimage-0'" in printed
    assert "train@superimage-1" not in printed
    assert "train@framewise" not in printed
    newest = runs(client, "ensemble")[-1]
    assert newest.data.params["loss"] == "cb_focal"
    assert [m for m in newest.data.metrics if m.startswith("member_map/")] == [
        "member_map/superimage"
    ]
    children = [
        run
        for run in runs(client, "fold")
        if run.data.tags.get("mlflow.parentRunId") == newest.info.run_id
    ]
    assert len(children) == 1


def losses(rows: object) -> set[str]:
    """Return the loss of every experiment in the JSON of `dvc exp show`."""
    text = json.dumps(rows)
    return {loss for loss in ("bce", "asl", "cb_focal") if f'"loss": "{loss}"' in text}


def test_a_typo_in_the_settings_ends_at_once(project: Project) -> None:
    path = project.folder / "params.yaml"
    text = path.read_text(encoding="utf-8")
    tree = yaml.safe_load(text)
    tree["train"]["epoch"] = tree["train"].pop("epochs")
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    try:
        printed = project.run("python", "-m", "qvpipe.stages.index", code=1)
    finally:
        path.write_text(text, encoding="utf-8")
    assert printed.startswith("error: train.epoch: unknown key")
    assert len(printed.splitlines()) == 1


def test_prediction_sees_what_training_saw(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    settings = files.read_settings()
    index = files.read_table(files.INDEX)
    cleaned = by_video(files.read_table(files.CLEAN))
    for video, file in zip(index["video"], index["file"], strict=True):
        seen = video_views(Path(settings.data.videos) / file, settings, settings.members)
        positions = frame_positions(cleaned[video], settings.models["framewise"])
        frames = views_of(
            unpack(files.frames_zip(video), positions).frames, settings.models["framewise"]
        )
        superimage = decode_jpeg(files.superimage(video).read_bytes())
        assert np.array_equal(seen["framewise"], frames)
        assert np.array_equal(
            seen["superimage"], views_of([superimage], settings.models["superimage"])
        )
