"""Where MLflow is, and what is done when it does not answer."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from qvpipe import files
from qvpipe.errors import QvpipeError

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"

DEFAULTS = {
    # Stages print what a person needs themselves.
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow would wait for minutes; what cannot be sent is kept, see `Log`.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""What MLflow reads from the environment where a person has not set it."""


EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Says to the UI that this is about training; its switch at the top left must say so as well."""


def tracking_uri() -> str:
    """Return `MLFLOW_TRACKING_URI` where it is set, otherwise the repository's own database."""
    own = f"{SQLITE}{files.repository() / 'mlflow.db'}"
    return os.environ.get("MLFLOW_TRACKING_URI") or own


def connect() -> "MlflowClient":
    """Return a client of a server that answers.

    Raises:
        QvpipeError: If it does not.
    """
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    import mlflow

    # It prints a traceback before it raises what is told in one sentence here.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    uri = tracking_uri()
    with answering(), _first_creation(uri):
        mlflow.set_tracking_uri(uri)
        client = mlflow.MlflowClient(uri)
        client.search_experiments(max_results=1)
    return client


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Say in one sentence that MLflow does not answer where the block finds that."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise QvpipeError(
            f"MLflow at {tracking_uri()} cannot be used ({reason[:300]}); start its server, or "
            "unset MLFLOW_TRACKING_URI to use the repository's own database, and run the same "
            "command again: what is finished is kept"
        ) from error


def beside_others(make: Callable[[], object]) -> None:
    """Make something that another client may be making at the same moment.

    A server refuses one of the two; the second time it finds what the other has made.
    """
    from mlflow.exceptions import MlflowException

    try:
        make()
    except MlflowException:
        make()


def experiment_id(client: "MlflowClient", name: str) -> str:
    """Return the id of the experiment of that name, which is made if there is none."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name, _artifact_location(), EXPERIMENT_TAGS))
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
def _first_creation(uri: str) -> Iterator[None]:
    """Let one process at a time touch a database file: two that create its tables break it."""
    if not uri.startswith(SQLITE):
        yield
        return
    database = Path(uri.removeprefix(SQLITE))
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock"):
        yield
