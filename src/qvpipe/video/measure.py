"""What the index says of each video file: a hash of its bytes, and what its packets tell."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import starmap
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
    results = {path: known[keys[path]] for path in paths if keys[path] in known}
    new = [path for path in paths if path not in results]
    if new or len(results) < len(known):
        _write_cache(cache, {keys[path]: result for path, result in results.items()})
    found = each(
        measure, new, compute, "index", timeout_s=timeout_s, lost=_lost, ahead=SMALL_RESULTS
    )
    for path, result in zip(new, found, strict=True):
        results[path] = result
        _append(cache, keys[path], result)
    return [results[path] for path in paths]


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
    """Return what was measured before, by what names a file and its state; a line for each."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    return dict(entry for line in lines if (entry := _entry(line)))


def _entry(line: str) -> tuple[str, Measured] | None:
    """Return what a line of the cache holds; None for one that was cut off as it was written."""
    try:
        key, content, facts = json.loads(line)
        return key, Measured(content, Probe(**facts))
    except (ValueError, TypeError):
        return None


def _append(path: Path, key: str, measured: Measured) -> None:
    """Add an entry to the cache at once, so that a run that is killed loses none."""
    if measured.probe:
        with path.open("a", encoding="utf-8") as file:
            file.write(_line(key, measured))


def _write_cache(path: Path, entries: Mapping[str, Measured]) -> None:
    with files.replacing(path) as temporary:
        temporary.write_text("".join(starmap(_line, entries.items())), encoding="utf-8")


def _line(key: str, measured: Measured) -> str:
    assert measured.probe
    return json.dumps([key, measured.content, asdict(measured.probe)]) + "\n"
