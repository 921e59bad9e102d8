"""What MLflow keeps, for those who look after it: artifacts and registered versions."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qvpipe.tracking.server import tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True)
class Artifact:
    """A file that MLflow keeps."""

    uri: str

    @contextlib.contextmanager
    def fetched(self) -> Iterator[Path]:
        """Give the file; one that lies elsewhere is there as long as the block runs."""
        import mlflow
        from mlflow.utils.file_utils import local_file_uri_to_path

        if self.uri.startswith(("/", "file:")):
            yield Path(local_file_uri_to_path(self.uri))
            return
        with tempfile.TemporaryDirectory() as folder:
            yield Path(
                mlflow.artifacts.download_artifacts(
                    artifact_uri=self.uri, dst_path=folder, tracking_uri=tracking_uri()
                )
            )


def has_database() -> bool:
    """Say whether there is anything to read; MLflow would make a database that is missing."""
    uri = tracking_uri()
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).is_file()


def registered_versions(model: str) -> "list[ModelVersion]":
    """Return the versions of a registered model, the newest first, with their aliases."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri())
    found = list(client.search_model_versions(f"name = '{model}'"))
    # A search tells no aliases.
    return [client.get_model_version(model, version.version) for version in found]


def artifacts() -> Iterator[Artifact]:
    """Give every artifact of every experiment and run, deleted ones included."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient
    from mlflow.entities import ViewType
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    if not has_database():
        return
    client = MlflowClient(tracking_uri())
    experiments = client.search_experiments(view_type=ViewType.ALL)
    roots = {experiment.artifact_location.rstrip("/") for experiment in experiments}
    for experiment in experiments:
        roots |= {
            run.info.artifact_uri
            for run in _all_runs(client, experiment.experiment_id)
            if not run.info.artifact_uri.startswith(f"{experiment.artifact_location.rstrip('/')}/")
        }
    for root in sorted(roots):
        repository = get_artifact_repository(root, tracking_uri=tracking_uri())
        folders: list[str | None] = [None]
        while folders:
            for found in repository.list_artifacts(folders.pop()):
                if found.is_dir:
                    folders.append(found.path)
                else:
                    yield Artifact(f"{root}/{found.path}")


def _all_runs(client: "MlflowClient", experiment: str) -> Iterator["Run"]:
    from mlflow.entities import ViewType

    token: str | None = None
    while True:
        page = client.search_runs([experiment], run_view_type=ViewType.ALL, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
