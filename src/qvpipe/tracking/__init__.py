"""The one place that talks to MLflow."""

from qvpipe.tracking.registry import (
    Champion,
    alone,
    award,
    champion,
    choices,
    describe,
    download,
    export,
    load_model,
    pictures,
    promote,
    register,
    run_of,
)
from qvpipe.tracking.runs import FoldRun, digest, ensemble_run, fold_run
from qvpipe.tracking.server import tracking_uri

__all__ = [
    "Champion",
    "FoldRun",
    "alone",
    "award",
    "champion",
    "choices",
    "describe",
    "digest",
    "download",
    "ensemble_run",
    "export",
    "fold_run",
    "load_model",
    "pictures",
    "promote",
    "register",
    "run_of",
    "tracking_uri",
]
