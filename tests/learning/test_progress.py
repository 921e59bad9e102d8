import pytest

from qvpipe.learning.fit import Epoch
from qvpipe.learning.progress import Bar


def epoch(number: int) -> Epoch:
    return Epoch(
        number,
        loss=0.25,
        map=0.5,
        map_raw=0.5,
        map_ema=0.4,
        lr=0.1,
        items_per_s=12.34,
        seconds=60,
        score=(0.5, 0.5),
    )


def test_a_bar_says_how_far_it_is_and_what_all_trainings_still_need(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Bar("train m fold 0", items=10, epochs=4, elsewhere=57) as bar:
        bar.step(6)
        bar.step(4)
        bar.epoch(epoch(1))
    shown = capsys.readouterr().err.split("\r")[-1]
    assert shown.startswith("train m fold 0:  25%")
    assert "10/40" in shown
    # Three epochs here and 57 elsewhere, of a minute each.
    for told in ("epoch=1", "loss=0.2500", "mAP=0.500", "speed=12.3/s", "all_left=1:00:00"):
        assert told in shown


def test_epochs_before_a_kill_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar("train m fold 0", items=10, epochs=4, elsewhere=0) as bar:
        bar.epoch(epoch(1))
        bar.epoch(epoch(2))
    assert "20/40" in capsys.readouterr().err.split("\r")[-1]
