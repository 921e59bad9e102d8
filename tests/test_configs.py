from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml

from qvpipe.config import ModelSettings, Settings, parse
from qvpipe.learning.clips import SWIN_HUB, VIDEOMAE_HUB
from qvpipe.learning.fit import fit
from qvpipe.learning.items import Items
from qvpipe.learning.losses import make_loss
from qvpipe.learning.network import Network

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
SIDE = 96
LARGE = 120e6
"""Weights of a backbone above which a step would need gigabytes."""


def settings(path: Path) -> Settings:
    return parse(path.read_text(encoding="utf-8"))


def has(tree: Mapping[str, Any], key: str) -> bool:
    first, _, rest = key.partition(".")
    return first in tree and (not rest or has(tree[first], rest))


def tiny(model: ModelSettings) -> ModelSettings:
    return replace(model, pretrained="none", size=SIDE, frames=min(model.frames, 2))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_a_whole_params_file(path: Path) -> None:
    """What the file leaves out would be hidden from its reader."""
    text = path.read_text(encoding="utf-8")
    for key in Settings.__dataclass_fields__:
        assert f"\n{key}:" in text
    assert f"cp configs/{path.name} params.yaml" in text
    for member, model in settings(path).models.items():
        if model.input == "clip":
            assert model.backbone in VIDEOMAE_HUB | SWIN_HUB
            continue
        weights = timm.get_pretrained_cfg(model.backbone)
        assert weights is not None, member
        assert weights.has_weights, member


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_setting_that_a_stage_depends_on_is_there(path: Path) -> None:
    """DVC refuses to run a stage without them."""
    text = (path.parents[1] / "dvc.yaml").read_text(encoding="utf-8")
    config = settings(path)
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    text = text.replace("${loss}", config.loss).replace("${item.member}", config.members[0])
    stages = yaml.safe_load(text)["stages"].values()
    keys = [key for stage in stages for key in stage.get("do", stage)["params"]]
    # Those of each embedder are there where the embedder is.
    assert [key for key in keys if "${" not in key and not has(given, key)] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "member"),
    [
        pytest.param(path, member, id=f"{path.stem}-{member}")
        for path in CONFIGS
        for member in settings(path).members
    ],
)
def test_every_model_takes_a_step(path: Path, member: str) -> None:
    config = settings(path)
    model = tiny(config.models[member])
    views = 1 if model.input == "superimage" else model.frames
    pictures = torch.randint(0, 256, (2, views, 3, SIDE, SIDE), dtype=torch.uint8)
    with torch.device("meta"):
        network = Network(model, 17, "none")
    if sum(parameter.numel() for parameter in network.parameters()) > LARGE:
        network(pictures.to("meta")).sum().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
        return
    network = Network(model, 17, "none")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    part = Items(pictures, torch.eye(2, 17))
    recipe = replace(config.recipe(member), epochs=1, ema_decay=0.0)
    loss = make_loss(config, torch.ones(17))
    grid = config.superimages.grid if model.input == "superimage" else 1
    cpu = torch.device("cpu")
    fitted = fit(network, part, part, loss, recipe, cpu, task=config.task, grid=grid)
    assert any(not torch.equal(fitted.state[name], value) for name, value in before.items())


def test_there_is_one_for_each_purpose() -> None:
    assert [path.stem for path in CONFIGS] == [
        "coin-videomae",
        "kinetics-search",
        "qvpipe-framewise",
        "qvpipe-small",
        "qvpipe-swin",
        "qvpipe-winner",
        "thumbnails",
    ]
