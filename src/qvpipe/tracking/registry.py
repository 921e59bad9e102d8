"""The registered model: its versions, the champion among them, and copies for elsewhere."""

import contextlib
import importlib.metadata
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

import qvpipe
from qvpipe import files
from qvpipe.config import RESERVED_COLUMNS, Settings
from qvpipe.errors import QvpipeError
from qvpipe.tracking.server import answering, beside_others, connect, tracking_uri

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
"""What the registered model needs beside MLflow itself, and beside transformers for VideoMAE
and CLIP."""


AGAINST, STANDING = "against", "standing"
"""Tags of a version: the champion that it was measured against, and the alias that it got."""

CODE_LOADER = "mlflow.pyfunc.loaders.code_model"
"""MLflow's loader of models that are code; the others may unpickle."""


@dataclass(frozen=True)
class Champion:
    """The version that has the alias `champion`.

    Attributes:
        version: Its number.
        run: Id of the run that made it.
        tags: Of the version; `index`, `measure` and `score` among them.
    """

    version: str
    run: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Contest:
    """What a new version meets in the registry.

    Attributes:
        champion: Which it is measured against; None for the first version.
        decided: The versions whose own contest was over before that.
    """

    champion: Champion | None
    decided: frozenset[str]


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
    import pandas as pd

    package = Path(qvpipe.__file__).parent
    with answering(), mlflow.start_run(run_id=run):
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=package / "inference" / "registered.py",
            artifacts={"bundle": str(bundle)},
            code_paths=[str(package)],
            pip_requirements=[_pinned(name) for name in _requirements(settings)],
            model_config={"device": "auto"},
            signature=_signature(files.read_json(files.ENSEMBLE / "ensemble.json")),
            input_example=pd.DataFrame({"video": ["pipe.mp4"]}),
        )
        version = mlflow.register_model(logged.model_uri, settings.mlflow.model, tags=dict(tags))
    return str(version.version)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let one process at a time compare itself with the champion and take its place."""
    with FileLock(files.repository() / "mlflow.db.champion.lock"):
        yield


def contest(model: str) -> Contest:
    """Return what a new version of a registered model has to be better than."""
    client = connect()
    with answering():
        # Before the alias is looked up, so that whoever takes it later counts as undecided.
        decided = frozenset(str(v.version) for v in _versions(client, model) if STANDING in v.tags)
        found = _by_alias(client, model, "champion")
    if found is None:
        return Contest(None, decided)
    return Contest(Champion(str(found.version), str(found.run_id), dict(found.tags)), decided)


def award(
    model: str, version: str, met: Contest, alias: str, tags: Mapping[str, str], description: str
) -> str:
    """Give a version its alias, `champion` or `challenger`, with tags and a model card.

    The run that made it shows the same card. MLflow cannot be told to move an alias only if nobody
    else has, so two clients may both find their version better than the same champion. Each says
    which one that was before it takes the alias, and looks around after; one of them at least then
    sees both, and whoever does leaves the alias to the one with the higher score.

    Args:
        model: Name of the registered model.
        version: Number of the new version.
        met: What it was measured against.
        alias: What it deserves.
        tags: Of the version.
        description: Its model card.

    Returns:
        The alias that it has in the end.
    """
    client = connect()
    against = met.champion.version if met.champion else "none"
    with answering():
        for key, value in {**tags, AGAINST: against}.items():
            client.set_model_version_tag(model, version, key, value)
        made = client.update_model_version(model, version, description)
        client.set_tag(str(made.run_id), "mlflow.note.content", description)
        _set_alias(client, model, alias, version)
        if alias == "champion" and (better := _better_rival(client, model, version, met)):
            _set_alias(client, model, "champion", better)
            _set_alias(client, model, "challenger", version)
            alias = "challenger"
        client.set_model_version_tag(model, version, STANDING, alias)
    return alias


def _set_alias(client: "MlflowClient", model: str, alias: str, version: str) -> None:
    beside_others(lambda: client.set_registered_model_alias(model, alias, version))


def _better_rival(client: "MlflowClient", model: str, version: str, met: Contest) -> str | None:
    """Return the best version that met the same champion at the same time, if it is another."""

    def terms(one: "ModelVersion") -> list[str | None]:
        return [one.tags.get(name) for name in (AGAINST, "index", "folds", "measure")]

    versions = {str(one.version): one for one in _versions(client, model)}
    rivals = [
        number
        for number, one in versions.items()
        if number not in met.decided and terms(one) == terms(versions[version])
    ]
    best = max(rivals, key=lambda number: (float(versions[number].tags["score"]), -int(number)))
    return None if best == version else best


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
        today = datetime.now(UTC).date().isoformat()
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
    found = _version(uri)
    if found is None:
        raise QvpipeError(f"{uri} is no registered version, such as models:/qvpipe/1")
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


def pictures(uri: str, names: Sequence[str]) -> dict[str, bytes]:
    """Return those pictures that the run of a registered version has logged, by their names.

    Args:
        uri: Of the model; one that is no registered version has none.
        names: Of the pictures that are wanted.
    """
    version = _version(uri)
    if version is None or not version.run_id:
        return {}
    client = connect()
    from mlflow.exceptions import MlflowException

    try:
        logged = {artifact.path for artifact in client.list_artifacts(version.run_id, "pictures")}
        with tempfile.TemporaryDirectory() as folder:
            return {
                name: Path(client.download_artifacts(version.run_id, path, folder)).read_bytes()
                for name in names
                if (path := f"pictures/{name}") in logged
            }
    except (MlflowException, OSError):
        return {}  # The run may be deleted while its model lives on.


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

    mlflow.set_tracking_uri(tracking_uri())
    with _known(uri):
        flavor = mlflow.models.Model.load(uri).flavors.get("python_function", {})
        if flavor.get("loader_module") != CODE_LOADER:
            raise QvpipeError(
                f"{uri} was not registered by qvpipe, and is not loaded because it could run code "
                "from a pickle; name another model"
            )
        path = list(sys.path)
        model: PyFuncModel = mlflow.pyfunc.load_model(uri, model_config={"device": device})
    # The model brings the package as it was then, which later processes would take for this one.
    sys.path[:] = path
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
    if "score" in version.tags:
        score = float(version.tags["score"])
        known[f"Validation {version.tags['measure']}"] = f"{score:.3f}"
    return known


def choices(uri: str) -> dict[str, str]:
    """Return a title for each version of a registered model, with its address.

    Args:
        uri: The version that stands first; the others follow, the newest before the older. A
            model that isn't registered stands alone.

    Raises:
        QvpipeError: If there is no such version.
    """
    wanted = _version(uri)
    if wanted is None:
        return {uri: uri}
    found = _versions(connect(), wanted.name)
    found.sort(key=lambda v: (v.version != wanted.version, -int(v.version)))
    return {_title(version): f"models:/{version.name}/{version.version}" for version in found}


def _version(uri: str) -> "ModelVersion | None":
    """Return the registered version that an address means; None for any other address."""
    match = re.fullmatch(r"models:/([^/@]+)(?:@([^/]+)|/(\d+))", uri)
    if match is None:
        return None
    name, alias, number = match.groups()
    client = connect()
    with _known(uri):
        found: ModelVersion = (
            client.get_model_version_by_alias(name, alias)
            if alias
            else client.get_model_version(name, number)
        )
    return found


def _versions(client: "MlflowClient", model: str) -> "list[ModelVersion]":
    return list(client.search_model_versions(f"name = '{model}'"))


def _title(version: "ModelVersion") -> str:
    # Versions themselves do not always know their aliases.
    aliases = connect().get_registered_model(version.name).aliases
    own = sorted(alias for alias, number in aliases.items() if int(number) == int(version.version))
    return ", ".join([f"version {version.version}", *own])


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


def _requirements(settings: Settings) -> list[str]:
    backbones = [settings.models[member].backbone for member in settings.members]
    videomae = any(backbone.startswith("videomae") for backbone in backbones)
    transformers = videomae or settings.ensemble.zeroshot
    return [*REQUIREMENTS, *(["transformers"] if transformers else [])]


def _pinned(package: str) -> str:
    version = importlib.metadata.version(package)
    # A build's local part, such as +cpu, is not to be had from a registry.
    return f"{package}=={version.split('+')[0]}"
