"""Labels without training as a member of an ensemble, from raw videos to the registered model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient

from qvpipe import config, files, tracking
from qvpipe.config import DataSettings, EnsembleSettings, ModelSettings, SearchSettings, Settings
from qvpipe.errors import QvpipeError
from qvpipe.inference.explain import explain
from qvpipe.inference.intake import see_file
from qvpipe.inference.predictor import load
from qvpipe.learning.calibration import Platt, as_json
from qvpipe.results import compare
from qvpipe.search import searcher
from qvpipe.stages.clean import clean
from qvpipe.stages.embed import embed
from qvpipe.stages.ensemble import ensemble
from qvpipe.stages.frames import frames
from qvpipe.stages.index import index
from qvpipe.stages.join import join
from qvpipe.stages.register import lay_bundle, register
from qvpipe.stages.splits import splits
from qvpipe.stages.superimages import superimages
from qvpipe.stages.train import train
from qvpipe.stages.zeroshot import zeroshot
from tests.search.tiny import save_tiny_clip
from tests.stages.conftest import RAW

pytestmark = pytest.mark.slow

LABELS: Mapping[str, Mapping[str, Sequence[int]]] = {
    "multilabel": {f"v{k}.mp4": ([], [1], [2], [1, 2])[k % 4] for k in range(8)},
    "multiclass": {f"v{k}.mp4": [k % 3] for k in range(6)}
    | {f"test/t{k}.mp4": [k] for k in (0, 1)},
}


@pytest.fixture
def joined(
    settings: Settings,
    request: pytest.FixtureRequest,
    add: Callable[..., Path],
    label: Callable[[Mapping[str, Sequence[int]]], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    """Run all up to the ensemble of a trained member with one that never was."""
    task: Literal["multilabel", "multiclass"] = request.param
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    for number, file in enumerate(LABELS[task]):
        (RAW / file).parent.mkdir(exist_ok=True)
        add(file, seed=number)
    label(LABELS[task])
    clip = str(save_tiny_clip(tmp_path / "tiny"))
    small = ModelSettings(input="superimage", size=48, backbone="test_resnet", pretrained="none")
    chosen = replace(
        settings,
        task=task,
        loss="ce" if task == "multiclass" else "bce",
        folds=(0, 1),
        splits=replace(settings.splits, folds=2),
        data=DataSettings(str(RAW), "raw/labels.json", "raw/classes.txt", test="test"),
        models={"m": small},
        train=replace(settings.train, epochs=1, batch_size=4),
        search=SearchSettings("all", embedders={"clip": clip}, zeroshot={"clip": ("a {}",)}),
        ensemble=EnsembleSettings(
            zeroshot=("clip",), calibration="none" if task == "multiclass" else "platt"
        ),
    )
    files.PARAMS.write_text(yaml.safe_dump(config.as_tree(chosen)), encoding="utf-8")
    for stage in (index, frames, clean, splits, superimages):
        stage(chosen)
    embed(chosen, "clip")
    zeroshot(chosen, "clip")
    for fold in chosen.folds:
        train(chosen, "m", fold)
    join(chosen, "clip")
    ensemble(chosen)
    return chosen


def predicted_by_clip(bundle: Path, video: str) -> list[float]:
    """Return what the member that was never trained says alone, calibrated."""
    predictor = load(bundle, "cpu")
    seen = see_file(RAW / f"{video}.mp4", predictor.settings, predictor.settings.voters)
    (found,) = predictor.predict([(video, seen)], predictor.options(members=["clip"]))
    assert found.error == ""
    return list(found.probabilities.values())


def table(path: Path, video: str) -> list[float]:
    return list(files.read_predictions(path).loc[video])


@pytest.mark.parametrize("joined", ["multilabel"], indirect=True)
def test_of_several_classes_the_model_says_what_was_said_out_of_fold(
    joined: Settings, tmp_path: Path
) -> None:
    members = files.read_json(files.METRICS / "ensemble.json")["members"]
    assert set(members) == {"m", "clip"}
    assert members["clip"]["weight"] == pytest.approx(
        members["clip"]["map"] / (members["clip"]["map"] + members["m"]["map"])
    )
    # The clip that shows nothing is labelled all the same, though nothing judges that.
    assert len(files.read_predictions(files.zeroshot_predictions("clip"))) == 8
    assert files.read_json(files.zeroshot_metrics("clip"))["videos"] == 6
    bundle = lay_bundle(joined, tmp_path / "bundle")
    rules = files.read_json(bundle / "ensemble.json")
    stated = np.array(table(files.zeroshot_predictions("clip"), "v3"))
    for bend in (Platt(), Platt(0.5, 0.2)):
        files.write_json(bundle / "ensemble.json", {**rules, "calibration": as_json([bend] * 3)})
        found = predicted_by_clip(bundle, "v3")
        assert found == pytest.approx(list(bend(stated)), abs=1e-5)

    scores = files.read_predictions(files.zeroshot_predictions("clip"))
    lacking = scores.drop(index=["v1", "v4"]).reset_index()
    files.write_table(files.zeroshot_predictions("clip"), lacking)
    with pytest.raises(QvpipeError, match="v1 and 1 others have no labels by clip"):
        join(joined, "clip")


@pytest.mark.parametrize("joined", ["multiclass"], indirect=True)
def test_of_one_class_it_travels_with_the_registered_model(joined: Settings) -> None:
    names = [file.removesuffix(".mp4").replace("/", "__") for file in LABELS["multiclass"]]
    stated = files.read_predictions(files.zeroshot_predictions("clip"))
    assert set(stated.index) == set(names)
    folds = [files.read_predictions(files.fold_predictions("clip", fold)) for fold in (0, 1)]
    assert sorted([*folds[0].index, *folds[1].index]) == names[:6]
    result = files.read_json(files.METRICS / "ensemble.json")
    weight = {name: judged["weight"] for name, judged in result["members"].items()}
    assert result["test"]["videos"] == 2
    together = table(files.ENSEMBLE / "test.csv", "test__t0")
    trained = [table(files.fold_test("m", fold), "test__t0") for fold in (0, 1)]
    expected = weight["m"] * np.mean(trained, axis=0) + weight["clip"] * stated.loc["test__t0"]
    assert together == pytest.approx(list(expected))

    register(joined)
    logged = compare.read("models:/qvpipe@champion")
    assert set(logged.scores) == {"m", "clip", "ensemble"}
    version = MlflowClient().get_model_version_by_alias("qvpipe", "champion")
    assert version.tags["score"] == repr(result["accuracy"])
    assert "| clip | all frames | " in str(version.description)
    tracking.export("models:/qvpipe@champion", Path("model"))
    assert "transformers==" in Path("model/requirements.txt").read_text(encoding="utf-8")
    model = tracking.load_model("model", "cpu")
    (row,) = cast("pd.DataFrame", model.predict([str(RAW / "test/t0.mp4")])).to_dict("records")
    assert [row[name] for name in files.read_classes()] == pytest.approx(together, abs=1e-5)
    # Where CLIP looks is not known, and it searches by its own embeddings.
    predictor = model.unwrap_python_model().predictor
    (seeing,) = explain(predictor, (RAW / "v0.mp4").resolve(), ["crack"]).seeings
    assert len(seeing.moments) > 0
    assert searcher.with_classifier(joined, predictor, "champion").title == "the backbone of m"

    # Less accurate than the champion is no champion, whatever its mAP.
    files.write_json(files.METRICS / "ensemble.json", {**result, "accuracy": 0.0, "map": 1.0})
    answers = files.read_table(files.INDEX).set_index("video")["labels"].astype(int)
    scores = files.read_predictions(files.ENSEMBLE / "predictions.csv")
    wrong = np.roll(np.eye(3), 1, axis=1)[answers.loc[scores.index]]
    scores.loc[:] = wrong
    files.write_table(files.ENSEMBLE / "predictions.csv", scores.reset_index())
    register(joined)
    champion = MlflowClient().get_model_version_by_alias("qvpipe", "champion")
    assert str(champion.version) == "1"
    challenger = MlflowClient().get_model_version_by_alias("qvpipe", "challenger")
    assert f"{-result['accuracy']:+.3f} accuracy against version 1" in str(challenger.description)
