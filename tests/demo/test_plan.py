import re
from collections import Counter, defaultdict

import pytest

from qvpipe.config import QVPIPE_CLASSES
from qvpipe.demo.plan import Clip, plan_clips


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return plan_clips(150, 0)


def count(clips: list[Clip]) -> Counter[str]:
    return Counter(code for clip in clips for code in clip.codes)


def test_has_the_wanted_number_of_clips() -> None:
    for videos in (1, 2, 5, 12, 17, 40, 150, 400):
        assert len(plan_clips(videos, 3)) == videos


def test_frequencies_have_a_long_tail(clips: list[Clip]) -> None:
    found = count(clips)
    assert 0.22 < found["ZC"] / 150 < 0.31
    assert found["CJ"] > found["CK"] > found["ZW"] > found["SG"] >= found["QF"]
    assert found["CJ"] >= 5 * found["SL"]


def test_every_class_stands_in_five_inspections(clips: list[Clip]) -> None:
    inspections = defaultdict(set)
    for clip in clips:
        for code in clip.codes:
            inspections[code].add(clip.inspection)
    assert {code: len(found) for code, found in inspections.items() if len(found) < 5} == {}
    assert set(inspections) == set(QVPIPE_CLASSES)


@pytest.mark.parametrize("videos", [20, 40, 90])
def test_small_sets_hold_every_class(videos: int) -> None:
    assert set(count(plan_clips(videos, 1))) == set(QVPIPE_CLASSES)


def test_normal_pipes_have_no_other_label(clips: list[Clip]) -> None:
    assert all(clip.codes == ("ZC",) for clip in clips if "ZC" in clip.codes)


def test_clips_have_one_to_five_labels(clips: list[Clip]) -> None:
    lengths = Counter(len(clip.codes) for clip in clips)
    assert set(lengths) <= {1, 2, 3, 4, 5}
    assert lengths[1] > lengths[2] > lengths[3] > lengths[5] >= 1
    assert all(len(set(clip.codes)) == len(clip.codes) for clip in clips)


def test_labels_are_indices_in_official_order(clips: list[Clip]) -> None:
    for clip in clips:
        assert [QVPIPE_CLASSES[label] for label in clip.labels] == list(clip.codes)
        assert clip.labels == sorted(clip.labels)


def test_names_look_like_those_of_the_data_set(clips: list[Clip]) -> None:
    for clip in clips:
        normal = re.fullmatch(r"\d{1,4}", clip.video)
        defect = re.fullmatch(r"d\d{5}|\d{5}_\d{1,2}", clip.video)
        assert bool(normal) == (clip.codes == ("ZC",))
        assert normal or defect
    assert len({clip.video for clip in clips}) == 150


def test_clips_with_one_stem_show_one_pipe_with_nearly_one_label_set(clips: list[Clip]) -> None:
    stems = defaultdict(list)
    for clip in clips:
        if "_" in clip.video:
            stems[clip.video.rsplit("_", 1)[0]].append(clip)
    groups = [group for group in stems.values() if len(group) > 1]
    assert 0.04 < sum(map(len, groups)) / 150 < 0.1
    for group in groups:
        assert len(group) <= 4
        assert len({clip.inspection for clip in group}) == 1
        widest = max((set(clip.codes) for clip in group), key=len)
        assert all(set(clip.codes) <= widest for clip in group)
    inspections = Counter(clip.inspection for clip in clips)
    assert sum(1 for n in inspections.values() if n > 1) == len(groups)


def test_most_files_are_h264_in_mp4_and_some_are_not(clips: list[Clip]) -> None:
    endings = Counter(clip.name.rsplit(".", 1)[1] for clip in clips)
    assert endings["mp4"] > 0.85 * 150
    assert {"avi", "mpeg", "mkv", "mov"} <= set(endings)


def test_a_seed_gives_one_set_and_another_seed_another() -> None:
    assert plan_clips(30, 5) == plan_clips(30, 5)
    assert plan_clips(30, 5) != plan_clips(30, 6)
