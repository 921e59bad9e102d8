"""The one place that talks to MLflow."""

from qvpipe.tracking.registry import (
    Champion,
    Contest,
    alone,
    award,
    choices,
    contest,
    describe,
    download,
    export,
    load_model,
    pictures,
    promote,
    register,
    run_of,
)
from qvpipe.tracking.runs import FoldRun, digest, ensemble_run, fold_run, log_zeroshot
from qvpipe.tracking.server import tracking_uri

__all__ = [
    "Champion",
    "Contest",
    "FoldRun",
    "alone",
    "award",
    "choices",
    "contest",
    "describe",
    "digest",
    "download",
    "ensemble_run",
    "export",
    "fold_run",
    "load_model",
    "log_zeroshot",
    "pictures",
    "promote",
    "register",
    "run_of",
    "tracking_uri",
]
