from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from mlflow import MlflowClient
from mlflow.entities import Run

from qvpipe import files, tracking
from qvpipe.config import Settings, parse

PARAMS = Path(__file__).parents[1] / "params.yaml"
RESULT = {"map": 0.5, "map_defects": 0.4, "per_class": {"ZC": 0.6, "C(J)": None}}
ENSEMBLE = RESULT | {
    "chance": 0.1,
    "mean_over_folds": {"map": 0.45},
    "calibration_error": {"before": 0.2, "after": None},
    "members": {"framewise": {"map": 0.3, "weight": 1.0}},
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of one member and one fold, whose results lie in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    text = PARAMS.read_text(encoding="utf-8")
    text = text.replace("members: [framewise, superimage]", "members: [framewise]")
    text = text.replace("folds: [0, 1, 2, 3, 4]", "folds: [0]")
    files.INDEX.parent.mkdir()
    files.INDEX.write_text("video\n", encoding="utf-8")
    files.write_json(files.fold_metrics("framewise", 0), RESULT)
    files.fold_model("framewise", 0).mkdir(parents=True)
    write_weights(0)
    return parse(text)


def write_weights(value: int) -> Path:
    path = files.fold_model("framewise", 0) / files.WEIGHTS
    safetensors.numpy.save_file({"w": np.array([value])}, path)
    return path


def train(settings: Settings, weights: Path) -> None:
    with tracking.fold_run(settings, "framewise", 0) as run:
        for number in (1, 2):
            run.epoch({"number": number, "loss": 1 / number, "map": 0.25 * number})
        run.finish(RESULT, weights)


def put_together(settings: Settings) -> str:
    with tracking.ensemble_run(settings, ENSEMBLE, PARAMS) as parent:
        return parent


def all_runs() -> Mapping[str, Run]:
    client = MlflowClient(tracking.tracking_uri())
    experiment = client.get_experiment_by_name("qvpipe")
    assert experiment is not None
    return {run.info.run_id: run for run in client.search_runs([experiment.experiment_id])}


def children(parent: str) -> list[Run]:
    return [r for r in all_runs().values() if r.data.tags.get("mlflow.parentRunId") == parent]


def test_the_run_that_trained_a_fold_becomes_the_ensembles_child(settings: Settings) -> None:
    train(settings, write_weights(1))
    (child,) = children(put_together(settings))
    assert "copy_of" not in child.data.tags
    assert child.data.params["train.lr"] == str(settings.train.lr)
    assert child.data.params["bce.label_smoothing"] == "0.0"
    assert child.data.metrics["ap/ZC"] == 0.6
    assert len(all_runs()) == 2


def test_a_fold_from_the_cache_is_copied_with_its_curve(settings: Settings) -> None:
    train(settings, write_weights(1))
    first, second = put_together(settings), put_together(settings)
    (original,), (copy,) = children(first), children(second)
    assert copy.data.tags["copy_of"] == original.info.run_id
    history = MlflowClient(tracking.tracking_uri()).get_metric_history(copy.info.run_id, "loss")
    assert [(value.step, value.value) for value in history] == [(1, 1.0), (2, 0.5)]


def test_a_fold_that_this_server_never_saw_has_its_result(settings: Settings) -> None:
    (child,) = children(put_together(settings))
    assert child.data.metrics["map"] == 0.5


def test_a_training_that_breaks_off_is_marked(settings: Settings) -> None:
    for error, status in ((KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")):
        with pytest.raises(error), tracking.fold_run(settings, "framewise", 0):
            raise error
        assert status in [run.info.status for run in all_runs().values()]


def test_the_database_lies_in_the_repository(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "repository"))
    assert tracking.tracking_uri() == f"sqlite:///{tmp_path / 'repository' / 'mlflow.db'}"
