from pathlib import Path

import pytest

from qvpipe.config import ComputeSettings
from qvpipe.inference.examine import examine, examine_all
from qvpipe.inference.intake import see
from qvpipe.inference.predictor import Predictor


def test_a_video_is_examined(ensemble: Predictor, videos: Path) -> None:
    result = examine(ensemble, str(videos / "0.mp4"), 2)
    (prediction,) = ensemble.predict(
        [("0", see(str(videos / "0.mp4"), ensemble.settings, ["still", "grid"]))]
    )
    assert {c.name: c.probability for c in result.classes} == prediction.probabilities
    assert {c.name for c in result.found} == set(prediction.labels) != set()
    assert [c.threshold for c in result.classes] == [0.6, 0.4, 0.0001]
    assert result.duration_s == pytest.approx(12 / 25)
    assert result.superimage is not None
    assert result.superimage.jpeg.startswith(b"\xff\xd8")
    moments = {c.name: c.moments for c in result.found}
    assert {len(seen) for name, seen in moments.items() if name != "normal"} == {2}
    assert all(0 <= m.time_s < result.duration_s for seen in moments.values() for m in seen)


def test_a_broken_video_is_a_result_with_a_reason(ensemble: Predictor, videos: Path) -> None:
    result = examine(ensemble, str(videos / "broken.mp4"), 2)
    assert result.error == "broken.mp4 is empty (0 bytes)"
    assert result.classes == ()


def test_many_are_examined_as_one_by_one(ensemble: Predictor, videos: Path) -> None:
    given = [str(videos / name) for name in ("2.mp4", "broken.mp4", "0.mp4", "absent.mp4", "1.mp4")]
    found = list(examine_all(ensemble, given, 2, ComputeSettings(workers=2)))
    assert [result.video for result in found] == given
    for result, video in zip(found, given, strict=True):
        alone = examine(ensemble, video, 2)
        assert (result.error, result.duration_s) == (alone.error, alone.duration_s)
        assert [c.probability for c in result.classes] == pytest.approx(
            [c.probability for c in alone.classes], abs=1e-6
        )
        assert result.superimage == alone.superimage
        assert [[m.frame for m in c.moments] for c in result.classes] == [
            [m.frame for m in c.moments] for c in alone.classes
        ]
