from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from qvpipe.config import CleanSettings, FramesSettings
from qvpipe.video.images import resize
from qvpipe.video.quality import Facts, Judgement, judge
from qvpipe.video.reader import sample_frames
from qvpipe.video.store import pack, unpack
from qvpipe.video.twins import Twins, close_pairs, find_twins

Render = Callable[..., Path]
SETTINGS = CleanSettings()
FLAT = "8000000000000000"


def random_hashes(count: int, seed: int) -> list[int]:
    """Return hashes of which half the bits are set, as of pictures."""
    rng = np.random.default_rng(seed)
    bits = np.zeros((count, 64), dtype=np.uint8)
    bits[:, :32] = 1
    packed = np.packbits(rng.permuted(bits, axis=1), axis=1)
    return [int.from_bytes(row.tobytes(), "big") for row in packed]


def video(hashes: Sequence[int]) -> list[Judgement]:
    return [Judgement(i, 0.4 * i, 9.0, f"{h:016x}", i, "") for i, h in enumerate(hashes)]


def looked_at(path: Path) -> list[Judgement]:
    stored: Sequence[Facts] = unpack(
        pack(sample_frames(path, 27), FramesSettings(size=96), content="")
    ).facts
    return judge(stored, SETTINGS)


def remake(source: Path, path: Path, first: int = 0, scale: float = 1, **options: str) -> Path:
    """Encode a clip anew, from the picture `first` on."""
    with av.open(source) as container:
        pictures = [
            np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            for frame in container.decode(video=0)
        ]
    height, width = (round(scale * side) // 2 * 2 for side in pictures[0].shape[:2])
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options=dict(options))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures[first:]:
            scaled = resize(picture, width, height)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scaled, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("distance", [0, 1, 4, 7, 12])
def test_close_pairs_are_those_of_comparing_all(distance: int) -> None:
    rng = np.random.default_rng(distance)
    hashes = np.array(random_hashes(60, 1) * 3, dtype=np.uint64)
    for i in range(60, 180):
        for bit in rng.permutation(64)[: rng.integers(0, 14)]:
            hashes[i] ^= np.uint64(1 << int(bit))
    expected = {
        (i, j)
        for i in range(180)
        for j in range(i + 1, 180)
        if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= distance
    }
    first, second = close_pairs(hashes, distance)
    found = list(zip(first.tolist(), second.tolist(), strict=True))
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_no_distance_and_no_hashes_give_no_pairs() -> None:
    hashes = np.array([5, 5], dtype=np.uint64)
    assert len(close_pairs(hashes, -1)[0]) == 0
    assert len(close_pairs(hashes[:0], 4)[0]) == 0
    assert find_twins({}, SETTINGS) == []


def test_clips_made_of_another_are_its_twins_and_others_are_not(
    render_clip: Render, tmp_path: Path
) -> None:
    how = {"frames": 54, "size": (192, 128)}
    first = render_clip(tmp_path / "first.mp4", **how)
    clips = {
        "first": first,
        "second": render_clip(tmp_path / "second.mp4", seed=1, **how),
        "third": render_clip(tmp_path / "third.mp4", seed=2, **how),
        "coarse": remake(first, tmp_path / "coarse.mp4", crf="36"),
        "half": remake(first, tmp_path / "half.mp4", scale=0.5),
        "trimmed": remake(first, tmp_path / "trimmed.mp4", first=16),
    }
    found = find_twins({name: looked_at(path) for name, path in clips.items()}, SETTINGS)
    of_first = {twins.video for twins in found} | {twins.twin for twins in found}
    assert of_first == {"first", "coarse", "half", "trimmed"}


def test_the_share_counts_frames_of_the_shorter_one() -> None:
    a = random_hashes(10, 0)
    judged = {"long": video(a), "short": video(a[:3]), "other": video(random_hashes(10, 1))}
    assert find_twins(judged, SETTINGS) == [Twins("long", "short", 1.0)]


@pytest.mark.parametrize(("alike", "found"), [(1, False), (2, True)])
def test_a_picture_in_common_makes_no_twins(alike: int, found: bool) -> None:
    a, b = random_hashes(10, 0), random_hashes(10, 1)
    judged = {"a": video(a), "b": video(a[:alike] + b[alike:])}
    assert bool(find_twins(judged, SETTINGS)) == found


def test_flat_pictures_and_duplicates_do_not_count() -> None:
    flat = int(FLAT, 16)
    assert find_twins({"a": video([flat]), "b": video([flat])}, SETTINGS) == []
    alike = random_hashes(1, 0)[0]
    repeated = [Judgement(0, 0.0, 9.0, f"{alike:016x}", 0, "duplicate")]
    assert find_twins({"a": video([alike]), "b": repeated}, SETTINGS) == []


def test_a_title_that_many_videos_show_makes_no_twins() -> None:
    (title,) = random_hashes(1, 99)
    judged = {f"v{i:02}": video([title, *random_hashes(2, i)]) for i in range(40)}
    assert find_twins(judged, SETTINGS) == []
    few = dict(list(judged.items())[:2])
    assert [(t.video, t.twin) for t in find_twins(few, SETTINGS)] == [("v00", "v01")]
