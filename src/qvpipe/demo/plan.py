"""Which clips a demo set consists of: their names, labels, groups and file formats."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from qvpipe.config import QVPIPE_CLASSES
from qvpipe.demo.encode import FORMATS, Format
from qvpipe.demo.noise import Rng

_POSITIVES = {
    "CJ": 1502,
    "CK": 1128,
    "ZW": 770,
    "JG": 646,
    "SG": 270,
    "PL": 492,
    "BX": 521,
    "CR": 374,
    "FZ": 243,
    "FS": 340,
    "AJ": 223,
    "CQ": 164,
    "SL": 100,
    "QF": 98,
    "TJ": 228,
    "TL": 133,
}
_NORMAL_SHARE = 1690 / 6399
_LABELS_PER_VIDEO = (2645, 1654, 366, 39, 5)
_GROUPED_SHARE = 0.07
_SIZES = ((320, 240), (352, 288), (288, 216), (384, 288))


@dataclass(frozen=True)
class Clip:
    """One video of the set.

    Attributes:
        index: Number of the clip in the set; with the seed it determines every pixel.
        name: File name.
        codes: Class codes in official order; ("ZC",) for a normal pipe.
        inspection: Clips with the same number show the same pipe.
        seconds: Duration.
        width: Width in pixels.
        height: Height in pixels.
        format: How the file is encoded.
    """

    index: int
    name: str
    codes: tuple[str, ...]
    inspection: int
    seconds: float
    width: int
    height: int
    format: Format

    @property
    def video(self) -> str:
        """The id: the file name without its ending."""
        return self.name.rsplit(".", 1)[0]

    @property
    def labels(self) -> list[int]:
        """Class indices in official order."""
        return [QVPIPE_CLASSES.index(code) for code in self.codes]


def plan_clips(videos: int, seed: int) -> list[Clip]:
    """Draw up a set in which classes are as frequent as in QV-Pipe.

    Args:
        videos: Number of clips, at least 1.
        seed: Another seed gives another set.

    Returns:
        The clips in random order.
    """
    rng = np.random.default_rng([seed, videos])
    normals = round(videos * _NORMAL_SHARE)
    group_sizes = _draw_group_sizes(rng, videos - normals)
    label_sets = _draw_label_sets(rng, len(group_sizes), large=videos >= 100)
    drafts: list[tuple[str, tuple[str, ...], int]] = [
        (name, ("ZC",), number) for number, name in enumerate(_normal_names(rng, normals))
    ]
    stems = _distinct(rng, 10_000, 30_000, len(group_sizes))
    for number, (stem, size, codes) in enumerate(zip(stems, group_sizes, label_sets, strict=True)):
        for name, member_codes in _members(rng, stem, size, codes):
            drafts.append((name, member_codes, normals + number))
    order = rng.permutation(len(drafts))
    formats = _draw_formats(rng, videos)
    return [_finish(rng, index, drafts[place], formats[index]) for index, place in enumerate(order)]


def _finish(
    rng: Rng, index: int, draft: tuple[str, tuple[str, ...], int], file_format: Format
) -> Clip:
    stem, codes, inspection = draft
    width, height = _SIZES[int(rng.choice(len(_SIZES), p=[0.85, 0.06, 0.06, 0.03]))]
    return Clip(
        index=index,
        name=f"{stem}.{file_format.ending}",
        codes=codes,
        inspection=inspection,
        seconds=round(float(4 + 6 * rng.beta(1.0, 2.2)), 1),
        width=width,
        height=height,
        format=file_format,
    )


def _draw_group_sizes(rng: Rng, clips: int) -> list[int]:
    grouped = round((clips / (1 - _NORMAL_SHARE)) * _GROUPED_SHARE)
    sizes: list[int] = []
    while grouped >= 2:
        size = min(int(rng.choice([2, 3, 4], p=[0.6, 0.25, 0.15])), grouped)
        sizes.append(size)
        grouped -= size
    return sizes + [1] * (clips - sum(sizes))


def _draw_label_sets(rng: Rng, units: int, *, large: bool) -> list[tuple[str, ...]]:
    wanted = _class_counts(units)
    lengths = _label_counts(units, sum(wanted.values()), large=large)
    sets = []
    for length in lengths:
        codes = [code for code, left in wanted.items() if left > 0]
        weight = np.array([wanted[code] for code in codes], float)
        take = min(length, len(codes))
        chosen = rng.choice(codes, size=take, replace=False, p=weight / weight.sum())
        wanted.subtract(str(code) for code in chosen)
        sets.append(tuple(sorted((str(code) for code in chosen), key=QVPIPE_CLASSES.index)))
    shuffled = rng.permutation(len(sets))
    return [sets[place] for place in shuffled]


def _class_counts(units: int) -> Counter[str]:
    slots = (
        units * sum((k + 1) * n for k, n in enumerate(_LABELS_PER_VIDEO)) / sum(_LABELS_PER_VIDEO)
    )
    total = sum(_POSITIVES.values())
    least = min(5, max(int(slots) // 30, 1 if slots >= len(_POSITIVES) else 0))
    wanted = Counter(
        {code: min(units, max(least, round(n / total * slots))) for code, n in _POSITIVES.items()}
    )
    while wanted.total() < units:
        wanted[max(_POSITIVES, key=lambda code: _POSITIVES[code] / (wanted[code] + 0.5))] += 1
    return wanted


def _label_counts(units: int, slots: int, *, large: bool) -> list[int]:
    shares = np.cumsum(_LABELS_PER_VIDEO) / sum(_LABELS_PER_VIDEO)
    places = (np.arange(units) + 0.5) / max(units, 1)
    counts = [int(np.searchsorted(shares, place)) + 1 for place in places]
    if large and counts:
        counts[-1] = 5
    counts.sort(reverse=True)
    while counts and sum(counts) != slots:
        step = 1 if sum(counts) < slots else -1
        movable = [i for i, n in enumerate(counts) if (n < 3 if step > 0 else 1 < n < 4)]
        if not movable:
            break
        fewest = min if step > 0 else max
        counts[fewest(movable, key=lambda i: counts[i])] += step
    return sorted(counts, reverse=True)


def _members(
    rng: Rng, stem: int, size: int, codes: tuple[str, ...]
) -> list[tuple[str, tuple[str, ...]]]:
    if size == 1 and rng.random() < 0.7:
        return [(f"d{stem}", codes)]
    numbers = sorted(_distinct(rng, 1, 12, size))
    members = []
    for number in numbers:
        kept = codes
        if len(codes) > 1 and rng.random() < 0.2:
            left_out = codes[int(rng.integers(len(codes)))]
            kept = tuple(code for code in codes if code != left_out)
        members.append((f"{stem}_{number}", kept))
    members[0] = (members[0][0], codes)
    return members


def _normal_names(rng: Rng, count: int) -> list[str]:
    return [str(number) for number in _distinct(rng, 1, 10_000, count)]


def _distinct(rng: Rng, low: int, high: int, count: int) -> list[int]:
    span = max(high - low, count)
    return [low + int(number) for number in rng.choice(span, size=count, replace=False)]


def _draw_formats(rng: Rng, videos: int) -> list[Format]:
    usual, *others = FORMATS
    count = max(round(videos * 0.08), min(len(others), videos // 6))
    rare = [others[k % len(others)] for k in range(count)]
    formats = [usual] * (videos - count) + rare
    return [formats[place] for place in rng.permutation(videos)]
