from dataclasses import replace

from qvpipe.config import QVPIPE_CLASSES, Settings, parse
from qvpipe.results.card import model_card
from tests.conftest import REPOSITORY

SETTINGS = parse((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))


def card(classes: tuple[str, ...], settings: Settings = SETTINGS, /, **more: object) -> str:
    result = {
        **more,
        "map": 0.61,
        "map_defects": 0.6,
        "chance": 0.11,
        "videos": 150,
        "interval": {
            "map": {"low": 0.55, "high": 0.66},
            "map_defects": {"low": 0.54, "high": 0.65},
            "accuracy": {"low": 0.88, "high": 0.93},
        },
        "per_class": {name: None if name == classes[-1] else 0.5 for name in classes},
        "members": {"superimage": {"weight": 1.0, "map": 0.58}},
    }
    return model_card(settings, result, dict.fromkeys(classes, 7), "a" * 64, "the first version")


def test_the_card_says_what_how_good_and_on_what() -> None:
    text = card(QVPIPE_CLASSES)
    assert "mAP 0.610 (95 % interval 0.550 to 0.660)" in text
    assert "Judged on 150 videos" in text
    assert f"`{'a' * 16}`" in text
    assert "| superimage | superimage | tf_efficientnet_lite0 | 192 |" in text
    assert "| CJ | deposit | 7 | 0.500 |" in text
    assert "Nothing is known of TL" in text
    assert "CC BY-NC-SA" in text


def test_decisions_and_the_test_set_are_said_where_there_are_any() -> None:
    assert "Accuracy" not in card(QVPIPE_CLASSES)
    decided = {"accuracy": 0.91, "f1": 0.9}
    text = card(("a", "b"), **decided, test={"accuracy": 0.8, "f1": 0.75})
    assert "**Accuracy 0.910 (95 % interval 0.880 to 0.930)**, mean F1 0.900, out of fold" in text
    assert "**Accuracy 0.800**, mean F1 0.750, on the test set" in text
    assert "pipes" not in text


def test_what_holds_of_qvpipe_alone_is_said_of_qvpipe_alone() -> None:
    assert "QV-Pipe" not in card(("normal", "crack"))


def test_defects_are_told_apart_only_where_there_is_a_normal_class() -> None:
    assert "of the defects alone 0.600" in card(QVPIPE_CLASSES)
    plain = replace(SETTINGS, data=replace(SETTINGS.data, normal=None))
    text = card(("a", "b"), plain)
    assert "defects" not in text
    assert "(95 % interval 0.550 to 0.660)**; chance is 0.110" in text
