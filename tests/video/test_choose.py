from collections.abc import Sequence

import numpy as np
import pytest

from qvpipe.video.choose import choose, evenly
from qvpipe.video.quality import Dropped, Judgement


def frames(
    sharpness: Sequence[float],
    dropped: Sequence[Dropped] | None = None,
    times: Sequence[float] | None = None,
) -> list[Judgement]:
    count = len(sharpness)
    return [
        Judgement(
            position=i,
            index=10 * i,
            time_s=times[i] if times else 0.4 * i,
            sharpness=sharpness[i],
            phash="0",
            dropped=dropped[i] if dropped else "",
        )
        for i in range(count)
    ]


def test_each_stretch_gives_its_sharpest_frame() -> None:
    assert choose(frames([1, 9, 1, 1, 1, 9, 9, 1, 1]), 3) == [1, 5, 6]


def test_27_frames_are_three_for_each_of_nine() -> None:
    sharpness = [3.0] * 27
    for position in (2, 3, 7, 11, 12, 15, 20, 22, 24):
        sharpness[position] = 9
    assert choose(frames(sharpness), 9) == [2, 3, 7, 11, 12, 15, 20, 22, 24]


def test_what_was_dropped_gives_way_to_what_was_kept() -> None:
    assert choose(frames([9, 1, 9, 1], ["blurred", "", "duplicate", ""]), 2) == [1, 3]


def test_a_stretch_of_blurred_frames_is_no_hole() -> None:
    verdicts: list[Dropped] = ["", "", "blurred", "blurred", "", ""]
    assert choose(frames([5, 4, 1, 2, 5, 3], verdicts), 3) == [0, 3, 4]


def test_an_empty_stretch_takes_a_kept_frame_of_its_neighbour() -> None:
    verdicts: list[Dropped] = ["", "", "duplicate", "duplicate", "", ""]
    assert choose(frames([5, 4, 9, 9, 5, 3], verdicts), 3) == [0, 1, 4]


def test_the_nearest_stretch_with_one_to_spare_helps_out() -> None:
    verdicts: list[Dropped] = ["", "", "", "", "duplicate", "duplicate", "", ""]
    assert choose(frames([9, 8, 9, 1, 0, 0, 9, 2], verdicts), 4) == [0, 2, 6, 7]


def test_without_kept_frames_to_spare_the_sharpest_dropped_one_of_the_stretch() -> None:
    verdicts: list[Dropped] = ["", "blurred", "blurred", "blurred", "", "duplicate"]
    assert choose(frames([9, 1, 2, 3, 9, 7], verdicts), 3) == [0, 3, 4]
    verdicts = ["", "duplicate", "duplicate", "duplicate", "", "duplicate"]
    assert choose(frames([9, 1, 2, 3, 9, 7], verdicts), 3) == [0, 3, 4]


def test_a_gap_in_time_is_filled_from_beside_it() -> None:
    times = [0, 0.1, 0.2, 0.3, 9.8, 9.9, 10.0]
    chosen = choose(frames([1, 2, 3, 4, 5, 6, 7], times=times), 4)
    assert len(set(chosen)) == 4
    assert {3, 6} <= set(chosen)


def test_as_many_frames_as_wanted_are_all_chosen() -> None:
    assert choose(frames([1, 9, 1], ["blurred", "", "duplicate"]), 3) == [0, 1, 2]


@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_too_few_frames_are_repeated_in_order(count: int) -> None:
    chosen = choose(frames([1, 9], times=[0, 0.4]), count)
    assert len(chosen) == count
    assert chosen == sorted(chosen)
    if count > 1:
        assert set(chosen) == {0, 1}


def test_one_frame_is_repeated() -> None:
    assert choose(frames([5]), 9) == [0] * 9


def test_frames_of_one_instant() -> None:
    assert choose(frames([1, 2, 3, 4], times=[0, 0, 0, 0]), 2) == [1, 3]


def test_nothing_kept_at_all_still_gives_frames() -> None:
    assert choose(frames([1, 2, 3, 4], ["blurred"] * 4), 2) == [1, 3]


def test_any_video_gives_exactly_what_was_asked_for_and_duplicates_last() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        size, count = int(rng.integers(1, 40)), int(rng.integers(1, 20))
        kinds: list[Dropped] = ["", "blurred", "duplicate"]
        verdicts = [kinds[k] for k in rng.integers(0, 3, size)]
        times = np.sort(rng.random(size) * 20).tolist()
        chosen = choose(frames(rng.random(size).tolist(), verdicts, times), count)
        assert len(chosen) == count
        assert chosen == sorted(chosen)
        assert len(set(chosen)) == min(size, count)
        distinct = sum(verdicts[i] != "duplicate" for i in set(chosen))
        assert distinct >= min(count, verdicts.count(""))


@pytest.mark.parametrize(
    ("times", "count", "expected"),
    [
        ([0, 1, 2, 3], 4, [0, 1, 2, 3]),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8], 3, [1, 4, 7]),
        ([0, 1, 2], 6, [0, 0, 1, 1, 2, 2]),
        ([0, 0.1, 0.2, 0.3, 9], 3, [3, 3, 4]),
        ([5], 3, [0, 0, 0]),
        ([0, 0], 4, [0, 0, 1, 1]),
    ],
)
def test_frames_of_a_clip_are_evenly_spaced_in_time(
    times: Sequence[float], count: int, expected: Sequence[int]
) -> None:
    assert evenly(times, count) == expected
