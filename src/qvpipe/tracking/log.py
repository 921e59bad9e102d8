"""What is logged to a run, kept in a file while MLflow does not answer."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qvpipe import files
from qvpipe.tracking.server import tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

BATCH = 1000
"""Metrics that MLflow takes at once."""


class Log:
    """The log of a run.

    What MLflow does not take is kept, in memory and in a file of `mlflow-unsent/`, and sent with
    what comes next; or, where nothing comes next, by `send_kept`.
    """

    def __init__(self, client: "MlflowClient", run: str) -> None:
        """Continue the log of a run.

        Args:
            client: Of the tracking server.
            run: Id of the run.
        """
        self._client = client
        self._run = run
        self._pending: list[dict[str, Any]] = []
        self._told = False

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log values at a step."""
        self._add({"metrics": dict(values), "step": step, "time": _now()})

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        self._add({"tags": dict(values)})

    def end(self, status: str) -> None:
        """Close the run with what became of it: FINISHED, FAILED or KILLED."""
        self._add({"status": status, "time": _now()})

    def _add(self, entry: dict[str, Any]) -> None:
        from mlflow.exceptions import MlflowException

        self._pending.append(entry)
        try:
            _send(self._client, self._run, self._pending)
        except MlflowException:
            files.write_json(_kept(self._run), self._pending)
            self._tell()
        else:
            self._pending.clear()
            _kept(self._run).unlink(missing_ok=True)

    def _tell(self) -> None:
        if not self._told:
            print(
                f"\nwarning: MLflow at {tracking_uri()} does not answer; the work goes on, and the "
                f"log waits in {_folder().name}/ until MLflow is back",
                file=sys.stderr,
            )
        self._told = True


def send_kept(client: "MlflowClient") -> None:
    """Send what earlier processes could not."""
    for path in sorted(_folder().glob("*.json")):
        _send(client, path.stem, files.read_json(path))
        path.unlink(missing_ok=True)


def log_metrics(client: "MlflowClient", run: str, metrics: "Sequence[Metric]") -> None:
    """Log any number of values at once."""
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run, metrics=metrics[start : start + BATCH])


def _send(client: "MlflowClient", run: str, entries: Sequence[Mapping[str, Any]]) -> None:
    """Send entries in their order. MLflow takes what it has already without harm."""
    from mlflow.entities import Metric, RunTag

    metrics = [
        Metric(name, value, entry["time"], entry["step"])
        for entry in entries
        for name, value in entry.get("metrics", {}).items()
    ]
    log_metrics(client, run, metrics)
    tags = [RunTag(*tag) for entry in entries for tag in entry.get("tags", {}).items()]
    if tags:
        client.log_batch(run, tags=tags)
    for entry in entries:
        if "status" in entry:
            client.set_terminated(run, entry["status"], entry["time"])


def _folder() -> Path:
    return files.repository() / "mlflow-unsent"


def _kept(run: str) -> Path:
    return _folder() / f"{run}.json"


def _now() -> int:
    return int(time.time() * 1000)
