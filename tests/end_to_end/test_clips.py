"""Clips from raw videos to a registered model: classes of clips, and clips beside super-images."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.pyfunc import PyFuncModel

from qvpipe import config, files, tracking
from qvpipe.config import Settings
from qvpipe.inference.explain import explain
from qvpipe.inference.intake import see_file
from qvpipe.inference.predictor import load
from qvpipe.stages.clean import clean
from qvpipe.stages.ensemble import ensemble
from qvpipe.stages.frames import frames
from qvpipe.stages.index import index
from qvpipe.stages.register import lay_bundle, register
from qvpipe.stages.splits import splits
from qvpipe.stages.superimages import superimages
from qvpipe.stages.train import train
from tests.conftest import REPOSITORY, render
from tests.end_to_end.conftest import merged

pytestmark = pytest.mark.slow

COIN: Mapping[str, Any] = {
    "data": {"videos": "raw", "shortest_s": 0.4, "longest_s": 1},
    "frames": {"count": 9, "size": 48},
    "superimages": {"tile": 16},
    "train": {"epochs": 2, "batch_size": 4, "accumulate": 1},
    "models": {
        "videomae": {
            "frames": 4,
            "size": 32,
            "pretrained": "none",
            "architecture": {
                "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
                "intermediate_size": 64,
            },
        }
    },
    "compute": {"workers": 1, "device": "cpu"},
}  # fmt: skip

QVPIPE: Mapping[str, Any] = {
    "members": ["swin", "superimage"],
    "folds": [0, 1],
    "data": {"videos": "raw", "labels": "folders", "classes": "labels"},
    "frames": {"count": 9, "size": 48},
    "splits": {"folds": 2},
    "superimages": {"tile": 16},
    "train": {"batch_size": 4},
    "models": {
        "swin": {
            "frames": 3,
            "size": 32,
            "pretrained": "none",
            "architecture": {
                "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": [2, 2, 2],
            },
            "train": {"epochs": 1},
        },
        "superimage": {
            "size": 48, "backbone": "test_resnet", "pretrained": "none", "train": {"epochs": 1}
        },
    },
    "compute": {"workers": 1, "device": "cpu"},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / ".dvc").mkdir()
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with contextlib.chdir(tmp_path):
        yield tmp_path


def settings(name: str, changes: Mapping[str, Any]) -> Settings:
    """Return a config with changes, and leave it where the stages look for it."""
    tree = yaml.safe_load((REPOSITORY / "configs" / name).read_text(encoding="utf-8"))
    text = yaml.safe_dump(merged(tree, changes))
    files.PARAMS.write_text(text, encoding="utf-8")
    return config.parse(text)


def run_all(chosen: Settings) -> None:
    before: list[Callable[[Settings], None]] = [index, frames, clean, splits, superimages]
    for stage in before:
        stage(chosen)
    for member in chosen.members:
        for fold in chosen.folds:
            train(chosen, member, fold)
    ensemble(chosen)


def predicted(model: PyFuncModel, video: Path) -> Mapping[Any, Any]:
    """Return what a registered model says of a video."""
    table = cast("pd.DataFrame", model.predict([str(video)]))
    (row,) = table.to_dict("records")
    assert row["status"] == "ok"
    return row


def test_classes_of_clips_end_in_a_registered_model(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part, clips in (("train", 4), ("valid", 2)):
        for number, name in enumerate(("dishes", "sports", "vehicle")):
            for clip in range(clips):
                seed = 100 * number + 10 * clip + (part == "valid")
                render(folder / "raw" / part / name / f"{clip}.mp4", "mpeg4", 15, seed=seed)
    render(folder / "raw/train/sports/brief.mp4", "mpeg4", 5)
    chosen = settings("coin-videomae.yaml", COIN)
    run_all(chosen)
    register(chosen)

    printed = capsys.readouterr().out
    assert "index: 19 videos in, 18 out, 1 shorter than 0.4 s (data.shortest_s)\n" in printed
    assert files.read_classes() == ["dishes", "sports", "vehicle"]
    judged = files.read_splits().set_index("video")["fold"]
    assert set(judged[judged == 0].index) == {name for name in judged.index if "valid__" in name}
    curve = files.read_table(files.fold_model("videomae", 0) / "curve.csv")
    assert {"loss", "log_loss", "accuracy", "precision", "recall", "f1"} <= set(curve.columns)
    result = files.read_json(files.METRICS / "ensemble.json")
    stored = files.read_predictions(files.fold_predictions("videomae", 0))
    said = [stored.loc[video, str(video).split("__")[1]] for video in stored.index]
    assert result["log_loss"] == pytest.approx(-np.log(said).mean())

    tracking.export("models:/coin@champion", folder / "model")
    assert "transformers==" in (folder / "model/requirements.txt").read_text(encoding="utf-8")
    model = tracking.load_model(str(folder / "model"), "cpu")
    video = folder / "raw/valid/dishes/0.mp4"
    row = predicted(model, video)
    # The registered model says of a clip what was said of it when the fold was judged.
    expected = list(stored.loc["valid__dishes__0"])
    assert [row[name] for name in stored.columns] == pytest.approx(expected, abs=1e-4)
    assert row["labels"] == [stored.columns[int(np.argmax(expected))]]
    explained = explain(model.unwrap_python_model().predictor, video)
    assert [seeing.moments for seeing in explained.seeings] == [()]


def test_clips_stand_beside_super_images(folder: Path) -> None:
    for number, name in enumerate(("CK", "SG")):
        for clip in range(4):
            seed = 10 * number + clip
            render(folder / "raw" / name / f"{clip}.mp4", "mpeg4", 12, seed=seed)
    chosen = replace(settings("qvpipe-swin.yaml", QVPIPE), task="multilabel")
    run_all(chosen)
    result = files.read_json(files.METRICS / "ensemble.json")
    assert set(result["members"]) == {"swin", "superimage"}
    assert sum(member["weight"] for member in result["members"].values()) == pytest.approx(1)
    predictor = load(lay_bundle(chosen, folder / "bundle"), "cpu")
    video = folder / "raw/SG/0.mp4"
    seen = [("a video", see_file(video, chosen, chosen.members))]
    (both,), (alone,) = (
        predictor.predict(seen, predictor.options(members=members)) for members in (None, ["swin"])
    )
    assert both.probabilities["SG"] != alone.probabilities["SG"]
    # What a clip's backbone looks at is not known, so the super-image's tells where.
    (seeing,) = explain(predictor, video, ["SG"], 2).seeings
    assert len(seeing.moments) == 2
