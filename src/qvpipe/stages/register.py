"""Log the ensemble with all its folds to MLflow and register it as a model version."""

import shutil
import tempfile
from pathlib import Path

import yaml

from qvpipe import files, tracking
from qvpipe.config import Settings, as_tree
from qvpipe.errors import run


def register(settings: Settings) -> None:
    """Register what the ensemble stage made, with the alias that it deserves."""
    result = files.read_json(files.METRICS / "ensemble.json")
    with (
        tempfile.TemporaryDirectory() as folder,
        tracking.ensemble_run(settings, result, files.PER_CLASS_PLOT) as parent,
    ):
        bundle = lay_bundle(settings, Path(folder) / "bundle")
        registered = tracking.register(settings, parent, bundle, result["map"])
    print(
        f"register: {settings.mlflow.model} version {registered.version} is the "
        f"{registered.alias}, mAP {result['map']:.3f}"
    )


def lay_bundle(settings: Settings, folder: Path) -> Path:
    """Lay all that prediction needs into one folder."""
    shutil.copytree(files.ENSEMBLE, folder)
    (folder / "params.yaml").write_text(
        yaml.safe_dump(as_tree(settings), sort_keys=False), encoding="utf-8"
    )
    for member in settings.members:
        for fold in settings.folds:
            target = folder / member / f"fold{fold}"
            target.mkdir(parents=True)
            shutil.copy(files.fold_model(member, fold) / files.WEIGHTS, target)
    return folder


def main() -> None:
    """Run the stage."""
    register(files.read_settings())


if __name__ == "__main__":
    run(main)
