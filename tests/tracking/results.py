"""Results such as the stages make, and what MLflow then holds."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy
from mlflow import MlflowClient
from mlflow.entities import Run

from qvpipe import files, tracking
from qvpipe.config import Settings

RESULT = {"map": 0.5, "map_defects": 0.4, "per_class": {"ZC": 0.6, "C(J)": None}}
ENSEMBLE = RESULT | {
    "chance": 0.1,
    "interval": {"map": {"low": 0.4, "high": 0.6}},
    "calibration_error": {"before": 0.2, "after": None},
    "mean_over_folds": {"map": 0.45},
    "members": {"framewise": {"map": 0.3, "weight": 1.0}},
}


def write_weights(value: int) -> Path:
    path = files.fold_model("framewise", 0) / files.WEIGHTS
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file({"w": np.array([value])}, path)
    return path


def train(settings: Settings, weights: Path) -> None:
    with tracking.fold_run(settings, "framewise", 0, "cpu") as run:
        for number in (1, 2, 3):
            run.epoch({"number": number, "loss": 1 / number, "map": 0.25 * number, "lr": 0.1})
        run.finish(RESULT, weights)


def put_together(settings: Settings) -> str:
    folder = Path("artifacts")
    folder.mkdir(exist_ok=True)
    (folder / "ensemble.json").write_text("{}", encoding="utf-8")
    with tracking.ensemble_run(settings, ENSEMBLE, folder) as parent:
        return parent


def all_runs() -> Mapping[str, Run]:
    client = MlflowClient(tracking.tracking_uri())
    experiment = client.get_experiment_by_name("qvpipe")
    assert experiment is not None
    return {run.info.run_id: run for run in client.search_runs([experiment.experiment_id])}


def children(parent: str) -> list[Run]:
    return [r for r in all_runs().values() if r.data.tags.get("mlflow.parentRunId") == parent]


def history(run: Run, name: str) -> list[tuple[int, float]]:
    client = MlflowClient(tracking.tracking_uri())
    return [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
