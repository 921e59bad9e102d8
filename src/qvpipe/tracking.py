"""The one place that talks to MLflow."""

import contextlib
import hashlib
import importlib.metadata
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from qvpipe import files
from qvpipe.config import RESERVED_COLUMNS, Settings, as_tree
from qvpipe.errors import QvpipeError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.pyfunc import PyFuncModel

PARENT = "mlflow.parentRunId"

REQUIREMENTS = (
    "av",
    "imagehash",
    "numpy",
    "opencv-python-headless",
    "pandas",
    "pyyaml",
    "safetensors",
    "timm",
    "torch",
    "torchvision",
)
"""What the registered model needs beside MLflow itself."""


CODE_LOADER = "mlflow.pyfunc.loaders.code_model"
"""MLflow's loader of models that are code; the others may unpickle."""


@dataclass(frozen=True)
class Registered:
    """A version of the registered model and the alias that it was given."""

    version: str
    alias: str


class FoldRun:
    """The run of one trained (member, fold) while it is under way."""

    def __init__(self, client: "MlflowClient", run: str) -> None:
        """Continue a run.

        Args:
            client: Of the tracking server.
            run: Id of the run.
        """
        self._client = client
        self._run = run

    def epoch(self, values: Mapping[str, float]) -> None:
        """Log an epoch's values; `number` is the epoch and becomes the step."""
        step = int(values["number"])
        curve = {name: value for name, value in values.items() if name != "number"}
        _log_metrics(self._client, self._run, curve, step)

    def finish(self, result: Mapping[str, Any], weights: Path) -> None:
        """Log the metrics of the best epoch and the hash by which the run is found again."""
        _log_metrics(self._client, self._run, _result_metrics(result))
        self._client.set_tag(self._run, "weights", digest(weights))


def tracking_uri() -> str:
    """Return `MLFLOW_TRACKING_URI` where it is set, otherwise the repository's own database."""
    own = f"sqlite:///{files.repository() / 'mlflow.db'}"
    return os.environ.get("MLFLOW_TRACKING_URI") or own


@contextlib.contextmanager
def fold_run(settings: Settings, member: str, fold: int) -> Iterator[FoldRun]:
    """Give the run in which the training of a (member, fold) is logged."""
    client = _client()
    tags = {"member": member, "fold": str(fold), "kind": "fold", **_origin()}
    run = _create_run(client, settings, f"{member} fold {fold}", tags)
    _log_params(client, run, _fold_params(settings, member, fold))
    with _terminated(client, run):
        yield FoldRun(client, run)


@contextlib.contextmanager
def ensemble_run(settings: Settings, result: Mapping[str, Any], plot: Path) -> Iterator[str]:
    """Log the ensemble as the parent run of its folds and give its id.

    Args:
        settings: The settings of the ensemble.
        result: metrics/ensemble.json.
        plot: Picture of the average precision of each class.
    """
    client = _client()
    tags = {"kind": "ensemble", "index": digest(files.INDEX), **_origin()}
    parent = _create_run(client, settings, f"ensemble {settings.loss}", tags)
    with _terminated(client, parent):
        _log_params(client, parent, _flat(as_tree(settings)))
        _log_metrics(client, parent, _result_metrics(result) | _ensemble_metrics(result))
        client.log_artifact(parent, str(plot))
        client.log_dict(parent, dict(result), "ensemble.json")
        for member in settings.members:
            for fold in settings.folds:
                _adopt(client, settings, parent, member, fold)
                fold_result = files.read_json(files.fold_metrics(member, fold))
                _log_metrics(client, parent, {f"fold_map/{member}": fold_result["map"]}, fold)
        yield parent


def register(settings: Settings, run: str, bundle: Path, score: float) -> Registered:
    """Log a bundle as a model of a run and register it.

    The alias `champion` moves to the new version if there is none yet, or if the new one's mAP
    on the same index is higher; otherwise the new version is the `challenger`.

    Args:
        settings: Names the registered model.
        run: Id of the run that made the bundle.
        bundle: Folder of the ensemble with its weights.
        score: Its validation mAP.
    """
    client = _client()
    import mlflow

    mlflow.set_tracking_uri(tracking_uri())
    with mlflow.start_run(run_id=run):
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=Path(__file__).parent / "inference" / "registered.py",
            artifacts={"bundle": str(bundle)},
            code_paths=[str(Path(__file__).parent)],
            pip_requirements=[_pinned(name) for name in REQUIREMENTS],
            model_config={"device": "auto"},
            signature=_signature(files.read_json(files.ENSEMBLE / "ensemble.json")),
            input_example=pd.DataFrame({"video": ["pipe.mp4"]}),
        )
    index = digest(files.INDEX)
    version = mlflow.register_model(
        logged.model_uri, settings.mlflow.model, tags={"index": index, "map": repr(score)}
    )
    alias = "champion" if _is_better(client, settings.mlflow.model, index, score) else "challenger"
    client.set_registered_model_alias(settings.mlflow.model, alias, version.version)
    return Registered(str(version.version), alias)


def load_model(uri: str, device: str = "auto") -> "PyFuncModel":
    """Load a registered model, `models:/qvpipe@champion` for instance, or a folder that holds one.

    Args:
        uri: Of the model.
        device: See `compute.device`.

    Raises:
        QvpipeError: If there is no such model, or it is none of this package's: those hold no
            pickle, which could run any code as it is loaded.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri(tracking_uri())
    try:
        flavor = mlflow.models.get_model_info(uri).flavors.get("python_function", {})
        if flavor.get("loader_module") != CODE_LOADER:
            raise QvpipeError(
                f"{uri} was not registered by qvpipe, and is not loaded because it could run code "
                "from a pickle; name another model"
            )
        model: PyFuncModel = mlflow.pyfunc.load_model(uri, model_config={"device": device})
    except (MlflowException, OSError) as error:
        raise _no_model(uri) from error
    return model


def describe(uri: str) -> dict[str, str]:
    """Return what the registry knows of a model that can be loaded: a title for each value.

    Args:
        uri: What `load_model` takes.
    """
    version = _version(uri)
    if version is None:
        return {"Model": uri}
    registered = datetime.fromtimestamp(version.creation_timestamp / 1000).astimezone()
    known = {
        "Model": f"{version.name} {_title(version)}",
        "Registered": f"{registered:%Y-%m-%d %H:%M}",
    }
    if "map" in version.tags:
        known["mAP in validation"] = f"{float(version.tags['map']):.3f}"
    return known


def choices(uri: str) -> dict[str, str]:
    """Return a title for each version of a registered model, with its address.

    Args:
        uri: The version that stands first; the others follow, the newest before the older. A
            model that isn't registered stands alone.

    Raises:
        QvpipeError: If there is no such version.
    """
    from mlflow.exceptions import MlflowException

    try:
        wanted = _version(uri)
    except MlflowException as error:
        raise _no_model(uri) from error
    if wanted is None:
        return {uri: uri}
    found = _client().search_model_versions(f"name = '{wanted.name}'")
    found.sort(key=lambda v: (v.version != wanted.version, -int(v.version)))
    return {_title(version): f"models:/{version.name}/{version.version}" for version in found}


def _version(uri: str) -> "ModelVersion | None":
    """Return the registered version that an address means; None for any other address."""
    match = re.fullmatch(r"models:/([^/@]+)(?:@([^/]+)|/(\d+))", uri)
    if match is None:
        return None
    name, alias, number = match.groups()
    client = _client()
    if alias:
        return client.get_model_version_by_alias(name, alias)
    return client.get_model_version(name, number)


def _title(version: "ModelVersion") -> str:
    # Versions themselves do not always know their aliases.
    aliases = _client().get_registered_model(version.name).aliases
    own = sorted(alias for alias, number in aliases.items() if int(number) == int(version.version))
    return ", ".join([f"version {version.version}", *own])


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _no_model(uri: str) -> QvpipeError:
    return QvpipeError(
        f"there is no model {uri} at {tracking_uri()}; `dvc repro` registers one, or set "
        "MLFLOW_TRACKING_URI to the server that has it"
    )


def _client() -> "MlflowClient":
    # MLflow reads these when it is imported; stages print what a person needs themselves.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri())


def _create_run(
    client: "MlflowClient", settings: Settings, name: str, tags: Mapping[str, str]
) -> str:
    experiment = _experiment(client, settings.mlflow.experiment)
    run: Run = client.create_run(experiment, tags=dict(tags), run_name=name)
    return str(run.info.run_id)


def _experiment(client: "MlflowClient", name: str) -> str:
    """Return the id of the experiment of that name, which is made if there is none."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name, _artifact_location()))
    except MlflowException:
        found = client.get_experiment_by_name(name)  # another process was first
        if found is None:
            raise
        return str(found.experiment_id)


def _artifact_location() -> str | None:
    """Return the folder beside the repository's own database; a server chooses its own."""
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return None
    return (files.repository() / "mlruns").resolve().as_uri()


@contextlib.contextmanager
def _terminated(client: "MlflowClient", run: str) -> Iterator[None]:
    """Close a run with what became of it."""
    try:
        yield
    except KeyboardInterrupt:
        client.set_terminated(run, "KILLED")
        raise
    except BaseException:
        client.set_terminated(run, "FAILED")
        raise
    client.set_terminated(run, "FINISHED")


def _adopt(client: "MlflowClient", settings: Settings, parent: str, member: str, fold: int) -> None:
    """Make the run that trained a fold's weights a child of the ensemble's run.

    A run that belongs to another ensemble already, because DVC took the fold from its cache, is
    left there and copied.
    """
    weights = digest(files.fold_model(member, fold) / files.WEIGHTS)
    found = client.search_runs(
        [_experiment(client, settings.mlflow.experiment)],
        f"tags.weights = '{weights}' and tags.member = '{member}' and tags.fold = '{fold}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    if found and PARENT not in found[0].data.tags:
        client.set_tag(found[0].info.run_id, PARENT, parent)
        return
    tags = {"member": member, "fold": str(fold), "kind": "fold", "weights": weights, PARENT: parent}
    if found:
        tags["copy_of"] = found[0].info.run_id
    copy = _create_run(client, settings, f"{member} fold {fold}", tags)
    _log_params(client, copy, _fold_params(settings, member, fold))
    if found:
        _copy_curves(client, found[0], copy)
    _log_metrics(client, copy, _result_metrics(files.read_json(files.fold_metrics(member, fold))))
    client.set_terminated(copy, "FINISHED")


def _copy_curves(client: "MlflowClient", source: "Run", target: str) -> None:
    for name in source.data.metrics:
        history = client.get_metric_history(source.info.run_id, name)
        client.log_batch(target, metrics=history)


def _is_better(client: "MlflowClient", model: str, index: str, score: float) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        champion: ModelVersion = client.get_model_version_by_alias(model, "champion")
    except MlflowException:
        return True
    return champion.tags.get("index") == index and score > float(champion.tags.get("map", "inf"))


def _signature(rules: Mapping[str, Any]) -> Any:  # noqa: ANN401 - an MLflow type, imported late
    """Return what the registered model takes and gives; see `RegisteredEnsemble.predict`.

    Args:
        rules: models/ensemble/ensemble.json.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType, Array, Object, Property

    classes, members = rules["classes"], list(rules["members"])
    *texts, labels = RESERVED_COLUMNS
    thresholds = Object([Property(name, DataType.double, required=False) for name in classes])
    return ModelSignature(
        # A path or bytes; unnamed, so that a list or a single path is taken as well.
        inputs=Schema([ColSpec(AnyType())]),
        outputs=Schema(
            [
                *(ColSpec("string", name) for name in texts),
                *(ColSpec("double", name, required=False) for name in classes),
                ColSpec(Array(DataType.string), labels),
            ]
        ),
        params=ParamSchema(
            [
                ParamSpec("thresholds", thresholds, rules["thresholds"]),
                ParamSpec("tta", "boolean", default=False),
                ParamSpec("batch_size", "long", 16),
                ParamSpec("members", "string", members, shape=(-1,)),
            ]
        ),
    )


def _pinned(package: str) -> str:
    version = importlib.metadata.version(package)
    # A build's local part, such as +cpu, is not to be had from a registry.
    return f"{package}=={version.split('+')[0]}"


def _origin() -> dict[str, str]:
    """Return what the working tree and the DVC experiment are."""
    origin = {"git_commit": _git("rev-parse", "HEAD")}
    origin["git_dirty"] = str(bool(_git("status", "--porcelain", "--untracked-files=no"))).lower()
    if name := os.environ.get("DVC_EXP_NAME"):
        origin["dvc_experiment"] = name
    return {key: value for key, value in origin.items() if value}


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
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _result_metrics(result: Mapping[str, Any]) -> dict[str, float]:
    metrics = {"map": result["map"], "map_defects": result["map_defects"]}
    for name, value in result["per_class"].items():
        if value is not None:
            metrics[f"ap/{_metric_name(name)}"] = value
    return metrics


def _ensemble_metrics(result: Mapping[str, Any]) -> dict[str, float]:
    metrics = {"chance": result["chance"], "map_mean_over_folds": result["mean_over_folds"]["map"]}
    for when, error in result["calibration_error"].items():
        if error is not None:
            metrics[f"calibration_error_{when}"] = error
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


def _log_metrics(
    client: "MlflowClient", run: str, metrics: Mapping[str, float], step: int = 0
) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    client.log_batch(
        run, metrics=[Metric(name, value, now, step) for name, value in metrics.items()]
    )
