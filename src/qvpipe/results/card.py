"""The model card of a registered version."""

from collections.abc import Mapping
from typing import Any

from qvpipe.config import QVPIPE_CLASSES, QVPIPE_MEANINGS, Settings
from qvpipe.learning.tasks import MEASURES
from qvpipe.results.text import with_interval


def model_card(
    settings: Settings,
    result: Mapping[str, Any],
    positives: Mapping[str, int],
    index: str,
    standing: str,
) -> str:
    """Return the card as Markdown.

    Args:
        settings: Those the ensemble was trained with.
        result: metrics/ensemble.json.
        positives: Number of positive videos of each class.
        index: SHA-256 of data/index.csv.
        standing: How the version stands against the champion.
    """
    parts = [
        _summary(settings, result, index, standing),
        _members(settings, result),
        _classes(result, positives),
        _limits(list(positives), settings.data.normal, result),
    ]
    return "\n\n".join(parts) + "\n"


def _summary(settings: Settings, result: Mapping[str, Any], index: str, standing: str) -> str:
    folds = len(settings.folds)
    pipes = ": defects of pipes in videos" if tuple(result["per_class"]) == QVPIPE_CLASSES else ""
    alone = f", of the defects alone {with_interval(result, 'map_defects')}"
    return (
        f"## {settings.mlflow.model}{pipes}\n\n"
        "Takes paths of videos or images; gives a row for each, with the probability of each "
        "class.\n\n"
        f"- **mAP {with_interval(result, 'map')}**{alone if settings.data.normal else ''}; "
        f"chance is {result['chance']:.3f}\n"
        f"{_decided(result, 'out of fold')}{_decided(result.get('test', {}), 'on the test set')}"
        f"- Judged on {result['videos']} videos, each by models that saw no clip of its "
        f"inspection ({folds} of {settings.splits.folds} folds)\n"
        f"- Data: `{settings.data.videos}`, SHA-256 of its index `{index[:16]}`\n"
        f"- Against the champion of its day: {standing}"
    )


def _decided(result: Mapping[str, Any], where: str) -> str:
    """Return a line on the decisions for the most probable class, where there are any."""
    if "accuracy" not in result:
        return ""
    sure = with_interval(result, "accuracy")
    return f"- **Accuracy {sure}**, mean F1 {result['f1']:.3f}, {where}\n"


def _members(settings: Settings, result: Mapping[str, Any]) -> str:
    measure = MEASURES[settings.task]
    lines = [
        "### Members\n",
        f"| member | input | backbone | pixels | epochs | lr | weight | {measure.title} |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, judged in result["members"].items():
        ends = f"{judged['weight']:.2f} | {judged[measure.key]:.3f} |"
        if name in settings.ensemble.zeroshot:
            source, which = settings.search.embedders[name], settings.search.frames
            lines.append(f"| {name} | {which} frames | {source} | - | not trained | - | {ends}")
            continue
        model, recipe = settings.models[name], settings.recipe(name)
        lines.append(
            f"| {name} | {model.input} | {model.backbone} | {model.size} | {recipe.epochs} | "
            f"{recipe.lr:g} | {ends}"
        )
    lines.append(
        f"\nLoss `{settings.loss}`, seed {settings.seed}. All settings are the parameters of the "
        "run that made this version."
    )
    return "\n".join(lines)


def _classes(result: Mapping[str, Any], positives: Mapping[str, int]) -> str:
    lines = ["### Classes\n", "| class | | positive videos | AP |", "|---|---|---|---|"]
    for name, precision in result["per_class"].items():
        shown = "-" if precision is None else f"{precision:.3f}"
        lines.append(f"| {name} | {QVPIPE_MEANINGS.get(name, '')} | {positives[name]} | {shown} |")
    return "\n".join(lines)


def _limits(classes: list[str], normal: str | None, result: Mapping[str, Any]) -> str:
    lines = [
        "### Limits\n",
        "- The epoch that is best in validation is the one that is kept, which favours every "
        "number out of fold a little.",
        "- How far its probabilities can be trusted: `pictures/reliability.png` of the run.",
    ]
    unknown = [name for name, precision in result["per_class"].items() if precision is None]
    if unknown:
        lines.append(
            f"- Nothing is known of {', '.join(unknown)}: no video that has it was judged."
        )
    if tuple(classes) == QVPIPE_CLASSES:
        lines += [
            f"- In QV-Pipe every normal video has a name of one to four digits and seems to come "
            f"from another source, so the average precision of {normal or 'ZC'} may say more about "
            "the source than about pipes. The mAP of the defects leaves it out.",
            "- QV-Pipe's videos and labels are CC BY-NC-SA, behind a signed form: a model that has "
            "learned from them is for non-commercial use. The rendered demo videos carry no such "
            "condition.",
        ]
    return "\n".join(lines)
