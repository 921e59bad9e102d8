"""Videos to what a report tells of them: processes read them, the networks predict and explain."""

from collections.abc import Iterator, Sequence
from functools import partial

from qvpipe.compute.pool import each
from qvpipe.config import ComputeSettings
from qvpipe.inference.explain import explain_prediction
from qvpipe.inference.intake import Looked, look, lost
from qvpipe.inference.pictures import draw
from qvpipe.inference.predictor import Prediction, Predictor, batched
from qvpipe.inference.report import (
    MOMENT_WIDTH,
    SUPERIMAGE_SIDE,
    ClassResult,
    Moment,
    VideoResult,
)
from qvpipe.results.page import Picture
from qvpipe.video.reader import VideoError

BATCH = 8
"""Videos that are predicted together; all their frames lie in memory."""


def examine(predictor: Predictor, video: str, moments: int) -> VideoResult:
    """Return what a model says of a video file, or why it says nothing.

    Args:
        predictor: The model.
        video: Path of the file.
        moments: How many moments of each class are wanted at most.
    """
    (result,) = _results(predictor, [(video, look(video, predictor.settings))], moments)
    return result


def examine_all(
    predictor: Predictor, videos: Sequence[str], moments: int, compute: ComputeSettings
) -> Iterator[VideoResult]:
    """Yield what `examine` returns of each video, in their order.

    Args:
        predictor: The model.
        videos: Paths of the files.
        moments: How many moments of each class are wanted at most.
        compute: Number of processes that read the next videos meanwhile.
    """
    settings = predictor.settings
    looked = each(
        partial(look, settings=settings), videos, compute, "report",
        timeout_s=settings.frames.timeout_s, lost=lost, ahead=2,
    )  # fmt: skip
    for batch in batched(zip(videos, looked, strict=True), BATCH):
        yield from _results(predictor, batch, moments)


def _results(
    predictor: Predictor, looked: Sequence[tuple[str, Looked | VideoError]], moments: int
) -> Iterator[VideoResult]:
    """Yield what a model says of videos that go through its networks together."""
    seen = [(video, one.views if isinstance(one, Looked) else one) for video, one in looked]
    for (video, one), prediction in zip(looked, predictor.predict(seen), strict=True):
        if isinstance(one, VideoError):
            yield VideoResult(video, error=str(one))
        else:
            yield _result(predictor, one, prediction, moments)


def _result(
    predictor: Predictor, looked: Looked, prediction: Prediction, moments: int
) -> VideoResult:
    """Return a prediction with the pictures that explain it."""
    explanation = explain_prediction(
        predictor, looked.examined, looked.views, prediction, moments=moments
    )
    seen = {
        seeing.name: tuple(
            Moment(moment.time_s, moment.index, Picture.of(draw(moment), MOMENT_WIDTH))
            for moment in seeing.moments
        )
        for seeing in explanation.seeings
    }
    return VideoResult(
        prediction.video,
        classes=tuple(
            ClassResult(
                name=name,
                probability=probability,
                threshold=predictor.thresholds.get(name),
                found=name in prediction.labels,
                moments=seen.get(name, ()),
            )
            for name, probability in prediction.probabilities.items()
        ),
        duration_s=looked.duration_s,
        superimage=Picture.of(explanation.superimage, SUPERIMAGE_SIDE),
        tiles=predictor.settings.superimages.grid**2,
    )
