"""What a training that was killed goes on from."""

import contextlib
import glob
import hashlib
import json
import os
import pickle
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import timm
import torch

UNREADABLE = (EOFError, LookupError, OSError, RuntimeError, ValueError, pickle.UnpicklingError)
"""What PyTorch raises on files that are cut or are none of its own."""


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values; a process that is killed meanwhile leaves what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A process that was killed while it wrote left gigabytes of a large network behind.
    for left in path.parent.glob(f"{glob.escape(path.stem)}.*"):
        if left.suffix[1:].isdecimal():
            left.unlink()
    temporary = path.with_suffix(f".{os.getpid()}")
    try:
        torch.save(dict(content), temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path | None) -> dict[str, Any] | None:
    """Return what was saved, or None if there is nothing that can be read."""
    if path is None or not path.is_file():
        return None
    with contextlib.suppress(*UNREADABLE):
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return content
    return None


def key(settings: Any, data: Iterable[Path]) -> str:  # noqa: ANN401 - whatever JSON can hold
    """Return a name for a training, another one for whatever might change its result.

    Args:
        settings: All that the training is told.
        data: The files that it reads.
    """
    code = sorted(Path(__file__).parent.glob("*.py"))
    with ThreadPoolExecutor() as pool:
        digests = list(pool.map(_digest, [*code, *data]))
    told = [torch.__version__, timm.__version__, settings, digests]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
