"""Stages that DVC would run one after another, done ahead of it.

What is done ahead is kept beside DVC's own temporary files until DVC runs the stage, which then
only takes it. So DVC decides, locks and records as if it had been done then.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from qvpipe import files


def due(stage: str) -> set[str]:
    """Return which other stages of a matrix DVC would run: their names after the `@`.

    To be called within one of them, which DVC names in `DVC_STAGE`.
    """
    from dvc.repo import Repo

    # DVC frees its lock while a stage runs.
    with Repo() as repo, repo.lock:
        others = [s for s in repo.stage.collect(stage) if s.name != os.environ["DVC_STAGE"]]
        return {s.name.partition("@")[2] for s in others if s.changed()}


@contextlib.contextmanager
def apart(kept: Path) -> Iterator[None]:
    """Let the block work in a folder of its own, which shows the same data.

    Args:
        kept: Where all that the block writes goes once it has ended well.
    """
    here = Path.cwd()
    # Inside the working tree, so that git knows the commit.
    folder = here / ".dvc" / "tmp" / "qvpipe" / f"{kept.name}.part"
    shutil.rmtree(folder, ignore_errors=True)
    data = folder / files.DATA
    data.mkdir(parents=True)
    shown = [path for path in (here / files.DATA).iterdir() if path.name != files.PREDICTIONS.name]
    for path in shown:
        (data / path.name).symlink_to(path)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
    for path in shown:
        (data / path.name).unlink()
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(kept, ignore_errors=True)
    shutil.move(folder, kept)


def take(kept: Path) -> None:
    """Put what is kept into its place."""
    shutil.copytree(kept, Path.cwd(), dirs_exist_ok=True)
    shutil.rmtree(kept)
