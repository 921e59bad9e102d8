import pickle
from pathlib import Path

import pytest
import yaml

from qvpipe import config
from qvpipe.config import SettingsError, as_tree, parse

COMMITTED = Path(__file__).parents[1] / "params.yaml"


def changed(old: str, new: str) -> str:
    text = COMMITTED.read_text(encoding="utf-8")
    assert old in text
    return text.replace(old, new, 1)


def test_the_committed_settings_are_valid_and_whole() -> None:
    text = COMMITTED.read_text(encoding="utf-8")
    settings = parse(text)
    assert settings.loss in ("bce", "asl", "cb_focal")
    tree, committed = as_tree(settings), yaml.safe_load(text)
    for models in (tree["models"], committed["models"]):
        models["superimage"].pop("frames", None)
        for model in models.values():
            # They are of heads with a hidden layer alone.
            model.pop("hidden", None)
            model.pop("activation", None)
            model.pop("architecture", None)  # Of clips alone.
    assert tree == committed


def test_settings_cannot_be_changed() -> None:
    settings = parse(COMMITTED.read_text(encoding="utf-8"))
    with pytest.raises(AttributeError):
        settings.seed = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.models["other"] = settings.models["framewise"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("loss: bce", "loss: als", "loss: found 'als'; allowed is any of bce, asl, cb_focal"),
        ("loss: bce", "loss: als", "did you mean 'asl'?"),
        ("  epochs:", "  epoch:", "train.epoch: unknown key"),
        ("  epochs:", "  epoch:", "did you mean 'epochs'?"),
        ("  folds: 5", "  folds: 1", "splits.folds: found 1; allowed is 2 to 100"),
        ("  folds: 5", "  folds: 3", "folds: found [0, 1, 2, 3, 4]; allowed is any choice"),
        ("count: 27", "count: 2.5", "frames.count: found 2.5; allowed is a whole number"),
        ("count: 27", "count: true", "frames.count: found True"),
        ("count: 27", "count: 8", "frames.count: found 8; allowed is 9 or more"),
        ("tile: 128", "tile: 448", "superimages.tile: found 448; allowed is 8 to 192, because"),
        ("flip: 0.5", "flip: 1.5", "train.flip: found 1.5; allowed is 0 to 1"),
        ("lr: 0.002", "lr: fast", "train.lr: found 'fast'; allowed is a number"),
        ("compile: false", "compile: 1", "train.compile: found 1; allowed is true or false"),
        ("members: [framewise,", "members: [framwise,", "did you mean 'framewise'?"),
        ("[framewise, superimage]", "[]", "members: is empty"),
        ("[framewise, superimage]", "framewise", "members: found 'framewise'; allowed is a list"),
        ("[framewise, superimage]", "[framewise, framewise]", "each may stand there only once"),
        ("train: {}", "train: {lr: -1}", "models.superimage.train.lr: found -1"),
        ("train: {}", "train: {lrr: 1}", "models.superimage.train.lrr: unknown key"),
        ("  framewise:", "  frame/wise:", "models.frame/wise: a model's name becomes a folder's"),
        ("data/raw/track1_raw_video", "", "data.videos: found None; allowed is a text"),
        ("group: '^(.+)_\\d+$'", "group: '('", "data.group: is no valid regular expression"),
        ("group: '^(.+)_\\d+$'", "group: 'x'", "data.group: found 'x', which has no (...)"),
        (
            "weights: validation",
            "weights: {framewise: 1}",
            "has no weight for the member superimage",
        ),
        ("weights: validation", "weights: {framwise: 1}", "models has no entry of that name"),
        ("weights: validation", "weights: {framewise: -1}", "ensemble.weights.framewise: found -1"),
        (
            "weights: validation",
            "weights: {framewise: 0, superimage: 0}",
            "no member has a weight above",
        ),
        (
            "weights: validation",
            "weights: map",
            "ensemble.weights: found 'map'; allowed is any of valid",
        ),
        (
            "zeroshot: []",
            "zeroshot: [clip]",
            "ensemble.zeroshot: found 'clip', which search.zeroshot",
        ),
        ("loss: bce", "loss: ce", "loss: found 'ce'; allowed is any but ce, because task is"),
        ("task: multilabel", "task: multiclass", "loss: found 'bce'; allowed is ce, because task"),
        ("validation: null", "validation: valid", "folds: found [0, 1, 2, 3, 4] of 5; allowed"),
        ("embedders: {}", "embedders: {a b: c}", "search.embedders.a b: the name becomes a folder"),
        ("zeroshot: {}", 'zeroshot: {clip: ["{}"]}', "search.embedders has no entry of that name"),
        ("zeroshot: {}", "zeroshot: {clip: {}}", "search.zeroshot.clip: found {}; allowed is a li"),
        ("longest_s: null", "longest_s: -1", "data.longest_s: found -1; allowed is 0 or more"),
        ("shortest_s: null\n  longest_s: null", "shortest_s: 9\n  longest_s: 5", "at most data.l"),
        (
            "input: frames\n    frames: 5",
            "input: clip\n    frames: 28",
            "frames: found 28; allowed",
        ),
        ("train: {}", "architecture: {depth: 2}", "superimage.architecture: is for the input clip"),
        (
            "head: linear\n    pretrained: bundled\n    freeze",
            "head: ml_decoder\n    input: clip\n    pretrained: bundled\n    freeze",
            "models.superimage.head: found 'ml_decoder'; allowed is linear or mlp",
        ),
        ("seed: 0", "seed: [", "params.yaml is no valid YAML"),
        ("seed: 0", "sed: 0", "sed: unknown key; allowed here is any of"),
        ("size: 192\n    b", "size: 193\n    b", "size: found 193; allowed is a multiple of 3"),
    ],
)
def test_what_is_wrong_is_one_line_that_says_so(old: str, new: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(changed(old, new))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^data: is missing"):
        parse("members: [a]\nfolds: [0]\nmodels: {a: {input: frames, size: 32, backbone: b}}\n")


def test_a_number_in_scientific_notation_is_a_number() -> None:
    assert parse(changed("lr: 0.002", "lr: 3e-4")).train.lr == 3e-4


def test_models_go_to_processes_that_read_pictures() -> None:
    model = parse(changed("train: {}", "train: {lr: 0.5}")).models["superimage"]
    assert pickle.loads(pickle.dumps(model)) == model


def test_a_model_overrides_the_recipe() -> None:
    settings = parse(changed("train: {}", "train: {lr: 0.5, epochs: 3}"))
    assert (settings.recipe("superimage").lr, settings.recipe("superimage").epochs) == (0.5, 3)
    assert settings.recipe("framewise").lr == settings.train.lr


def test_the_classes_of_qvpipe_are_in_their_official_order() -> None:
    assert len(config.QVPIPE_CLASSES) == 17
    assert config.QVPIPE_CLASSES[0] == "ZC"
    assert config.QVPIPE_CLASSES[14] == "QF"
