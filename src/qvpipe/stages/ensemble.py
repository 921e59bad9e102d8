"""Put the members together: all predictions out of fold to weights, metrics and a plot."""

from functools import partial

import pandas as pd

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
from qvpipe.learning.metrics import Floats
from qvpipe.learning.targets import targets
from qvpipe.learning.thresholds import choose_thresholds
from qvpipe.learning.validation import Validation
from qvpipe.results import pictures, plots


def ensemble(settings: Settings) -> None:
    """Weigh the members by their validation mAP and judge them together, out of fold."""
    classes, normal = files.read_classes(), settings.data.normal
    videos = files.read_splits()
    videos = videos[videos["fold"].isin(settings.folds)]
    truth = targets(videos["labels"], len(classes))
    folds, groups = (videos[name].to_numpy() for name in ("fold", "group"))
    validation = Validation(truth, folds, groups, classes, normal, settings.task, settings.seed)
    scores = {member: _out_of_fold(settings, member, videos) for member in settings.members}

    members = {member: validation.summary(table) for member, table in scores.items()}
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
    thresholds = choose_thresholds(
        truth, combined, settings.ensemble.threshold, settings.ensemble.at_least
    )
    pooled = validation.summary(combined)
    result = {
        **pooled,
        "chance": metrics.chance(truth, settings.seed),
        "videos": len(videos),
        "pooled": {key: pooled[key] for key in ("map", "map_defects")},
        "mean_over_folds": validation.mean_over_folds(combined),
        "challenge": validation.challenge(combined),
        "interval": validation.interval(combined),
        "calibration_error": {
            "before": calibration_error(truth, together()),
            "after": validation.calibration_error(mean, settings.ensemble.calibration, together),
        },
        "members": {
            member: {
                "weight": weights[member],
                "map": judged["map"],
                "map_defects": judged["map_defects"],
                "mean_over_folds": validation.mean_over_folds(scores[member]),
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


def _out_of_fold(settings: Settings, member: str, videos: pd.DataFrame) -> Floats:
    """Return the member's probabilities for each video by the model that did not see it."""
    folds = [
        files.read_predictions(files.fold_predictions(member, fold)) for fold in settings.folds
    ]
    return pd.concat(folds).loc[videos["video"]].to_numpy()


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
