"""The folder of a demo set: whole or not there, and never mixed with somebody's own data."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from qvpipe.errors import QvpipeError

RAW = "track1_raw_video"
LABELS = "qv_pipe_train.json"
VISIBLE = "visible.csv"
STAMP = "demo.json"
WORKPLACE = ".demo-rendering"

RENDERER_VERSION = 1
"""To be raised with every change that alters pixels, names or labels."""


@dataclass(frozen=True)
class SetId:
    """What determines a demo set.

    Attributes:
        videos: Number of clips.
        seed: Seed of all randomness.
        renderer: Version of the renderer.
    """

    videos: int
    seed: int
    renderer: int = RENDERER_VERSION

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "SetId | None":
        """Read it back; None if there's no such file or something else in it."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


def is_finished(folder: Path, wanted: SetId) -> bool:
    """Whether the folder holds this very set."""
    return SetId.read(folder / STAMP) == wanted and (folder / RAW).is_dir()


def refuse_foreign_data(folder: Path, wanted: SetId) -> None:
    """Raise unless a set can be put into the folder without touching anything else.

    Raises:
        QvpipeError: The folder holds videos or labels that a run for `wanted` didn't put there.
    """
    found = SetId.read(folder / STAMP)
    if found == wanted:
        return
    raw = folder / RAW
    if found is not None:
        raise QvpipeError(
            f"{folder} holds another demo set ({found.videos} videos, seed {found.seed}, "
            f"renderer {found.renderer}): delete it or choose another folder"
        )
    if (raw.exists() and any(raw.iterdir())) or (folder / LABELS).exists():
        raise QvpipeError(
            f"{folder} holds data that is not a demo set: choose another folder for the demo"
        )


def open_workplace(folder: Path, wanted: SetId) -> Path:
    """Make the hidden folder in which a set is prepared, or go on with a killed run's."""
    workplace = folder / WORKPLACE
    if workplace.exists() and SetId.read(workplace / STAMP) != wanted:
        shutil.rmtree(workplace)
    (workplace / RAW).mkdir(parents=True, exist_ok=True)
    wanted.write(workplace / STAMP)
    return workplace


def publish(workplace: Path, folder: Path) -> None:
    """Move a finished set from its workplace into the folder, the videos last."""
    for name in (STAMP, LABELS, VISIBLE):
        if (workplace / name).exists():
            shutil.copyfile(workplace / name, folder / name)
    raw = folder / RAW
    if raw.exists():
        raw.rmdir()
    (workplace / RAW).rename(raw)
    shutil.rmtree(workplace)
