"""Log the ensemble with all its folds to MLflow and register it as a model version."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from qvpipe import files, tracking
from qvpipe.config import Settings, as_tree
from qvpipe.errors import QvpipeError, run
from qvpipe.inference.heat import draw_heat
from qvpipe.inference.predictor import load
from qvpipe.learning.targets import targets
from qvpipe.learning.tasks import MEASURES, Name
from qvpipe.results import compare
from qvpipe.results.card import model_card
from qvpipe.results.compare import ENSEMBLE, WORKSPACE
from qvpipe.results.pictures import Judged
from qvpipe.tracking import Champion


def register(settings: Settings) -> None:
    """Register what the ensemble stage made, with the alias that it deserves."""
    result = files.read_json(files.METRICS / "ensemble.json")
    model, index = settings.mlflow.model, tracking.digest(files.INDEX)
    measure = MEASURES[settings.task]
    score = result[measure.key]
    with tempfile.TemporaryDirectory() as folder:
        bundle = lay_bundle(settings, Path(folder) / "bundle")
        artifacts = _artifacts(settings, Path(folder) / "artifacts", bundle)
        with tracking.ensemble_run(settings, result, artifacts) as parent:
            folds = ", ".join(map(str, settings.folds))
            tags = {"index": index, "folds": folds, "map": repr(result["map"])}
            tags |= {"measure": measure.title, "score": repr(score)}
            version = tracking.register(settings, parent, bundle, tags)
            with tracking.alone():
                met = tracking.contest(model)
                standing = _standing(met.champion, index, settings.task, score)
                card = model_card(settings, result, _positives(), index, standing.reason)
                alias = tracking.award(model, version, met, standing.alias, standing.tags, card)
    beaten = "" if alias == standing.alias else "; a better one was registered at the same time"
    print(
        f"register: {model} version {version} is the {alias}, {measure.title} {score:.3f}; "
        f"{standing.reason}{beaten}"
    )


@dataclass(frozen=True)
class Standing:
    """How the new version stands against the champion: its alias, the reason, and both as tags."""

    alias: str
    reason: str
    tags: Mapping[str, str] = field(default_factory=dict)


def _standing(champion: Champion | None, index: str, task: Name, score: float) -> Standing:
    """Compare the new version with the champion: better on the same videos takes its place.

    Better is what has more of the task's measure.
    """
    measure = MEASURES[task].title
    if champion is None:
        return Standing("champion", "the first version")
    name = f"version {champion.version}"
    if champion.tags.get("index") != index or champion.tags.get("measure") != measure:
        return Standing("challenger", f"{name} was judged on other videos, labels or terms")
    try:
        theirs = compare.read_run(champion.run)
    except QvpipeError:
        gained = score - float(champion.tags["score"])
        alias = "champion" if gained > 0 else "challenger"
        return Standing(
            alias, f"{gained:+.3f} {measure} against {name}, whose predictions are gone"
        )
    ours = compare.read(WORKSPACE)
    if set(theirs.scores[ENSEMBLE].index) != set(ours.scores[ENSEMBLE].index):
        return Standing("challenger", f"{name} was judged on other folds")
    found = compare.difference(theirs, ours, task=task).interval
    ends = f"{found.low:+.3f} to {found.high:+.3f}"
    return Standing(
        "champion" if found.value > 0 else "challenger",
        f"{found.value:+.3f} {measure} against {name}, 95 % interval {ends}",
        {"difference": f"{found.value:+.3f}", "interval": ends},
    )


def _artifacts(settings: Settings, folder: Path, bundle: Path) -> Path:
    """Lay all that people want to see of the run into one folder; labels stay at home."""
    shutil.copytree(files.PICTURES, folder / "pictures")
    if settings.task == "multiclass":
        predictor = load(bundle, settings.compute.device)
        draw_heat(folder / "pictures", predictor, _judged())
    for name, scores in compare.read(WORKSPACE).scores.items():
        files.write_table(folder / "predictions" / f"{name}.csv", scores.reset_index())
    for path in (files.METRICS / "ensemble.json", files.PER_CLASS):
        shutil.copy(path, folder)
    return folder


def _judged() -> Judged:
    """Return the test set with its predictions, or the items out of fold if there is none."""
    path = files.ENSEMBLE / "test.csv"
    name, path = (
        ("test", path) if path.is_file() else ("out of fold", path.with_stem("predictions"))
    )
    table = files.read_predictions(path)
    labels = files.read_table(files.INDEX).set_index("video").loc[table.index, "labels"]
    truth = targets(labels, len(table.columns))
    return Judged(name, table.index.to_list(), truth, table.to_numpy())


def _positives() -> dict[str, int]:
    table = files.read_table(files.PER_CLASS).set_index("class")["positives"]
    return {name: int(table[name]) for name in files.read_classes()}


def lay_bundle(settings: Settings, folder: Path) -> Path:
    """Lay all that prediction needs into one folder."""
    shutil.copytree(
        files.ENSEMBLE,
        folder,
        ignore=shutil.ignore_patterns(files.PICTURES.name, "predictions.csv", "test.csv"),
    )
    (folder / "params.yaml").write_text(
        yaml.safe_dump(as_tree(settings), sort_keys=False), encoding="utf-8"
    )
    for name in settings.ensemble.zeroshot:
        shutil.copytree(files.untrained_model(name), folder / name)
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
