from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from qvpipe import files, tracking
from qvpipe.config import Settings
from tests.tracking.results import all_runs, children, history, put_together, train, write_weights

pytestmark = pytest.mark.slow


def test_the_run_that_trained_a_fold_becomes_the_ensembles_child(settings: Settings) -> None:
    train(settings, write_weights(1))
    (child,) = children(put_together(settings))
    assert "copy_of" not in child.data.tags
    assert child.data.params["train.lr"] == str(settings.train.lr)
    assert child.data.params["bce.label_smoothing"] == "0.0"
    assert child.data.metrics["ap/ZC"] == 0.6
    assert len(all_runs()) == 2


def test_the_curve_is_by_epoch_and_the_result_stands_alone(settings: Settings) -> None:
    train(settings, write_weights(1))
    (run,) = all_runs().values()
    assert history(run, "loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert history(run, "epoch_map") == [(1, 0.25), (2, 0.5), (3, 0.75)]
    assert history(run, "map") == [(0, 0.5)]
    assert run.data.metrics["map"] == 0.5


def test_two_clients_that_log_the_same_data_at_once_do_not_stop_each_other(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_inputs, asked = MlflowClient.log_inputs, []

    def refuse_the_first(*arguments: object, **options: object) -> None:
        asked.append(1)
        if len(asked) == 1:
            raise MlflowException("duplicate key value violates unique constraint")
        log_inputs(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(MlflowClient, "log_inputs", refuse_the_first)
    train(settings, write_weights(1))
    (run,) = all_runs().values()
    assert run.inputs is not None
    assert len(run.inputs.dataset_inputs) == 1


def test_a_run_says_where_it_comes_from(settings: Settings) -> None:
    train(settings, write_weights(1))
    (run,) = all_runs().values()
    assert run.data.params["seed"] == "0"
    assert run.data.tags["device"] == "cpu"
    assert {"version.python", "version.torch", "version.timm"} <= set(run.data.tags)
    assert run.inputs is not None
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.name == "track1_raw_video"
    assert tracking.digest(files.INDEX).startswith(data.dataset.digest)
    assert [tag.value for tag in data.tags] == ["without fold 0"]


def test_the_parent_has_what_the_table_of_runs_is_sorted_by(settings: Settings) -> None:
    parent = all_runs_of(put_together(settings))
    assert parent["map"] == 0.5
    assert parent["map_low"] == 0.4
    assert parent["fold_map/framewise"] == 0.5
    assert parent["member_map/framewise"] == 0.3


def all_runs_of(run: str) -> dict[str, float]:
    return dict(all_runs()[run].data.metrics)


def test_a_fold_from_the_cache_is_copied_with_its_curve(settings: Settings) -> None:
    train(settings, write_weights(1))
    first, second = put_together(settings), put_together(settings)
    (original,), (copy,) = children(first), children(second)
    assert copy.data.tags["copy_of"] == original.info.run_id
    assert history(copy, "loss") == history(original, "loss")
    assert history(copy, "map") == [(0, 0.5)]


def test_a_fold_that_this_server_never_saw_has_its_result(settings: Settings) -> None:
    (child,) = children(put_together(settings))
    assert child.data.metrics["map"] == 0.5


def test_all_of_the_folder_becomes_artifacts(settings: Settings) -> None:
    run = put_together(settings)
    client = MlflowClient(tracking.tracking_uri())
    assert [artifact.path for artifact in client.list_artifacts(run)] == ["ensemble.json"]


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
