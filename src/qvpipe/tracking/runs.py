"""Runs: one for each trained (member, fold), and one for the ensemble, their parent."""

import contextlib
import functools
import getpass
import hashlib
import importlib.metadata
import itertools
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qvpipe import files
from qvpipe.config import Settings, as_tree
from qvpipe.tracking.log import Log, log_metrics, send_kept
from qvpipe.tracking.server import answering, beside_others, connect, experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARENT = "mlflow.parentRunId"

VERSIONED = ("qvpipe", "torch", "timm", "mlflow", "dvc", "numpy", "scikit-learn", "av")
"""The packages whose versions every run records."""

POOLED = ("map", "map_defects", "accuracy", "precision", "recall", "f1")
"""The metrics of all items together, of which a task has some."""


class FoldRun:
    """The run of one trained (member, fold) while it is under way."""

    def __init__(self, log: Log) -> None:
        """Continue a run.

        Args:
            log: Of the run.
        """
        self._log = log

    def epoch(self, values: Mapping[str, float]) -> None:
        """Log an epoch's values; `number` is the epoch and becomes the step.

        The curves of `map` and of other metrics are called `epoch_map` and so on, since those
        names are of the epoch that was kept.
        """
        final = set(POOLED) & set(values)
        curve = {name: value for name, value in values.items() if name not in {"number", *final}}
        curve |= {f"epoch_{name}": values[name] for name in final}
        self._log.metrics(curve, int(values["number"]))

    def finish(self, result: Mapping[str, Any], weights: Path) -> None:
        """Log the metrics of the best epoch and the hash by which the run is found again."""
        self._log.metrics(_result_metrics(result))
        self._log.tags({"weights": digest(weights)})


@contextlib.contextmanager
def fold_run(settings: Settings, member: str, fold: int, device: str = "") -> Iterator[FoldRun]:
    """Give the run in which the training of a (member, fold) is logged.

    Raises:
        QvpipeError: If MLflow does not answer at the start. Later it may be away.
    """
    tags = _fold_tags(member, fold) | ({"device": device} if device else {})
    with _started(settings, f"{member} fold {fold}", tags) as (client, run, log):
        with answering():
            _log_params(client, run, _fold_params(settings, member, fold))
            _log_data(client, run, settings, f"without fold {fold}")
        yield FoldRun(log)


@contextlib.contextmanager
def ensemble_run(settings: Settings, result: Mapping[str, Any], artifacts: Path) -> Iterator[str]:
    """Log the ensemble as the parent run of its folds and give its id.

    Args:
        settings: The settings of the ensemble.
        result: metrics/ensemble.json.
        artifacts: Folder of which everything becomes an artifact of the run.

    Raises:
        QvpipeError: If MLflow does not answer.
    """
    tags = {
        "kind": "ensemble",
        "index": digest(files.INDEX),
        "splits": digest(files.SPLITS),
    }
    name = os.environ.get("DVC_EXP_NAME") or f"ensemble {settings.loss}"
    with _started(settings, name, tags) as (client, parent, log):
        with answering():
            _log_params(client, parent, _flat(as_tree(settings)))
            _log_data(client, parent, settings, "out of fold")
            log.metrics(_result_metrics(result) | _ensemble_metrics(result))
            client.log_artifacts(parent, str(artifacts))
            for member in settings.members:
                for fold in settings.folds:
                    _adopt(client, settings, parent, member, fold)
                    fold_result = files.read_json(files.fold_metrics(member, fold))
                    log.metrics({f"fold_map/{member}": fold_result["map"]}, fold)
        yield parent


def log_zeroshot(
    settings: Settings, embedder: str, result: Mapping[str, Any], artifacts: Path
) -> None:
    """Log labels that were given without training as a run of their own.

    Args:
        settings: Of the pipeline.
        embedder: The entry of `search.zeroshot`.
        result: Its metrics.
        artifacts: Folder of which everything becomes an artifact of the run.

    Raises:
        QvpipeError: If MLflow does not answer.
    """
    tags = {"kind": "zeroshot", "index": digest(files.INDEX)}
    started = _started(settings, f"zeroshot {embedder}", tags)
    with started as (client, run, log), answering():
        search = settings.search
        params = {
            "embedder": search.embedders[embedder],
            "templates": ", ".join(search.zeroshot[embedder]),
            "frames": search.frames,
        }
        _log_params(client, run, params)
        own = {name: result[name] for name in result if isinstance(result[name], float)}
        log.metrics(own | _result_metrics(result))
        client.log_artifacts(run, str(artifacts))


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _create_run(
    client: "MlflowClient", settings: Settings, name: str, tags: Mapping[str, str]
) -> str:
    experiment = experiment_id(client, settings.mlflow.experiment)
    run: Run = client.create_run(experiment, tags=dict(tags), run_name=name)
    return str(run.info.run_id)


@contextlib.contextmanager
def _started(
    settings: Settings, name: str, tags: Mapping[str, str]
) -> Iterator[tuple["MlflowClient", str, Log]]:
    """Give a new run, by its client, id and log, and close it with what became of it."""
    client = connect()
    with answering():
        send_kept(client)
        run = _create_run(client, settings, name, {**tags, **_origin()})
    log = Log(client, run)
    with _ended(log):
        yield client, run, log


@contextlib.contextmanager
def _ended(log: Log) -> Iterator[None]:
    """Close a run with what became of it."""
    try:
        yield
    except KeyboardInterrupt:
        log.end("KILLED")
        raise
    except BaseException:
        log.end("FAILED")
        raise
    log.end("FINISHED")


def _adopt(client: "MlflowClient", settings: Settings, parent: str, member: str, fold: int) -> None:
    """Make the run that trained a fold's weights a child of the ensemble's run.

    A run that belongs to another ensemble already, because DVC took the fold from its cache, is
    left there and copied.
    """
    weights = digest(files.fold_model(member, fold) / files.WEIGHTS)
    found = client.search_runs(
        [experiment_id(client, settings.mlflow.experiment)],
        f"tags.weights = '{weights}' and tags.member = '{member}' and tags.fold = '{fold}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    if found and PARENT not in found[0].data.tags:
        client.set_tag(found[0].info.run_id, PARENT, parent)
        return
    tags = {**_fold_tags(member, fold), "weights": weights, PARENT: parent}
    if found:
        tags["copy_of"] = found[0].info.run_id
    copy = _create_run(client, settings, f"{member} fold {fold}", tags)
    _log_params(client, copy, _fold_params(settings, member, fold))
    _log_data(client, copy, settings, f"without fold {fold}")
    log = Log(client, copy)
    if found:
        _copy_curves(client, found[0], copy)
    else:
        log.metrics(_result_metrics(files.read_json(files.fold_metrics(member, fold))))
    log.end("FINISHED")


def _copy_curves(client: "MlflowClient", source: "Run", target: str) -> None:
    names = source.data.metrics
    histories = [client.get_metric_history(source.info.run_id, name) for name in names]
    log_metrics(client, target, list(itertools.chain(*histories)))


def _fold_tags(member: str, fold: int) -> dict[str, str]:
    return {"kind": "fold", "member": member, "fold": str(fold)}


def _origin() -> dict[str, str]:
    """Return what the working tree, the DVC experiment and the environment are."""
    commit = _git("rev-parse", "HEAD")
    dirty = bool(_git("status", "--porcelain", "--untracked-files=no"))
    origin = {
        "git_commit": commit,
        "git_dirty": str(dirty).lower(),
        "mlflow.source.git.commit": commit,
        "mlflow.source.name": "dvc repro",
        "mlflow.user": _user(),
        "dvc_experiment": os.environ.get("DVC_EXP_NAME", ""),
        **_versions(),
    }
    return {key: value for key, value in origin.items() if value}


@functools.cache
def _versions() -> dict[str, str]:
    packages = {f"version.{name}": importlib.metadata.version(name) for name in VERSIONED}
    return {"version.python": platform.python_version(), **packages}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return ""


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _fold_params(settings: Settings, member: str, fold: int) -> dict[str, object]:
    tree = as_tree(settings)
    model = {key: value for key, value in tree["models"][member].items() if key != "train"}
    return _flat(
        {
            "seed": settings.seed,
            "loss": settings.loss,
            "member": member,
            "fold": fold,
            settings.loss: tree["losses"][settings.loss],
            "model": model,
            "train": as_tree(settings.recipe(member)),
        }
    )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            flat[f"{prefix}{key}"] = ", ".join(map(str, value)) or "none"
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _result_metrics(result: Mapping[str, Any]) -> dict[str, float]:
    metrics = {name: result[name] for name in POOLED if name in result}
    for name, value in result["per_class"].items():
        if value is not None:
            metrics[f"ap/{_metric_name(name)}"] = value
    for name, value in result.get("per_class_f1", {}).items():
        metrics[f"f1/{_metric_name(name)}"] = value
    return metrics


def _ensemble_metrics(result: Mapping[str, Any]) -> dict[str, float]:
    metrics = {"chance": result["chance"], "map_mean_over_folds": result["mean_over_folds"]["map"]}
    for when, error in result["calibration_error"].items():
        if error is not None:
            metrics[f"calibration_error_{when}"] = error
    tested = result.get("test", {})
    metrics |= {f"test_{name}": tested[name] for name in POOLED if name in tested}
    for name, ends in result.get("interval", {}).items():
        metrics |= {f"{name}_low": ends["low"], f"{name}_high": ends["high"]}
    for member, judged in result["members"].items():
        metrics[f"member_map/{member}"] = judged["map"]
        metrics[f"member_weight/{member}"] = judged["weight"]
    return metrics


def _metric_name(name: str) -> str:
    """Return a class name with only the characters that MLflow allows in a metric's name."""
    return "".join(c if c.isalnum() or c in "_-. " else "_" for c in name)


def _log_params(client: "MlflowClient", run: str, params: Mapping[str, object]) -> None:
    from mlflow.entities import Param

    client.log_batch(run, params=[Param(key, str(value)) for key, value in params.items()])


def _log_data(client: "MlflowClient", run: str, settings: Settings, context: str) -> None:
    """Log what the run has seen of the videos: the table, by its digest, and how it is divided."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    splits = files.read_table(files.SPLITS)
    profile = {
        "videos": len(splits),
        "inspections": splits["group"].nunique(),
        "folds": splits["fold"].nunique(),
        "classes": len(files.read_classes()),
        "index_sha256": digest(files.INDEX),
        "splits_sha256": digest(files.SPLITS),
    }
    columns = [{"name": name, "type": "string", "required": True} for name in ("video", "labels")]
    dataset = Dataset(
        name=Path(settings.data.videos).name,
        digest=digest(files.INDEX)[:16],
        source_type="local",
        source=json.dumps({"uri": str(files.INDEX)}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps(profile),
    )
    tags = [InputTag("mlflow.data.context", context)]
    beside_others(lambda: client.log_inputs(run, datasets=[DatasetInput(dataset, tags)]))
