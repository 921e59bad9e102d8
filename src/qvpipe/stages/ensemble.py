"""Put the members together: all predictions out of fold to weights, metrics and a plot."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qvpipe import files
from qvpipe.config import Settings
from qvpipe.errors import run
from qvpipe.learning import metrics
from qvpipe.learning.calibration import (
    as_json,
    calibrate,
    calibration_error,
    fit_calibration,
)
from qvpipe.learning.ensemble import combine, member_weights
from qvpipe.learning.metrics import Floats, Targets
from qvpipe.learning.targets import targets
from qvpipe.learning.thresholds import choose_thresholds
from qvpipe.results import pictures, plots


def ensemble(settings: Settings) -> None:
    """Weigh the members by their validation mAP and judge them together, out of fold."""
    classes, normal = files.read_classes(), settings.data.normal
    videos = _videos(settings)
    truth = targets(videos["labels"], len(classes))
    scores = {member: _out_of_fold(settings, member, videos) for member in settings.members}

    members = {
        member: metrics.summary(truth, table, classes, normal) for member, table in scores.items()
    }
    weights = member_weights(
        {member: judged["map"] for member, judged in members.items()}, settings.ensemble.weights
    )
    mean = combine(scores, weights, normal=None, normal_above=None)
    calibration = fit_calibration(truth, mean, settings.ensemble.calibration)
    together = partial(
        combine,
        scores,
        weights,
        classes.index(normal) if normal in classes else None,
        settings.ensemble.normal_above,
    )
    combined = together(partial(calibrate, maps=calibration))
    aim, at_least = settings.ensemble.threshold, settings.ensemble.at_least
    thresholds = choose_thresholds(truth, combined, aim, at_least)
    pooled = metrics.summary(truth, combined, classes, normal)
    result = {
        **pooled,
        "chance": metrics.chance(truth, settings.seed),
        "videos": len(videos),
        "pooled": {key: pooled[key] for key in ("map", "map_defects")},
        "mean_over_folds": _mean_over_folds(settings, truth, combined, videos["fold"], classes),
        "challenge": _challenge(settings, truth, combined, videos["fold"], classes),
        "interval": _interval(settings, truth, combined, videos["group"], classes),
        "calibration_error": {
            "before": calibration_error(truth, together()),
            "after": _error_across_folds(settings, truth, mean, together, videos["fold"]),
        },
        "members": {
            member: {
                "weight": weights[member],
                "map": judged["map"],
                "map_defects": judged["map_defects"],
                "mean_over_folds": _mean_over_folds(
                    settings, truth, scores[member], videos["fold"], classes
                ),
            }
            for member, judged in members.items()
        },
    }
    files.write_json(
        files.ENSEMBLE / "ensemble.json",
        {
            "members": weights,
            "folds": list(settings.folds),
            "classes": classes,
            "normal": normal if normal in classes else None,
            "normal_above": settings.ensemble.normal_above,
            "calibration": as_json(calibration),
            "thresholds": dict(zip(classes, thresholds, strict=True)),
        },
    )
    predictions = pd.DataFrame(combined, columns=classes)
    predictions.insert(0, "video", videos["video"].to_numpy())
    files.write_table(files.ENSEMBLE / "predictions.csv", predictions)
    files.write_json(files.METRICS / "ensemble.json", result)
    positives = dict(zip(classes, truth.sum(axis=0).tolist(), strict=True))
    files.write_table(files.PER_CLASS, _per_class(pooled["per_class"], positives))
    pictures.draw(files.PICTURES, videos, truth, combined, classes)
    figure = plots.per_class_ap(pooled["per_class"], positives, result["chance"])
    figure.savefig(files.PER_CLASS_PLOT, dpi=120)
    print(
        f"ensemble: {len(videos)} videos in, {len(combined)} out; mAP {result['map']:.3f} "
        f"(chance {result['chance']:.3f}), of the defects {result['map_defects']:.3f}"
    )


def _videos(settings: Settings) -> pd.DataFrame:
    """Return video, group, fold and labels of the videos in the trained folds."""
    splits = files.read_table(files.SPLITS)
    splits = splits[splits["fold"].isin(settings.folds)]
    return splits.merge(files.read_table(files.INDEX)[["video", "labels"]], on="video")


def _out_of_fold(settings: Settings, member: str, videos: pd.DataFrame) -> Floats:
    """Return the member's probabilities for each video by the model that did not see it."""
    folds = [
        files.read_predictions(files.fold_predictions(member, fold)) for fold in settings.folds
    ]
    return pd.concat(folds).loc[videos["video"]].to_numpy()


def _mean_over_folds(
    settings: Settings, truth: Targets, scores: Floats, fold_of: pd.Series, classes: list[str]
) -> dict[str, float]:
    """Return the mean over folds of `map` and `map_defects`, and the SD of `map`."""
    judged = [
        metrics.summary(truth[chosen], scores[chosen], classes, settings.data.normal)
        for chosen in ((fold_of == fold).to_numpy() for fold in settings.folds)
    ]
    maps = np.array([fold["map"] for fold in judged])
    return {
        "map": float(maps.mean()),
        "map_sd": float(maps.std(ddof=1)) if len(maps) > 1 else 0.0,
        "map_defects": float(np.mean([fold["map_defects"] for fold in judged])),
    }


def _challenge(
    settings: Settings, truth: Targets, scores: Floats, fold_of: pd.Series, classes: list[str]
) -> dict[str, object]:
    """Return the challenge's own mAP in percent: pooled, and as a mean over folds with its SD."""

    def both(chosen: NDArray[np.bool_]) -> dict[str, float]:
        judged = truth[chosen], scores[chosen]
        return {
            name: metrics.challenge_map(*judged, columns, settings.seed)
            for name, columns in _counted(settings, classes).items()
        }

    folds = pd.DataFrame([both((fold_of == fold).to_numpy()) for fold in settings.folds])
    spread = folds.std(ddof=1).fillna(0.0).add_suffix("_sd")
    pooled = both(np.ones(len(truth), dtype=bool))
    return {**pooled, "mean_over_folds": {**folds.mean().to_dict(), **spread.to_dict()}}


def _interval(
    settings: Settings, truth: Targets, scores: Floats, groups: pd.Series, classes: list[str]
) -> dict[str, dict[str, float]]:
    """Return the 95 % interval of `map` and `map_defects` by bootstrap over inspections."""
    found = {
        name: metrics.bootstrap(truth, scores, groups.to_numpy(), columns, seed=settings.seed)
        for name, columns in _counted(settings, classes).items()
    }
    return {name: {"low": ends.low, "high": ends.high} for name, ends in found.items()}


def _counted(settings: Settings, classes: list[str]) -> dict[str, list[int]]:
    """Return the indices of the classes that `map` and `map_defects` count."""
    everything = list(range(len(classes)))
    return {
        "map": everything,
        "map_defects": [i for i in everything if classes[i] != settings.data.normal],
    }


def _error_across_folds(
    settings: Settings,
    truth: Targets,
    mean: Floats,
    together: Callable[[Callable[[Floats], Floats]], Floats],
    fold_of: pd.Series,
) -> float | None:
    """Return the calibration error where each fold is calibrated by what the others tell.

    None for a single fold, which leaves nothing to calibrate by.
    """
    if len(settings.folds) < 2:
        return None
    calibrated = np.empty_like(mean)
    for fold in settings.folds:
        inside = (fold_of == fold).to_numpy()
        maps = fit_calibration(truth[~inside], mean[~inside], settings.ensemble.calibration)
        calibrated[inside] = together(partial(calibrate, maps=maps))[inside]
    return calibration_error(truth, calibrated)


def _per_class(per_class: dict[str, float | None], positives: dict[str, int]) -> pd.DataFrame:
    """Return class, average precision and number of positives, the best class first."""
    table = pd.DataFrame(
        {"class": per_class.keys(), "ap": per_class.values(), "positives": positives.values()}
    )
    return table.sort_values("ap", ascending=False, kind="stable")


def main() -> None:
    """Run the stage."""
    ensemble(files.read_settings())


if __name__ == "__main__":
    run(main)
