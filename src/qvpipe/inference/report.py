"""What was found in videos, as one HTML file that needs nothing else."""

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup
from sklearn.metrics import precision_recall_curve, precision_recall_fscore_support

from qvpipe.config import QVPIPE_MEANINGS
from qvpipe.errors import QvpipeError
from qvpipe.learning.metrics import Floats, Targets, average_precisions
from qvpipe.learning.tasks import Name
from qvpipe.results.page import Picture, environment
from qvpipe.video.labels import Labels

if TYPE_CHECKING:
    from qvpipe.config import Settings
    from qvpipe.inference.predictor import Predictor

TEMPLATES = Path(__file__).parent / "templates"

SHOWN_FROM = 0.05
"""Classes below their threshold are shown with a bar from this probability on."""

SUPERIMAGE_SIDE = 384
"""Pixels; with `MOMENT_WIDTH` and `MANY` it keeps 500 videos well below 60 MB."""

MOMENT_WIDTH = 320

MANY = 200
"""From this many videos on, a report shows one moment of each class instead of three."""

MOST_WRONG = 60
"""Misclassified items that are shown."""

CURVE_POINTS = 80
"""A precision-recall curve is drawn through at most this many points."""

Outcome = Literal["defects", "normal", "nothing", "failed"]


@dataclass(frozen=True)
class Moment:
    """When and where a class is best seen."""

    time_s: float
    """Seconds since the first picture."""
    frame: int
    """Which picture of the video it is, from 0."""
    picture: Picture
    """The frame with the place marked."""


@dataclass(frozen=True)
class ClassResult:
    """What the model says of one class in one video."""

    name: str
    probability: float
    """Calibrated, from 0 to 1."""
    threshold: float | None
    """From this probability on the class counts as found; None where the most probable one does."""
    found: bool
    """Whether it is among the video's labels, the rule for the normal class applied."""
    moments: tuple[Moment, ...] = ()
    """The best first."""


@dataclass(frozen=True)
class VideoResult:
    """What the model says of one video, or why it says nothing."""

    video: str
    """Path of the file."""
    classes: tuple[ClassResult, ...] = ()
    """In the model's order; empty where the video failed."""
    error: str = ""
    """Why it failed; empty where it didn't."""
    duration_s: float = 0.0
    superimage: Picture | None = None
    tiles: int = 0
    """Frames on the super-image."""

    @property
    def file(self) -> str:
        """The file's name without its folder."""
        return Path(self.video).name

    @property
    def found(self) -> tuple[ClassResult, ...]:
        """The classes that were found, the most probable first."""
        return tuple(result for result in self.ranked if result.found)

    @property
    def ranked(self) -> tuple[ClassResult, ...]:
        """All classes: those that were found, then the others, the most probable first."""
        return tuple(
            sorted(self.classes, key=lambda result: (not result.found, -result.probability))
        )


@dataclass(frozen=True)
class ClassAgreement:
    """How one class agrees with the labels."""

    name: str
    positives: int
    """Videos that show it."""
    precision: float
    recall: float
    f1: float
    ap: float | None
    """Average precision; None where no video shows it."""
    curve: tuple[tuple[float, float], ...]
    """Recall and precision of its staircase, recall rising."""


@dataclass(frozen=True)
class Wrong:
    """An item of exactly one class that was taken for another one."""

    result: VideoResult
    label: str
    given: str


@dataclass(frozen=True)
class Agreement:
    """How the results agree with the labels."""

    videos: int
    """Videos that have labels and did not fail."""
    unlabelled: int
    """Videos that were left out because they have no labels."""
    classes: tuple[ClassAgreement, ...]
    mean_ap: float
    """Over the classes that any video shows."""
    confusion: tuple[tuple[int, ...], ...]
    """`[classes, classes + 1]`: videos that show the row's class and were given the column's; in
    the last column those that were given none, which there is not where each is given one."""
    accuracy: float | None = None
    """Share of the items that were given their class; None where they may have several."""
    wrong: tuple[Wrong, ...] = ()
    """Those that were not, the surest first; none where they may have several."""

    @property
    def mean_f1(self) -> float:
        """The mean F1 over the classes that any video shows."""
        shown = [judged.f1 for judged in self.classes if judged.positives]
        return float(np.mean(shown))


@dataclass(frozen=True)
class Report:
    """All that stands in a report."""

    videos: Sequence[VideoResult]
    classes: Sequence[str]
    normal: str | None
    """The class that is no defect."""
    made: datetime
    card: Mapping[str, str]
    """What is known of the model: a title for each value, the version first."""
    names: Mapping[str, str]
    """What each class is called for people."""
    agreement: Agreement | None = None
    validation: Mapping[str, str] = field(default_factory=dict)
    """Pictures of how the model was judged: name to address (`data:`)."""

    def outcome(self, result: VideoResult) -> Outcome:
        """Return what became of a video."""
        if result.error:
            return "failed"
        if not result.found:
            return "nothing"
        return "defects" if any(c.name != self.normal for c in result.found) else "normal"

    @property
    def item(self) -> str:
        """What was examined: `image` where all that could be read stand still, else `video`."""
        read = [result for result in self.videos if not result.error]
        return "image" if read and not any(result.duration_s for result in read) else "video"

    @property
    def outcomes(self) -> Counter[str]:
        """How many videos came to each outcome."""
        return Counter(self.outcome(result) for result in self.videos)

    @property
    def counts(self) -> list[tuple[str, int]]:
        """In how many videos each class was found, the most frequent first, without zeros."""
        return Counter(c.name for result in self.videos for c in result.found).most_common()


def render(report: Report) -> str:
    """Return a report as one HTML page that asks for nothing outside itself.

    Its own content security policy forbids every request and every script but its own, so a file
    name that holds HTML stays a name even if it should ever slip through.
    """
    style, script = _text("report.css") + stylesheet(), _text("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        _environment(report.names)
        .get_template("report.html")
        .render(report=report, style=Markup(style), script=Markup(script), script_hash=digest)
    )


def render_video(result: VideoResult, names: Mapping[str, str]) -> str:
    """Return the part of a report that speaks of one video, as an HTML fragment.

    It wants `stylesheet()` on the page around it.
    """
    return _environment(names).get_template("video.html").render(video=result)


def stylesheet() -> str:
    """Return the CSS of `render_video`; all of it lies below classes that start with `qv-`."""
    return _text("video.css")


def moments_of_each(videos: int) -> int:
    """Return how many moments of each class a report of so many videos shows."""
    return 1 if videos >= MANY else 3


def model_facts(predictor: "Predictor") -> dict[str, str]:
    """Return what a model tells of itself: a title for each value."""
    rules, settings = predictor.rules, predictor.settings
    return {
        "Members": ", ".join(
            f"{member} ({_what(settings, member)}, weight {weight:.2f})"
            for member, weight in rules["members"].items()
        ),
        "Folds": f"{len(rules['folds'])} networks of each member",
        "Classes": str(len(predictor.classes)),
    }


def _what(settings: "Settings", member: str) -> str:
    """Return what a member is made of."""
    if member in settings.ensemble.zeroshot:
        return f"{settings.search.embedders[member]}, not trained"
    return settings.models[member].backbone


def agreement(
    videos: Sequence[VideoResult],
    classes: Sequence[str],
    labels: Labels,
    task: Name = "multilabel",
) -> Agreement:
    """Compare results with labels.

    Args:
        videos: The results; those that failed and those without labels are left out.
        classes: The names that the labels' indices count through.
        labels: Path or name of each file to indices of classes.
        task: Whether a video has exactly one class.

    Raises:
        QvpipeError: If no video is left.
    """
    read = [video for video in videos if not video.error]
    known = {v.video: labels.get(v.video, labels.get(v.file)) for v in read}
    judged = [video for video in read if known[video.video] is not None]
    if not judged:
        raise QvpipeError(
            "the label file names none of the videos that could be read; its keys must be file "
            "names such as pipe1.mp4"
        )
    truth = np.array(
        [[i in (known[v.video] or ()) for i in range(len(classes))] for v in judged], int
    )
    scores = np.array([[c.probability for c in video.classes] for video in judged])
    given = np.array([[c.found for c in video.classes] for video in judged], int)
    precisions = average_precisions(truth, scores)
    at_threshold = precision_recall_fscore_support(truth, given, average=None, zero_division=0)
    right = truth.argmax(axis=1) == given.argmax(axis=1)
    surest = np.argsort(-scores.max(axis=1), kind="stable")
    wrong = [
        Wrong(judged[i], classes[truth[i].argmax()], classes[given[i].argmax()])
        for i in surest
        if not right[i]
    ]
    single = task == "multiclass"
    columns = given if single else np.column_stack([given, given.sum(axis=1) == 0])
    return Agreement(
        videos=len(judged),
        unlabelled=len(read) - len(judged),
        classes=tuple(
            ClassAgreement(
                name=name,
                positives=int(truth[:, i].sum()),
                precision=float(at_threshold[0][i]),
                recall=float(at_threshold[1][i]),
                f1=float(at_threshold[2][i]),
                ap=None if np.isnan(precisions[i]) else float(precisions[i]),
                curve=_curve(truth[:, i], scores[:, i]),
            )
            for i, name in enumerate(classes)
        ),
        mean_ap=float(np.nanmean(precisions)) if truth.any() else 0.0,
        confusion=tuple(tuple(map(int, row)) for row in truth.T @ columns),
        accuracy=float(right.mean()) if single else None,
        wrong=tuple(wrong[:MOST_WRONG]) if single else (),
    )


def picture_addresses(pictures: Mapping[str, bytes]) -> dict[str, str]:
    """Return pictures as addresses, so that they can stand inside the file.

    Args:
        pictures: File name, ending in `.png` or `.jpg`, to the file's bytes.

    Returns:
        The names without their endings, to the addresses.
    """
    kinds = {".png": "image/png", ".jpg": "image/jpeg"}
    paths = {Path(name): base64.b64encode(content).decode() for name, content in pictures.items()}
    return {
        path.stem: f"data:{kinds[path.suffix]};base64,{content}" for path, content in paths.items()
    }


def read_names(path: Path, classes: Sequence[str]) -> dict[str, str]:
    """Read what classes are to be called from a CSV with the columns `class` and `name`.

    Raises:
        QvpipeError: If the file cannot be read, has other columns, or names a class that the
            model doesn't know.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise QvpipeError(f"{path} cannot be read ({error}); see `qvpipe report --help`") from None
    if not {"class", "name"} <= set(table.columns):
        raise QvpipeError(f"{path} must have the columns class and name, such as CJ,deposit")
    names = dict(zip(table["class"], table["name"], strict=True))
    for unknown in names.keys() - set(classes):
        raise QvpipeError(
            f"{path} names the class {unknown!r}, which the model doesn't know; it knows "
            + ", ".join(classes)
        )
    return class_names(classes) | names


def class_names(classes: Sequence[str]) -> dict[str, str]:
    """Return what classes are called in English; one that isn't of QV-Pipe has its own name."""
    return {name: QVPIPE_MEANINGS.get(name, "") for name in classes}


def _environment(names: Mapping[str, str]) -> jinja2.Environment:
    made = environment(TEMPLATES)
    made.filters["percent"] = lambda share: f"{100 * share:.0f}"

    def label(name: str) -> Markup:
        return Markup('<span class="qv-code">{}</span> {}').format(name, names.get(name, ""))

    made.globals.update(label=label, shown_from=SHOWN_FROM)
    return made


def _text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _curve(truth: Targets, scores: Floats) -> tuple[tuple[float, float], ...]:
    """Return recall and precision over falling thresholds; none where nothing is positive.

    The curve is a staircase, and average precision is the area below it: up to each recall it has
    that point's precision.
    """
    if not truth.any():
        return ()
    precision, recall, _ = precision_recall_curve(truth, scores)
    rises = np.flatnonzero(np.diff(recall))[::-1]
    chosen = rises[np.unique(np.linspace(0, len(rises) - 1, CURVE_POINTS).round().astype(int))]
    return tuple((float(recall[i]), float(precision[i])) for i in chosen)
