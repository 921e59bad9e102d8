"""How predictions out of fold are judged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qvpipe.learning import metrics
from qvpipe.learning.calibration import Method, calibrate, calibration_error, fit_calibration
from qvpipe.learning.metrics import Floats, Targets
from qvpipe.learning.tasks import MEASURES, Name, decisions


def judge(
    task: Name, truth: Targets, scores: Floats, classes: Sequence[str], normal: str | None
) -> dict[str, Any]:
    """Return what `metrics.summary` and `tasks.decisions` say of probabilities."""
    return {
        **metrics.summary(truth, scores, classes, normal),
        **decisions(task, truth, scores, classes),
    }


@dataclass(frozen=True)
class Validation:
    """The items that every model is judged on, each by models that did not learn from it.

    Attributes:
        truth: 0 or 1, `[items, classes]`.
        folds: The fold of each item, `[items]`.
        groups: The group of each item, `[items]`.
        classes: Names in the order of the columns.
        normal: Name of the class that is no defect, if there is one.
        task: What the scores say.
        seed: Of shuffles and samples.
    """

    truth: Targets
    folds: NDArray[Any]
    groups: NDArray[Any]
    classes: Sequence[str]
    normal: str | None
    task: Name
    seed: int

    def summary(self, scores: Floats) -> dict[str, Any]:
        """Return what `judge` says of all items pooled."""
        return judge(self.task, self.truth, scores, self.classes, self.normal)

    def mean_over_folds(self, scores: Floats) -> dict[str, float]:
        """Return the mean over folds of `map` and `map_defects`, and the SD of `map`."""
        judged = [
            metrics.summary(self.truth[inside], scores[inside], self.classes, self.normal)
            for inside in self._inside()
        ]
        maps = np.array([fold["map"] for fold in judged])
        return {
            "map": float(maps.mean()),
            "map_sd": float(maps.std(ddof=1)) if len(maps) > 1 else 0.0,
            "map_defects": float(np.mean([fold["map_defects"] for fold in judged])),
        }

    def challenge(self, scores: Floats) -> dict[str, object]:
        """Return the challenge's own mAP in percent: pooled, and its mean and SD over folds."""

        def both(chosen: NDArray[np.bool_]) -> dict[str, float]:
            return {
                name: metrics.challenge_map(self.truth[chosen], scores[chosen], columns, self.seed)
                for name, columns in self._counted().items()
            }

        folds = pd.DataFrame([both(inside) for inside in self._inside()])
        spread = folds.std(ddof=1).fillna(0.0).add_suffix("_sd")
        pooled = both(np.ones(len(self.truth), dtype=bool))
        return {**pooled, "mean_over_folds": {**folds.mean().to_dict(), **spread.to_dict()}}

    def interval(self, scores: Floats) -> dict[str, dict[str, float]]:
        """Return the 95 % intervals by bootstrap over groups.

        They are those of `map`, `map_defects` and the measure of the task.
        """
        found = {
            name: metrics.bootstrap(self.truth, scores, self.groups, columns, seed=self.seed)
            for name, columns in self._counted().items()
        }
        measure = MEASURES[self.task]
        if measure.key not in found:
            found[measure.key] = measure.interval(self.truth, scores, self.groups, seed=self.seed)
        return {name: {"low": ends.low, "high": ends.high} for name, ends in found.items()}

    def calibration_error(
        self, mean: Floats, method: Method, finish: Callable[[Callable[[Floats], Floats]], Floats]
    ) -> float | None:
        """Return the calibration error where each fold is calibrated by what the others tell.

        Args:
            mean: Probabilities before calibration, `[items, classes]`.
            method: How it is calibrated.
            finish: Takes what calibrates and returns the final probabilities of all items.

        Returns:
            None for a single fold, which leaves nothing to calibrate by.
        """
        inside_of = self._inside()
        if len(inside_of) < 2:
            return None
        calibrated = np.empty_like(mean)
        for inside in inside_of:
            maps = fit_calibration(self.truth[~inside], mean[~inside], method)
            calibrated[inside] = finish(partial(calibrate, maps=maps))[inside]
        return calibration_error(self.truth, calibrated)

    def _inside(self) -> list[NDArray[np.bool_]]:
        return [self.folds == fold for fold in np.unique(self.folds)]

    def _counted(self) -> dict[str, list[int]]:
        """Return the indices of the classes that `map` and `map_defects` count."""
        everything = list(range(len(self.classes)))
        return {
            "map": everything,
            "map_defects": [i for i in everything if self.classes[i] != self.normal],
        }
