"""Put the members together: all predictions out of fold to weights, metrics and pictures."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

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
from qvpipe.learning.tasks import MEASURES
from qvpipe.learning.thresholds import choose_thresholds
from qvpipe.learning.validation import Validation, judge
from qvpipe.results import pictures, plots
from qvpipe.results.pictures import Judged


def ensemble(settings: Settings) -> None:
    """Weigh the members by how good each is and judge them together, out of fold.

    A test set, if there is one, is predicted by all folds of all members and judged apart.
    """
    classes, normal = files.read_classes(), settings.data.normal
    videos = files.read_splits()
    videos = videos[videos["fold"].isin(settings.folds)]
    truth = targets(videos["labels"], len(classes))
    folds, groups = (videos[name].to_numpy() for name in ("fold", "group"))
    validation = Validation(truth, folds, groups, classes, normal, settings.task, settings.seed)
    scores = {member: _out_of_fold(settings, member, videos) for member in settings.voters}

    members = {member: validation.summary(table) for member, table in scores.items()}
    measure = MEASURES[settings.task].key
    weights = member_weights(
        {member: judged[measure] for member, judged in members.items()}, settings.ensemble.weights
    )
    mean = combine(scores, weights, normal=None, normal_above=None)
    calibration = fit_calibration(truth, mean, settings.ensemble.calibration)
    rules = (classes.index(normal) if normal in classes else None, settings.ensemble.normal_above)
    together = partial(combine, scores, weights, *rules)
    calibrated = partial(calibrate, maps=calibration)
    combined = together(calibrated)
    thresholds = choose_thresholds(
        truth, combined, settings.ensemble.threshold, settings.ensemble.at_least
    )
    pooled = validation.summary(combined)
    out_of_fold = Judged("out of fold", videos["video"].to_list(), truth, combined)
    tested = _tested(settings, lambda found: combine(found, weights, *rules, calibrated))
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
                measure: judged[measure],
                "mean_over_folds": validation.mean_over_folds(scores[member]),
            }
            for member, judged in members.items()
        },
        **_judge_test(settings, tested),
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
    files.write_table(files.ENSEMBLE / "predictions.csv", out_of_fold.table(classes))
    if tested:
        files.write_table(files.ENSEMBLE / "test.csv", tested.table(classes))
    files.write_json(files.METRICS / "ensemble.json", result)
    positives = dict(zip(classes, truth.sum(axis=0).tolist(), strict=True))
    files.write_table(files.PER_CLASS, _per_class(pooled["per_class"], positives))
    pictures.draw(files.PICTURES, videos, truth, combined, classes)
    figure = plots.per_class_ap(pooled["per_class"], positives, result["chance"])
    figure.savefig(files.PER_CLASS_PLOT, dpi=120)
    if settings.task == "multiclass":
        pictures.draw_choices(files.PICTURES, [out_of_fold, *filter(None, [tested])], classes)
        pictures.draw_accuracy(files.PICTURES, settings.members, settings.folds)
    apart = f", of the defects {result['map_defects']:.3f}" if normal in classes else ""
    print(
        f"ensemble: {len(videos)} videos in, {len(combined)} out; mAP {result['map']:.3f} "
        f"(chance {result['chance']:.3f}){apart}"
    )
    if tested:
        print(f"ensemble: {len(tested.videos)} test items, mAP {result['test']['map']:.3f}")
    for where, found in (("out of fold", result), ("on the test set", result.get("test", {}))):
        if "accuracy" in found:
            print(f"ensemble: accuracy {found['accuracy']:.3f}, F1 {found['f1']:.3f} {where}")


def _out_of_fold(settings: Settings, member: str, videos: pd.DataFrame) -> Floats:
    """Return the member's probabilities for each video by the model that did not see it."""
    folds = [
        files.read_predictions(files.fold_predictions(member, fold)) for fold in settings.folds
    ]
    return pd.concat(folds).loc[videos["video"]].to_numpy()


def _tested(
    settings: Settings, put_together: Callable[[Mapping[str, Floats]], Floats]
) -> Judged | None:
    """Return the test set as all folds of all members see it; None if there is none."""
    paths = {
        member: [files.fold_test(member, fold) for fold in settings.folds]
        for member in settings.voters
    }
    if not all(path.is_file() for each in paths.values() for path in each):
        return None
    means = {
        member: pd.concat(map(files.read_predictions, each)).groupby("video", sort=False).mean()
        for member, each in paths.items()
    }
    videos = means[settings.members[0]].index
    labels = files.read_table(files.INDEX).set_index("video").loc[videos, "labels"]
    scores = put_together({member: table.loc[videos].to_numpy() for member, table in means.items()})
    return Judged("test", videos.to_list(), targets(labels, scores.shape[1]), scores)


def _judge_test(settings: Settings, tested: Judged | None) -> dict[str, Any]:
    if tested is None:
        return {}
    truth, classes = tested.truth, files.read_classes()
    judged = judge(settings.task, truth, tested.scores, classes, settings.data.normal)
    return {"test": {"videos": len(tested.videos), **judged}}


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
