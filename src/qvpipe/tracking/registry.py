"""The registered model: its versions, the champion among them, and copies for elsewhere."""

import contextlib
import datetime
import importlib.metadata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

import qvpipe
from qvpipe import files
from qvpipe.config import Settings
from qvpipe.errors import QvpipeError
from qvpipe.tracking.server import answering, connect, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.pyfunc import PyFuncModel

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


@dataclass(frozen=True)
class Champion:
    """The version that has the alias `champion`.

    Attributes:
        version: Its number.
        run: Id of the run that made it.
        tags: Of the version; `map` and `index` among them.
    """

    version: str
    run: str
    tags: Mapping[str, str]


def register(settings: Settings, run: str, bundle: Path, tags: Mapping[str, str]) -> str:
    """Log a bundle as a model of a run, register it and return the version's number.

    Args:
        settings: Names the registered model.
        run: Id of the run that made the bundle.
        bundle: Folder of the ensemble with its weights.
        tags: Of the version.
    """
    connect()
    import mlflow

    package = Path(qvpipe.__file__).parent
    with answering(), mlflow.start_run(run_id=run):
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=package / "inference" / "registered.py",
            artifacts={"bundle": str(bundle)},
            code_paths=[str(package)],
            pip_requirements=[_pinned(name) for name in REQUIREMENTS],
            signature=_signature(files.read_classes()),
            input_example=["pipe.mp4"],
        )
        version = mlflow.register_model(logged.model_uri, settings.mlflow.model, tags=dict(tags))
    return str(version.version)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let one process at a time compare itself with the champion and take its place."""
    with FileLock(files.repository() / "mlflow.db.champion.lock"):
        yield


def champion(model: str) -> Champion | None:
    """Return the champion of a registered model, None if there is none yet."""
    client = connect()
    with answering():
        found = _by_alias(client, model, "champion")
    if found is None:
        return None
    return Champion(str(found.version), str(found.run_id), dict(found.tags))


def award(model: str, version: str, alias: str, tags: Mapping[str, str], description: str) -> None:
    """Give a version its alias, `champion` or `challenger`, with tags and a model card.

    The run that made it shows the same card.
    """
    client = connect()
    with answering():
        for key, value in tags.items():
            client.set_model_version_tag(model, version, key, value)
        made = client.update_model_version(model, version, description)
        client.set_tag(str(made.run_id), "mlflow.note.content", description)
        client.set_registered_model_alias(model, alias, version)


def promote(model: str, version: str, reason: str) -> str | None:
    """Make a version the champion by hand, with the reason as a tag; return the one before.

    Raises:
        QvpipeError: If there is no such version.
    """
    client = connect()
    from mlflow.exceptions import MlflowException

    try:
        promoted = client.get_model_version(model, version)
    except MlflowException as error:
        raise QvpipeError(
            f"there is no version {version} of the model {model} at {tracking_uri()}; "
            "`mlflow ui` shows those that there are"
        ) from error
    with answering(), alone():
        before = _by_alias(client, model, "champion")
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        client.set_model_version_tag(model, version, "promoted", f"{today}: {reason}")
        client.set_registered_model_alias(model, "champion", version)
        if "challenger" in promoted.aliases:
            client.delete_registered_model_alias(model, "challenger")
    return None if before is None else str(before.version)


def export(uri: str, folder: Path) -> None:
    """Write a registered model to a folder that `mlflow.pyfunc.load_model` loads anywhere.

    Args:
        uri: `models:/qvpipe@champion` for instance.
        folder: New or empty.

    Raises:
        QvpipeError: If there is no such model, or the folder holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise QvpipeError(f"{folder} is there and not empty; name a new folder")
    connect()
    import mlflow

    with _known(uri):
        folder.mkdir(parents=True, exist_ok=True)
        mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder))


def run_of(uri: str) -> str:
    """Return the id of the run that made a registered version.

    Args:
        uri: `models:/qvpipe/1` or `models:/qvpipe@champion` for instance.

    Raises:
        QvpipeError: If there is no such version.
    """
    client = connect()
    name, _, alias = uri.removeprefix("models:/").partition("@")
    name, _, version = name.partition("/")
    with _known(uri):
        found: ModelVersion = (
            client.get_model_version_by_alias(name, alias)
            if alias
            else client.get_model_version(name, version)
        )
    return str(found.run_id)


def download(run: str, folder: Path) -> Mapping[str, str]:
    """Download the predictions out of fold that a run has logged, and return its tags.

    Args:
        run: Id of a run of an ensemble.
        folder: Where `predictions/` comes to lie.

    Raises:
        QvpipeError: If there is no such run or it has logged none.
    """
    client = connect()
    from mlflow.exceptions import MlflowException

    try:
        tags = dict(client.get_run(run).data.tags)
        client.download_artifacts(run, "predictions", str(folder))
    except (MlflowException, OSError) as error:
        raise QvpipeError(
            f"there is no run {run} with predictions at {tracking_uri()}; name the run of an "
            "ensemble, or set MLFLOW_TRACKING_URI to the server that has it"
        ) from error
    return tags


def load_model(uri: str) -> "PyFuncModel":
    """Load a registered model, `models:/qvpipe@champion` for instance, or a folder that holds one.

    Raises:
        QvpipeError: If there is no such model.
    """
    import mlflow

    mlflow.set_tracking_uri(tracking_uri())
    with _known(uri):
        model: PyFuncModel = mlflow.pyfunc.load_model(uri)
    return model


@contextlib.contextmanager
def _known(uri: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        raise QvpipeError(
            f"there is no model {uri} at {tracking_uri()}; `dvc repro` registers one, or set "
            "MLFLOW_TRACKING_URI to the server that has it"
        ) from error


def _by_alias(client: "MlflowClient", model: str, alias: str) -> "ModelVersion | None":
    """Return the version with an alias; anything but its absence is an error."""
    from mlflow.exceptions import MlflowException

    try:
        found: ModelVersion = client.get_model_version_by_alias(model, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return found


def _signature(classes: list[str]) -> Any:  # noqa: ANN401 - an MLflow type, imported late
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    texts = [ColSpec("string", name) for name in ("video", "status", "error")]
    return ModelSignature(
        inputs=Schema([ColSpec("string")]),
        outputs=Schema([*texts, *(ColSpec("double", name) for name in classes)]),
    )


def _pinned(package: str) -> str:
    version = importlib.metadata.version(package)
    # A build's local part, such as +cpu, is not to be had from a registry.
    return f"{package}=={version.split('+')[0]}"
