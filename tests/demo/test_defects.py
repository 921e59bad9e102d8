import numpy as np
import pytest

from qvpipe.config import QVPIPE_CLASSES
from qvpipe.demo import clip as clip_module
from qvpipe.demo.clip import stage_clip
from qvpipe.demo.defects import DEFECTS
from qvpipe.demo.encode import FORMATS
from qvpipe.demo.noise import Floats, Rng
from qvpipe.demo.picture import Renderer
from qvpipe.demo.plan import Clip
from qvpipe.demo.scene import Scene
from qvpipe.demo.truth import boxes_of


def clip_with(*codes: str, index: int = 3) -> Clip:
    return Clip(index, "d10000.mp4", codes, 7, 6.0, 384, 288, FORMATS[0])


def renderer_of(clip: Clip) -> Renderer:
    return Renderer(stage_clip(clip, 0), clip.width, clip.height)


def test_there_is_a_defect_for_every_class_but_the_normal_one() -> None:
    assert set(DEFECTS) == set(QVPIPE_CLASSES) - {"ZC"}


@pytest.mark.parametrize("code", DEFECTS)
def test_a_defect_is_in_view_for_a_part_of_its_clip(code: str) -> None:
    seen = boxes_of(renderer_of(clip_with(code)))
    assert 0.15 * 30 <= len(seen) <= 0.75 * 30
    assert {visible.code for visible in seen} == {code}
    largest = max((v.x1 - v.x0) * (v.y1 - v.y0) for v in seen)
    assert largest > 0.05 * 384 * 288


def test_five_defects_fit_into_one_clip() -> None:
    codes = ("CJ", "SG", "BX", "CQ", "TL")
    assert {v.code for v in boxes_of(renderer_of(clip_with(*codes)))} == set(codes)


def leave_out(scene: Scene, rng: Rng, z: float, strength: float) -> Floats:
    return np.zeros((1, 3), np.float32)


@pytest.mark.parametrize("code", DEFECTS)
def test_a_defect_changes_the_picture_most_inside_its_box(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer = renderer_of(clip_with(code))
    best = max(boxes_of(renderer), key=lambda v: (v.x1 - v.x0) * (v.y1 - v.y0))
    monkeypatch.setitem(vars(clip_module), "DEFECTS", {code: leave_out})
    sound = renderer_of(clip_with(code))
    number = round(best.time_s * 25)
    change = np.abs(renderer.frame(number).astype(int) - sound.frame(number)).mean(axis=2)
    inside = np.zeros(change.shape, bool)
    inside[round(best.y0) : round(best.y1), round(best.x0) : round(best.x1)] = True
    inside[:24] = inside[-24:] = False
    assert change[inside].mean() > 8
    if not inside[24:-24].all():
        assert change[inside].mean() > change[24:-24][~inside[24:-24]].mean()


def test_a_normal_pipe_has_nothing_to_see() -> None:
    assert boxes_of(renderer_of(clip_with("ZC"))) == []


def test_a_camera_that_stands_still_repeats_its_picture_but_for_the_noise() -> None:
    renderer = renderer_of(clip_with("ZC", index=5))
    z = renderer.take.journey.z
    still = np.flatnonzero(np.diff(z) == 0)
    assert len(still) > 3
    first, second = (renderer.frame(int(still[0]) + k).astype(int) for k in (0, 1))
    assert np.abs(first - second).mean() < 8
