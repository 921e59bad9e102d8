from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qvpipe.errors import QvpipeError
from qvpipe.inference import predictor
from qvpipe.inference.intake import Seen, see
from qvpipe.inference.predictor import Prediction, Predictor, batched
from qvpipe.learning.calibration import calibrate, from_json
from tests.inference.conftest import CLASSES, RULES, SETTINGS


@pytest.fixture(scope="module")
def seen(videos: Path) -> list[tuple[str, Seen]]:
    """What the members see of three videos and of one that is broken."""
    return [(p.name, see(str(p), SETTINGS, SETTINGS.members)) for p in sorted(videos.iterdir())]


def numbers(predictions: Sequence[Prediction]) -> np.ndarray:
    return np.array([list(p.probabilities.values()) for p in predictions if not p.error])


def test_every_video_is_predicted_in_order_and_a_broken_one_is_no_guess(
    ensemble: Predictor, seen: list[tuple[str, Seen]]
) -> None:
    for batch_size in (1, 3, 16):
        found = list(ensemble.predict(seen, ensemble.options(batch_size=batch_size)))
        assert [p.video for p in found] == ["0.mp4", "1.mp4", "2.mp4", "broken.mp4"]
        assert [p.status for p in found] == ["ok", "ok", "ok", "failed"]
        assert found[3] == Prediction("broken.mp4", "broken.mp4 is empty (0 bytes)", {}, ())
        assert numbers(found) == pytest.approx(numbers(list(ensemble.predict(seen))), abs=1e-5)


def test_labels_are_the_classes_that_reach_their_thresholds(
    ensemble: Predictor, seen: list[tuple[str, Seen]]
) -> None:
    (first, *_) = ensemble.predict(seen)
    for name in CLASSES:
        reached = first.probabilities[name] >= RULES["thresholds"][name]  # type: ignore[index]
        assert (name in first.labels) == reached
    high = ensemble.options(thresholds={"roots": 1.0})
    assert "roots" in first.labels
    assert "roots" not in next(iter(ensemble.predict(seen, high))).labels


def test_a_probable_normal_stands_alone_in_the_labels_too(
    ensemble: Predictor, seen: list[tuple[str, Seen]]
) -> None:
    strict = replace(ensemble, rules={**ensemble.rules, "normal_above": 0.0})
    (first, *_) = strict.predict(seen, strict.options({"normal": 0.0, "crack": 0.0}))
    assert first.probabilities["normal"] > 0
    assert (first.probabilities["crack"], first.probabilities["roots"]) == (0, 0)
    assert first.labels == ("normal",)


def test_probabilities_are_calibrated(ensemble: Predictor, seen: list[tuple[str, Seen]]) -> None:
    raw = replace(ensemble, rules={**ensemble.rules, "calibration": []})
    maps = from_json(RULES["calibration"])  # type: ignore[arg-type]
    expected = calibrate(numbers(list(raw.predict(seen))), maps)
    assert numbers(list(ensemble.predict(seen))) == pytest.approx(expected, abs=1e-6)


def test_members_are_asked_alone(ensemble: Predictor, seen: list[tuple[str, Seen]]) -> None:
    raw = replace(ensemble, rules={**ensemble.rules, "calibration": [], "normal_above": None})
    alone = {
        member: numbers(list(raw.predict(seen, raw.options(members=[member]))))
        for member in SETTINGS.members
    }
    both = numbers(list(raw.predict(seen)))
    assert both == pytest.approx(0.25 * alone["still"] + 0.75 * alone["grid"], abs=1e-6)


def test_mirrored_pictures_are_averaged(ensemble: Predictor, seen: list[tuple[str, Seen]]) -> None:
    plain, tta = ensemble.options(members=["grid"]), ensemble.options(tta=True, members=["grid"])
    name, views = seen[0]
    assert isinstance(views, dict)
    mirrored = [(name, {"grid": views["grid"][:, :, ::-1].copy()})]
    once = numbers(list(ensemble.predict([seen[0]], plain)))
    both = numbers(list(ensemble.predict([seen[0]], tta)))
    assert not np.allclose(once, both, atol=1e-7)
    assert both == pytest.approx(numbers(list(ensemble.predict(mirrored, tta))), abs=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"thresholds": {"crak": 0.5}}, "no class 'crak'.*did you mean 'crack'"),
        ({"thresholds": {"crack": 2.0}}, "threshold of crack is 2.0; allowed is 0 to 1"),
        ({"members": ["gird"]}, "no member 'gird', only still, grid; did you mean 'grid'"),
        ({"members": []}, "at least one member"),
        ({"batch_size": 0}, "batch_size is 1 or more"),
    ],
)
def test_a_wrong_option_is_one_sentence(
    ensemble: Predictor, wrong: dict[str, object], message: str
) -> None:
    with pytest.raises(QvpipeError, match=message):
        ensemble.options(**wrong)  # type: ignore[arg-type]


def test_items_come_in_lists() -> None:
    assert list(batched(range(5), 2)) == [[0, 1], [2, 3], [4]]


def test_the_next_videos_are_read_while_the_networks_work(
    ensemble: Predictor, seen: list[tuple[str, Seen]]
) -> None:
    given: list[str] = []

    def watched() -> Iterator[tuple[str, Seen]]:
        for item in seen:
            given.append(item[0])
            yield item

    found = ensemble.predict(watched(), ensemble.options(batch_size=1))
    next(found)
    assert given == ["0.mp4", "1.mp4"]


def test_weights_are_never_a_pickle(bundle: Path, tmp_path: Path) -> None:
    import pickle
    import shutil

    class Hostile:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "ran",)

    copy = shutil.copytree(bundle, tmp_path / "bundle")
    (copy / "grid" / "fold0" / "model.safetensors").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(QvpipeError, match="weights of grid in fold0 are missing, damaged or no"):
        predictor.load(copy, "cpu")
    assert not (tmp_path / "ran").exists()
