"""What the index says of each video file: a hash of its bytes, and what its packets tell."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from qvpipe import files
from qvpipe.compute.pool import SMALL_RESULTS, each
from qvpipe.config import ComputeSettings
from qvpipe.video.reader import Probe, VideoError, probe


@dataclass(frozen=True)
class Measured:
    """A video file as it was found."""

    content: str = ""
    """Hash of its bytes; empty if they cannot be read."""
    probe: Probe | None = None
    """None for a file that isn't a video."""
    error: str = ""
    """Why it isn't."""


def measure(path: Path) -> Measured:
    """Hash and probe a file; what is wrong with it stands in the result."""
    content = ""
    try:
        content = content_hash(path)
        return Measured(content, probe(path))
    except VideoError as error:
        return Measured(content, error=str(error))
    except OSError as error:
        return Measured(error=f"{path.name} cannot be read: {error.strerror}")


def measure_all(
    paths: Sequence[Path], compute: ComputeSettings, timeout_s: float, cache: Path
) -> list[Measured]:
    """Measure files, but not again those that have not changed since the last time.

    Args:
        paths: The files.
        compute: What the work runs on.
        timeout_s: Seconds that one file may take.
        cache: Where earlier results lie. It only saves time: lost or broken, it is made anew.
    """
    known = _read_cache(cache)
    keys = {path: _key(path) for path in paths}
    new = [path for path in paths if keys[path] not in known]
    results = each(
        measure, new, compute, "index", timeout_s=timeout_s, lost=_lost, ahead=SMALL_RESULTS
    )
    found = dict(zip(new, results, strict=True))
    measured = [found.get(path) or known[keys[path]] for path in paths]
    usable = {keys[p]: m for p, m in zip(paths, measured, strict=True) if m.probe}
    if usable != known:
        files.write_json(cache, {key: asdict(entry) for key, entry in usable.items()})
    return measured


def _lost(path: Path, reason: str) -> Measured:
    return Measured(error=f"{path.name} {reason}")


def content_hash(path: Path) -> str:
    """Return a hash of a file's bytes, 32 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _key(path: Path) -> str:
    facts = path.stat()
    return json.dumps([str(path.absolute()), facts.st_size, facts.st_mtime_ns])


def _read_cache(path: Path) -> Mapping[str, Measured]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        return {
            key: Measured(entry["content"], Probe(**entry["probe"])) for key, entry in tree.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
