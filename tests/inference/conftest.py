"""A small ensemble with random weights, in a folder and registered, and videos for it."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import safetensors.torch
import torch
from playwright.sync_api import Browser, sync_playwright

from qvpipe import cli, files, tracking
from qvpipe.config import (
    CleanSettings,
    DataSettings,
    FramesSettings,
    ModelSettings,
    Settings,
    SuperimagesSettings,
)
from qvpipe.inference import predictor
from qvpipe.inference.predictor import Predictor
from qvpipe.learning.network import Network
from qvpipe.stages.register import lay_bundle
from qvpipe.tracking.server import connect
from tests.conftest import render

CLASSES = ["normal", "crack", "roots"]

SETTINGS = Settings(
    members=("still", "grid"),
    folds=(0, 1),
    data=DataSettings(videos="raw", labels="labels.json", normal="normal"),
    models={
        "still": ModelSettings(input="frames", size=64, backbone="resnet10t", frames=2),
        "grid": ModelSettings(input="superimage", size=96, backbone="resnet10t"),
    },
    frames=FramesSettings(count=9, size=64),
    clean=CleanSettings(),
    superimages=SuperimagesSettings(tile=32),
)

RULES = {
    "members": {"still": 0.25, "grid": 0.75},
    "folds": [0, 1],
    "classes": CLASSES,
    "normal": "normal",
    "normal_above": 0.9,
    "calibration": [{"slope": 1.5, "intercept": 0.2}] * 3,
    "thresholds": {"normal": 0.6, "crack": 0.4, "roots": 0.0001},
}


@dataclass(frozen=True)
class Registered:
    """A registered model."""

    folder: Path
    """Where the MLflow database lies, and files of a pipeline that has been run."""

    @property
    def uri(self) -> str:
        """Address of the tracking server."""
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which commands find the model."""
        return {**os.environ, "MLFLOW_TRACKING_URI": self.uri, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the stages before `register` would have left there."""
    folder = tmp_path_factory.mktemp("pipeline")
    with contextlib.chdir(folder):
        files.write_json(files.ENSEMBLE / "ensemble.json", RULES)
        files.INDEX.parent.mkdir()
        files.INDEX.write_text("video\n", encoding="utf-8")
        for number, member in enumerate(SETTINGS.members):
            for fold in SETTINGS.folds:
                torch.manual_seed(10 * number + fold)
                network = Network(SETTINGS.models[member], len(CLASSES), pretrained="none")
                files.fold_model(member, fold).mkdir(parents=True)
                path = files.fold_model(member, fold) / files.WEIGHTS
                safetensors.torch.save_file(network.state_dict(), path)
    return folder


@pytest.fixture(scope="session")
def bundle(pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that travels inside the registered model."""
    target = tmp_path_factory.mktemp("model") / "bundle"
    with contextlib.chdir(pipeline):
        return lay_bundle(SETTINGS, target)


@pytest.fixture(scope="session")
def ensemble(bundle: Path) -> Predictor:
    return predictor.load(bundle, "cpu")


@pytest.fixture(scope="session")
def registered(pipeline: Path, bundle: Path) -> Registered:
    """Return a model that is registered as qvpipe's champion."""
    model = Registered(pipeline)
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(pipeline):
        patch.setenv("MLFLOW_TRACKING_URI", model.uri)
        client = connect()
        experiment = client.create_experiment("qvpipe", (pipeline / "mlruns").as_uri())
        run = client.create_run(experiment).info.run_id
        version = tracking.register(SETTINGS, run, bundle, {"measure": "mAP", "score": "0.5"})
        tracking.award("qvpipe", version, tracking.contest("qvpipe"), "champion", {}, "")
    return model


@pytest.fixture
def typed(
    registered: Registered, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[object, str]]:
    """Run a command as it is typed, with the champion; give its exit code and what it printed."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registered.uri)

    def typed(*arguments: str | Path) -> tuple[object, str]:
        monkeypatch.setattr("sys.argv", ["qvpipe", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return ended.value.code or 0, (printed.out + printed.err).strip()

    return typed


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with three videos and one that is none."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(3):
        render(folder / f"{number}.mp4", codec="mpeg4", frames=12, seed=number)
    (folder / "broken.mp4").write_bytes(b"")
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Give a headless Chromium; what needs one is skipped where there is none."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium here; install the package chromium")
    quiet = ["background-networking", "component-update", "sync", "quic", "gpu"]
    options = ["--headless", "--no-sandbox", "--no-first-run"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=program, args=options + [f"--disable-{part}" for part in quiet]
        )
        yield started
        started.close()
