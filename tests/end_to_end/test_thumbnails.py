"""Images in a folder for each class, from the folders to a registered model and a report."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient
from PIL import Image as Pillow

from qvpipe import cli, files
from qvpipe.config import Settings, parse
from qvpipe.learning.targets import targets
from qvpipe.learning.validation import judge
from qvpipe.results.pictures import OF_CHOICES
from qvpipe.stages.clean import clean
from qvpipe.stages.ensemble import ensemble
from qvpipe.stages.frames import frames
from qvpipe.stages.index import index
from qvpipe.stages.register import register
from qvpipe.stages.splits import splits
from qvpipe.stages.superimages import superimages
from qvpipe.stages.train import train
from qvpipe.video.images import Image, decode_jpeg
from tests.conftest import REPOSITORY
from tests.end_to_end.conftest import merged

CLASSES = ["cross", "disc", "frame"]
RAW = Path("data/raw/thumbnails")
SIDE = 96
SMALL = {
    "folds": [0, 1],
    "splits": {"folds": 2},
    "frames": {"size": SIDE},
    "superimages": {"tile": SIDE},
    "train": {"epochs": 6, "batch_size": 8},
    "models": {
        "mobilenet": {"backbone": "tf_efficientnet_lite0", "pretrained": "bundled", "size": SIDE}
    },
    "compute": {"workers": 1, "device": "cpu"},
}
MODEL = ("--model", "models:/thumbnails@champion")


def draw(shape: str, seed: int) -> Image:
    """Return a picture of 160 x 90 pixels with a shape somewhere on a background of patches."""
    random = np.random.default_rng(seed)
    patches = random.integers(0, 110, (6, 10, 3), dtype=np.uint8)
    picture = cv2.resize(patches, (160, 90), interpolation=cv2.INTER_CUBIC)
    x, y, size = (int(random.integers(*ends)) for ends in ((40, 120), (35, 55), (18, 30)))
    colour = [int(value) for value in random.integers(180, 256, 3)]
    if shape == "disc":
        cv2.circle(picture, (x, y), size, colour, -1)
    elif shape == "frame":
        cv2.rectangle(picture, (x - size, y - size), (x + size, y + size), colour, 5)
    else:
        cv2.line(picture, (x - size, y - size), (x + size, y + size), colour, 7)
        cv2.line(picture, (x - size, y + size), (x + size, y - size), colour, 7)
    return np.asarray(picture, dtype=np.uint8)


def draw_all() -> None:
    for number, name in enumerate(CLASSES):
        for part, count in (("train", 12), ("test", 3)):
            folder = RAW / part / name
            folder.mkdir(parents=True)
            for k in range(count):
                ending = ("jpg", "png", "webp")[k % 3]
                picture = draw(name, seed=1000 * number + 100 * (part == "test") + k)
                Pillow.fromarray(picture).save(folder / f"{k:04}.{ending}")
    (RAW / "train" / "disc" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut off")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Run the whole pipeline with configs/thumbnails.yaml, made small, and stay in its folder."""
    folder = tmp_path_factory.mktemp("thumbnails")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("DVC_ROOT", raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        draw_all()
        tree = yaml.safe_load((REPOSITORY / "configs/thumbnails.yaml").read_text(encoding="utf-8"))
        text = yaml.safe_dump(merged(tree, SMALL))
        files.PARAMS.write_text(text, encoding="utf-8")
        small = parse(text)
        for stage in (index, frames, clean, splits, superimages):
            stage(small)
        for fold in small.folds:
            train(small, "mobilenet", fold)
        ensemble(small)
        register(small)
        yield small


@pytest.fixture
def typed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run a command as it is typed and give what it printed."""

    def typed(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr("sys.argv", ["qvpipe", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert (ended.value.code or 0) == code, printed.out + printed.err
        return printed.out + printed.err

    return typed


def test_folders_tell_classes_and_the_test_set_is_in_no_fold(settings: Settings) -> None:
    table = files.read_table(files.INDEX).set_index("video")
    assert files.read_classes() == CLASSES
    assert table["part"].value_counts().to_dict() == {"": 37, "test": 9}
    assert table.loc["train__disc__broken", "status"] == "failed"
    assert "is a damaged image" in str(table.loc["train__disc__broken", "error"])
    facts = table[["labels", "codec", "frames", "width", "height", "duration_s"]]
    assert list(facts.loc[["test__frame__0002"]].itertuples(index=False, name=None)) == [
        ("2", "webp", 1, 160, 90, 0)
    ]
    folds = files.read_table(files.SPLITS)
    assert len(folds) == 36
    assert not folds["video"].str.startswith("test").any()
    for fold in settings.folds:
        judged = files.read_predictions(files.fold_predictions("mobilenet", fold))
        assert set(judged.index) == set(folds.loc[folds["fold"] == fold, "video"])


def test_the_model_sees_the_whole_image_between_black_bars(settings: Settings) -> None:
    seen = decode_jpeg(files.superimage("train__cross__0001").read_bytes())
    whole = cv2.resize(draw("cross", 1), (SIDE, 54), interpolation=cv2.INTER_AREA)
    assert seen.shape == (SIDE, SIDE, 3)
    # A JPEG's blocks of 16 pixels reach from the picture into the bars.
    assert max(seen[:16].max(), seen[-16:].max()) < 6
    assert np.abs(seen[21:75].astype(int) - whole).mean() < 6


def test_the_test_set_is_judged_by_the_mean_of_the_folds(settings: Settings) -> None:
    tables = [files.read_predictions(files.fold_test("mobilenet", fold)) for fold in (0, 1)]
    together = files.read_predictions(files.ENSEMBLE / "test.csv")
    assert sorted(together.index) == [f"test__{name}__{k:04}" for name in CLASSES for k in range(3)]
    mean = (tables[0] + tables[1].loc[tables[0].index]) / 2
    assert np.allclose(mean.loc[together.index], together, atol=1e-6)
    assert np.allclose(together.sum(axis=1), 1, atol=1e-5)
    labels = files.read_table(files.INDEX).set_index("video").loc[together.index, "labels"]
    expected = judge("multiclass", targets(labels, 3), together.to_numpy(), CLASSES, None)
    result = files.read_json(files.METRICS / "ensemble.json")
    assert result["test"] == {"videos": 9, **expected}
    assert set(result["per_class_f1"]) == set(CLASSES)


def test_it_learns(settings: Settings) -> None:
    result = files.read_json(files.METRICS / "ensemble.json")
    assert result["accuracy"] > 0.6
    assert result["test"]["accuracy"] > 0.6
    assert result["videos"] == 36


def test_the_pictures_are_in_mlflow_with_the_accuracy(settings: Settings) -> None:
    client = MlflowClient()
    experiment = client.get_experiment_by_name("thumbnails")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.kind = 'ensemble'")
    result = files.read_json(files.METRICS / "ensemble.json")
    values = runs[0].data.metrics
    assert values["accuracy"] == pytest.approx(result["accuracy"])
    assert values["test_accuracy"] == pytest.approx(result["test"]["accuracy"])
    assert values["test_f1"] == pytest.approx(result["test"]["f1"])
    found = {artifact.path for artifact in client.list_artifacts(runs[0].info.run_id, "pictures")}
    names = ("accuracy.png", "confusion.png", "f1.png", "misclassified.jpg", "heat.jpg")
    assert {f"pictures/{name}" for name in names} <= found


def test_the_registered_model_names_the_class_of_an_image(
    settings: Settings, typed: Callable[..., str]
) -> None:
    typed("predict", str(RAW / "test"), "--out", "found.csv", *MODEL)
    table = pd.read_csv("found.csv")
    assert len(table) == 9
    together = files.read_predictions(files.ENSEMBLE / "test.csv")
    named = table.assign(
        video=[f"test__{Path(v).parent.name}__{Path(v).stem}" for v in table["video"]]
    )
    same = named.set_index("video").loc[together.index]
    assert np.allclose(same[CLASSES], together, atol=1e-4)
    assert same["labels"].to_list() == together.idxmax(axis=1).to_list()


def test_an_image_is_explained(settings: Settings, typed: Callable[..., str]) -> None:
    image = RAW / "test" / "disc" / "0000.jpg"
    typed("explain", str(image), "--class", "disc", "--out", "explained", *MODEL)
    (written,) = Path("explained").glob("*.json")
    (shown,) = json.loads(written.read_text(encoding="utf-8"))["classes"]
    (moment,) = shown["moments"]
    picture = decode_jpeg((Path("explained") / moment["picture"]).read_bytes())
    assert picture.shape == (90, 160, 3)
    assert np.abs(picture.astype(int) - draw("disc", 1100)).max() > 50


def test_a_report_shows_the_images_and_how_the_model_was_judged(
    settings: Settings, typed: Callable[..., str]
) -> None:
    mislaid = Path("mislaid/disc/a cross.png")
    mislaid.parent.mkdir(parents=True)
    Pillow.fromarray(draw("cross", 1100)).save(mislaid)
    images = (str(RAW / "test"), "mislaid")
    typed("report", *images, "--labels", "folders", "--out", "report.html", *MODEL)
    text = Path("report.html").read_text(encoding="utf-8")
    judged = [name.removesuffix(".png") for name in OF_CHOICES if name.endswith(".png")]
    assert all(f'alt="{name}"' in text for name in judged)
    wrong = text[text.index("Misclassified") : text.index('id="model"')]
    assert wrong.count("<figure>") == 1
    assert "a cross.png" in wrong
    assert "disc, taken for <strong>cross</strong>" in wrong
    assert "Accuracy" in text
    assert "Pipe report" not in text
    assert "0:00" not in text
