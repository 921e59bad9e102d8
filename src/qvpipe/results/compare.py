"""Experiments against each other, on the videos that all of them judged out of fold."""

import dataclasses
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from qvpipe import files, tracking
from qvpipe.errors import QvpipeError
from qvpipe.learning import metrics
from qvpipe.learning.metrics import Interval
from qvpipe.learning.targets import targets
from qvpipe.learning.tasks import MEASURES, Name, decisions

WORKSPACE = "workspace"
ENSEMBLE = "ensemble"


@dataclass(frozen=True)
class Judged:
    """The predictions of an experiment out of fold.

    Attributes:
        name: What people call the experiment.
        index: SHA-256 of its data/index.csv.
        splits: SHA-256 of its data/splits.csv.
        scores: Probabilities by member, and of the ensemble: a row for each video (the index), a
            column for each class.
    """

    name: str
    index: str
    splits: str
    scores: Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Difference:
    """How another experiment's ensemble compares with the first one's, in the task's measure."""

    first: str
    second: str
    interval: Interval
    measure: str = "mAP"

    def __str__(self) -> str:
        """Say it as a sentence's part."""
        ends = self.interval
        return (
            f"{self.second} - {self.first}: {ends.value:+.3f} {self.measure}, "
            f"95 % interval {ends.low:+.3f} to {ends.high:+.3f}"
        )

    @property
    def verdict(self) -> str:
        """What the interval allows to say."""
        if self.interval.low > 0:
            return f"{self.second} is better"
        if self.interval.high < 0:
            return f"{self.first} is better"
        return "these videos do not tell which is better"


@dataclass(frozen=True)
class Comparison:
    """Experiments side by side.

    Attributes:
        videos: Number of videos that all of them judged.
        maps: mAP from 0 to 1, a row for each member and the ensemble, a column an experiment.
        per_class: Average precision of the ensembles, a row for each class.
        decisions: What `tasks.decisions` says of the ensembles, a row for each value; empty where
            an item may have any number of classes.
        differences: Of each later experiment to the first.
    """

    videos: int
    maps: pd.DataFrame
    per_class: pd.DataFrame
    decisions: pd.DataFrame
    differences: tuple[Difference, ...]


def read(name: str) -> Judged:
    """Return the predictions of an experiment.

    Args:
        name: `workspace`, a registered version such as `models:/qvpipe/1`, the id of an MLflow
            run of an ensemble, or anything that DVC knows as a revision: the name of an
            experiment, a branch, a commit.

    Raises:
        QvpipeError: If there is none of that name, or it has no predictions.
    """
    if name == WORKSPACE:
        return _from_folder(Path(), name)
    if name.startswith("models:/"):
        found = read_run(tracking.run_of(name))
        return dataclasses.replace(found, name=name.removeprefix("models:/"))
    if re.fullmatch(r"[0-9a-f]{32}", name):
        return read_run(name)
    return _from_dvc(name)


def read_run(run: str) -> Judged:
    """Return the predictions that the MLflow run of an ensemble has logged.

    Raises:
        QvpipeError: If there is no such run, or it has logged none.
    """
    with tempfile.TemporaryDirectory() as folder:
        tags = tracking.download(run, Path(folder))
        scores = {
            path.stem: files.read_predictions(path)
            for path in sorted(Path(folder, "predictions").glob("*.csv"))
        }
    name = tags.get("dvc_experiment") or tags.get("mlflow.runName") or run
    return Judged(name, tags.get("index", ""), tags.get("splits", ""), scores)


def compare(experiments: Sequence[Judged], task: Name = "multilabel") -> Comparison:
    """Compare experiments; the first one is what the others are measured against.

    Args:
        experiments: Two or more.
        task: What their scores say.

    Raises:
        QvpipeError: If they are not about the same videos in the same folds.
    """
    _check_same(experiments)
    experiments = _named_apart(experiments)
    videos = _common_videos(experiments)
    truth = targets(videos["labels"], len(files.read_classes()))
    maps = pd.DataFrame(
        {
            one.name: {
                member: metrics.mean_average_precision(truth, _array(scores, videos))
                for member, scores in one.scores.items()
            }
            for one in experiments
        }
    )
    members = [name for name in maps.index if name != ENSEMBLE]
    per_class = pd.DataFrame(
        {
            one.name: metrics.average_precisions(truth, _array(one.scores[ENSEMBLE], videos))
            for one in experiments
        },
        index=files.read_classes(),
    )
    first, *others = experiments
    differences = tuple(difference(first, other, videos, task) for other in others)
    return Comparison(
        len(videos),
        maps.loc[[*members, ENSEMBLE]],
        per_class,
        _decisions(experiments, truth, videos, task),
        differences,
    )


def _decisions(
    experiments: Sequence[Judged], truth: metrics.Targets, videos: pd.DataFrame, task: Name
) -> pd.DataFrame:
    classes = files.read_classes()
    found = {
        one.name: decisions(task, truth, _array(one.scores[ENSEMBLE], videos), classes)
        for one in experiments
    }
    numbers = {
        name: {key: value for key, value in values.items() if isinstance(value, float)}
        for name, values in found.items()
    }
    return pd.DataFrame(numbers)


def difference(
    first: Judged,
    second: Judged,
    videos: pd.DataFrame | None = None,
    task: Name = "multilabel",
) -> Difference:
    """Return by how much the second ensemble is better, with its interval over inspections.

    That is in the task's measure, see `tasks.MEASURES`.

    Args:
        first: What the other is measured against.
        second: The other.
        videos: video, group and labels of those that count; None is all that both judged.
        task: What their scores say.
    """
    if videos is None:
        videos = _common_videos([first, second])
    measure = MEASURES[task]
    interval = measure.difference(
        targets(videos["labels"], len(files.read_classes())),
        _array(first.scores[ENSEMBLE], videos),
        _array(second.scores[ENSEMBLE], videos),
        videos["group"].to_numpy(),
    )
    return Difference(first.name, second.name, interval, measure.title)


def text(comparison: Comparison) -> str:
    """Return a comparison as tables for people."""
    lines = [
        f"{comparison.videos} videos, each judged by models that did not see its inspection",
        "",
        *_table("mAP", comparison.maps),
        "",
        *_table("AP of the ensemble", comparison.per_class),
        "",
    ]
    if len(comparison.decisions):
        lines += [*_table("the ensemble decides", comparison.decisions), ""]
    lines += [f"{one}: {one.verdict}" for one in comparison.differences]
    return "\n".join(lines)


def _table(title: str, table: pd.DataFrame) -> list[str]:
    widths = [max(8, len(str(name)) + 2) for name in table.columns]
    heads = (f"{name:>{width}}" for name, width in zip(table.columns, widths, strict=True))
    lines = [f"{title:20}{''.join(heads)}"]
    for name, *values in table.itertuples():
        cells = (
            f"{'-' if np.isnan(value) else f'{value:.3f}':>{width}}"
            for value, width in zip(values, widths, strict=True)
        )
        lines.append(f"{name:20}{''.join(cells)}")
    return lines


def _from_folder(folder: Path, name: str) -> Judged:
    """Read the results of the pipeline that lie in a folder as in the repository."""
    params: Any = yaml.safe_load((folder / files.PARAMS).read_text(encoding="utf-8"))
    ensemble = folder / files.ENSEMBLE / "predictions.csv"
    if not ensemble.exists():
        raise QvpipeError(f"{name} has no predictions of an ensemble; `dvc repro` makes them")
    scores = {
        member: pd.concat(
            files.read_predictions(folder / files.fold_predictions(member, fold))
            for fold in params["folds"]
        )
        for member in [*params["members"], *params["ensemble"].get("zeroshot", [])]
    }
    return Judged(
        name,
        tracking.digest(folder / files.INDEX),
        tracking.digest(folder / files.SPLITS),
        {**scores, ENSEMBLE: files.read_predictions(ensemble)},
    )


def _from_dvc(name: str) -> Judged:
    """Read the results of a revision from git, DVC's cache and, at need, its remote."""
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import SCMError, resolve_rev

    wanted = [files.PARAMS, files.INDEX, files.SPLITS, files.PREDICTIONS, files.ENSEMBLE]
    try:
        with Repo() as repo:
            revision = resolve_rev(repo.scm, name)
        system = DVCFileSystem(url=os.curdir, rev=revision)
        with tempfile.TemporaryDirectory() as folder:
            for path in wanted:
                Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
                system.get(str(path), str(Path(folder, path)), recursive=system.isdir(str(path)))
            return _from_folder(Path(folder), name)
    except (DvcException, SCMError, OSError) as error:
        raise QvpipeError(
            f"{name}: DVC finds no results of an experiment of that name ({error}); "
            "`dvc exp show` lists the experiments, and `dvc pull` brings their files"
        ) from error


def _check_same(experiments: Sequence[Judged]) -> None:
    here = Judged(WORKSPACE, tracking.digest(files.INDEX), "", {})
    for one in experiments:
        if one.index != here.index:
            raise QvpipeError(
                f"{one.name} was judged on other videos or labels than data/index.csv lists; "
                "compare experiments on one index, and check out that index with `dvc checkout`"
            )
        if one.splits != experiments[0].splits:
            raise QvpipeError(
                f"{one.name} and {experiments[0].name} divide the videos into other folds; "
                "run one of them again with the `seed` and the `splits` of the other"
            )


def _named_apart(experiments: Sequence[Judged]) -> list[Judged]:
    """Return the experiments with a number behind names that stand there twice."""
    names = [one.name for one in experiments]
    return [
        dataclasses.replace(one, name=f"{one.name} ({number})")
        if names.count(one.name) > 1
        else one
        for number, one in enumerate(experiments, start=1)
    ]


def _common_videos(experiments: Sequence[Judged]) -> pd.DataFrame:
    """Return video, group and labels of the videos that all experiments judged."""
    videos = files.read_splits()
    known = set.intersection(*(set(one.scores[ENSEMBLE].index) for one in experiments))
    videos = videos[videos["video"].isin(known)]
    if videos.empty:
        raise QvpipeError(
            "these experiments have no video in common; run them with the same `folds`"
        )
    return videos


def _array(scores: pd.DataFrame, videos: pd.DataFrame) -> metrics.Floats:
    return scores.loc[videos["video"]].to_numpy()
