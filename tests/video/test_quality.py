import cv2
import imagehash
import numpy as np
import pandas as pd
import pytest
from PIL import Image as PillowImage

from qvpipe.config import CleanSettings
from qvpipe.video.images import Image, resize
from qvpipe.video.quality import Facts, by_video, decide, facts, judge, phash, sharpness

SETTINGS = CleanSettings(blur_ratio=0.3, max_distance=4)
A, NEAR_A, B = "00000000000000ff", "00000000000000f0", "ffffffff00000000"


def texture(seed: int, side: int = 200) -> Image:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (10, 10, 3), dtype=np.uint8)
    return coarse.repeat(side // 10, axis=0).repeat(side // 10, axis=1)


def blurred(image: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 9), dtype=np.uint8)


def measured(frames: list[Image]) -> list[Facts]:
    return [facts(frame, 10 * i, 0.4 * i) for i, frame in enumerate(frames)]


def test_blur_lowers_sharpness() -> None:
    assert sharpness(blurred(texture(0))) < 0.3 * sharpness(texture(0))
    assert sharpness(np.full((50, 70, 3), 90, dtype=np.uint8)) == 0


def test_sharpness_hardly_depends_on_the_resolution() -> None:
    large = texture(0, 800)
    assert sharpness(large) == pytest.approx(sharpness(resize(large, 400, 400)), rel=0.2)


def test_hash_has_64_bits_and_sees_what_a_person_sees() -> None:
    assert len(phash(texture(0))) == 16
    brighter = np.clip(texture(0).astype(int) + 8, 0, 255).astype(np.uint8)
    assert (int(phash(texture(0)), 16) ^ int(phash(brighter), 16)).bit_count() <= 4
    assert (int(phash(texture(0)), 16) ^ int(phash(texture(1)), 16)).bit_count() > 10


def test_frames_are_judged_in_order() -> None:
    frames = [texture(0), texture(0), blurred(texture(3)), texture(1), texture(2)]
    rows = judge(measured(frames), SETTINGS)
    assert [row.dropped for row in rows] == ["", "duplicate", "blurred", "", ""]
    assert [row.position for row in rows] == [0, 1, 2, 3, 4]
    assert [row.index for row in rows] == [0, 10, 20, 30, 40]
    assert [row.time_s for row in rows] == pytest.approx([0, 0.4, 0.8, 1.2, 1.6])
    assert rows[0].sharpness == float(f"{sharpness(frames[0]):.4g}")
    assert rows[0].phash == rows[1].phash


def test_the_hash_is_that_of_imagehash() -> None:
    for seed in range(5):
        picture = texture(seed)
        assert phash(picture) == str(imagehash.phash(PillowImage.fromarray(picture)))


def test_of_frames_that_repeat_each_other_the_sharpest_stays() -> None:
    assert decide([8, 9, 7], [A, NEAR_A, A], SETTINGS) == ["duplicate", "", "duplicate"]
    assert decide([1, 10, 10], [A, A, B], SETTINGS) == ["duplicate", "", ""]
    assert decide([1, 10, 10], ["0f0f", A, B], SETTINGS) == ["blurred", "", ""]


def test_duplicates_are_those_of_kept_frames_anywhere() -> None:
    assert decide([9, 9, 9], [A, B, NEAR_A], SETTINGS) == ["", "", "duplicate"]
    # The third is near the second, which is not kept.
    chain = ["0", "f", "ff"]
    assert decide([9, 9, 9], chain, SETTINGS) == ["", "duplicate", ""]


@pytest.mark.parametrize(("distance", "verdict"), [(3, ""), (4, "duplicate"), (-1, "")])
def test_distance_is_the_most_that_still_repeats(distance: int, verdict: str) -> None:
    settings = CleanSettings(blur_ratio=0.3, max_distance=distance)
    assert decide([9, 9], [A, NEAR_A], settings) == ["", verdict]


def test_minus_one_keeps_even_equal_frames() -> None:
    assert decide([9, 9], [A, A], CleanSettings(max_distance=-1)) == ["", ""]


@pytest.mark.parametrize("sharpnesses", [[0, 0, 0], [5], [0, 0, 1], [1, 100, 100]])
def test_one_frame_is_always_kept(sharpnesses: list[float]) -> None:
    settings = CleanSettings(blur_ratio=1, max_distance=64)
    assert decide(sharpnesses, [A] * len(sharpnesses), settings).count("") == 1


def test_the_table_gives_the_judgements_back() -> None:
    rows = judge(measured([texture(0), texture(1)]), SETTINGS)
    table = pd.DataFrame([{"video": v, **vars(row)} for v in ("b", "a") for row in rows])
    assert by_video(table) == {"a": rows, "b": rows}
