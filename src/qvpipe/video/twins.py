"""Near-duplicate clips: videos that show the same pictures, however they were encoded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qvpipe.config import CleanSettings
from qvpipe.video.quality import Judgement

BITS = 64
"""Length of a perceptual hash."""
PLAIN = 4
"""A perceptual hash is cut at its median, so half its bits are set. Where they are more or fewer
than that by more than this many, the picture is flat and tells nothing."""
COMMON = 20
"""A picture with more partners than this, and in more than `COMMON_SHARE` of all pictures, tells
nothing either: a black or a title picture."""
COMMON_SHARE = 0.01
SAMPLE = 2000
"""How many pictures all are compared with to find the common ones."""

Hashes = NDArray[np.uint64]
Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Twins:
    """Two videos that show the same."""

    video: str
    twin: str
    share: float
    """Share of the pictures of the one that the other has as well, the larger of both; 0 to 1."""


def find_twins(judged: Mapping[str, Sequence[Judgement]], settings: CleanSettings) -> list[Twins]:
    """Find the pairs of videos that show the same.

    The frames of a video that repeat none of its others are compared with those of all other
    videos. Flat pictures and those that many videos share do not count.

    Args:
        judged: The judged frames of each video.
        settings: `max_distance` says when two frames are alike, `twin_share` which share of the
            frames of the one video must have their like in the other.

    Returns:
        Each pair once, by name.
    """
    names = sorted(judged)
    frames = [
        (number, int(frame.phash, 16))
        for number, name in enumerate(names)
        for frame in judged[name]
        if frame.dropped != "duplicate"
    ]
    owners = np.array([number for number, _ in frames], dtype=np.int64)
    hashes = np.array([bits for _, bits in frames], dtype=np.uint64)
    telling = _telling(hashes, settings.max_distance)
    owners, hashes = owners[telling], hashes[telling]
    totals = np.bincount(owners, minlength=len(names))

    first, second = close_pairs(hashes, settings.max_distance)
    apart = owners[first] != owners[second]
    first, second = first[apart], second[apart]
    # Each frame counts once for each video that has its like.
    has_partner = np.unique(
        np.concatenate(
            [
                np.stack([first, owners[second]], axis=1),
                np.stack([second, owners[first]], axis=1),
            ]
        ),
        axis=0,
    )
    pairs, counts = np.unique(
        np.stack([owners[has_partner[:, 0]], has_partner[:, 1]], axis=1),
        axis=0,
        return_counts=True,
    )
    shares: dict[tuple[int, int], float] = {}
    for (a, b), count in zip(pairs.tolist(), counts.tolist(), strict=True):
        pair = (min(a, b), max(a, b))
        shares[pair] = max(shares.get(pair, 0.0), count / float(totals[a]))
    return [
        Twins(names[a], names[b], round(share, 3))
        for (a, b), share in sorted(shares.items())
        if share >= settings.twin_share
    ]


def close_pairs(hashes: Hashes, distance: int) -> tuple[Positions, Positions]:
    """Return all pairs of hashes of which at most `distance` bits differ.

    If two hashes of 64 bits differ in at most d of them, then at least one of d + 1 parts is the
    same in both. So only those that share a part are compared (multi-index hashing: Norouzi et
    al., CVPR 2012).

    Args:
        hashes: `[n]`.
        distance: From 0 to 64; -1 finds none.

    Returns:
        Positions of the first and of the second of each pair, the first the smaller, by number.
    """
    found = [np.empty((0, 2), dtype=np.int64)]
    edges = np.linspace(0, BITS, min(distance + 1, BITS) + 1).astype(int)
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        parts = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(parts, kind="stable")
        parts = parts[order]
        at = np.arange(len(parts))
        for step in range(1, len(parts)):
            at = at[at + step < len(parts)]
            at = at[parts[at] == parts[at + step]]
            if not len(at):
                break
            pair = np.stack([order[at], order[at + step]], axis=1)
            differing = np.bitwise_count(hashes[pair[:, 0]] ^ hashes[pair[:, 1]])
            found.append(pair[differing <= distance])
    pairs = np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _telling(hashes: Hashes, distance: int) -> NDArray[np.bool_]:
    """Say of each hash whether it can tell one video from others."""
    flat = np.abs(np.bitwise_count(hashes).astype(int) - BITS // 2) > PLAIN
    # Chosen at random: evenly spaced ones could always be a video's first.
    sample = np.random.default_rng(0).permutation(hashes)[:SAMPLE]
    partners = np.zeros(len(hashes), dtype=np.int64)
    for other in sample:
        partners += np.bitwise_count(hashes ^ other) <= distance
    share = partners / max(1, len(sample))
    common = (share * len(hashes) > COMMON) & (share > COMMON_SHARE)
    return np.asarray(~flat & ~common, dtype=np.bool_)
