"""An empty place to run stages in, with a raw folder to put videos into."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from qvpipe.config import (
    ComputeSettings,
    DataSettings,
    FramesSettings,
    ModelSettings,
    Settings,
    SuperimagesSettings,
)

RAW = Path("raw/videos")
LABELS = Path("raw/labels.json")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose videos and labels lie in the test's own working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    RAW.mkdir(parents=True)
    Path(".dvc").mkdir()
    Path("raw/classes.txt").write_text("normal\ncrack\nroots\n")
    return Settings(
        members=("m",),
        folds=(0,),
        data=DataSettings(videos=str(RAW), labels=str(LABELS), classes="raw/classes.txt"),
        models={"m": ModelSettings(input="frames", size=32, backbone="resnet18")},
        frames=FramesSettings(count=9, size=48),
        superimages=SuperimagesSettings(tile=48),
        compute=ComputeSettings(workers=1),
    )


@pytest.fixture
def add(render_clip: Callable[..., Path]) -> Callable[..., Path]:
    """Render a small clip into the raw folder."""

    def add(name: str, **how: object) -> Path:
        return render_clip(RAW / name, **{"frames": 6, "codec": "mpeg4", **how})

    return add


@pytest.fixture
def label() -> Callable[[Mapping[str, Sequence[int]]], None]:
    """Write the label file."""

    def label(labels: Mapping[str, Sequence[int]]) -> None:
        LABELS.write_text(json.dumps(labels))

    return label
