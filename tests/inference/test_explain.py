"""Explanations by networks that look for red, of a video that shows red at one place for a time."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qvpipe.cli import explanation_text
from qvpipe.errors import QvpipeError
from qvpipe.inference.explain import Explanation, explain
from qvpipe.inference.gradcam import heat_maps
from qvpipe.inference.pictures import draw, write_explanation
from qvpipe.inference.predictor import Predictor
from qvpipe.learning.network import Network
from tests.inference.conftest import CLASSES, RULES, SETTINGS

RED = (100, 20, 132, 52)
"""Where the red square is, left, upper, right and lower edge, in a picture of 160 x 96."""
SPAN_S = (0.8, 1.16)


class Redness(nn.Module):
    """A backbone with one feature, which is how red each part of 8 x 8 pixels is."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_info = [{"module": "features", "reduction": 8}]
        self.features = nn.Conv2d(3, 1, 8, 8, bias=False)
        self.features.weight.data = (
            torch.tensor([2.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
        )

    def forward(self, pictures: Tensor) -> Tensor:
        found: Tensor = self.features(pictures).relu().mean(dim=(2, 3))
        return found


def red_network(member: str) -> Network:
    network = Network(SETTINGS.models[member], len(CLASSES), pretrained="none")
    network.backbone = Redness()
    network.head = nn.Linear(1, len(CLASSES))
    network.head.weight.data = torch.tensor([[-1.0], [1.0], [-1.0]])
    return network


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("red") / "red video.mp4"
    random = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (160, 96))
    for number in range(36):
        picture = random.integers(90, 130, (96, 160, 3), dtype=np.uint8)
        if SPAN_S[0] <= number / 25 < SPAN_S[1]:
            left, top, right, bottom = RED
            picture[top:bottom, left:right] = (20, 20, 230)
        writer.write(picture)
    writer.release()
    return path


def looks_for_red(members: tuple[str, ...], fit: Literal["squash", "letterbox"]) -> Predictor:
    settings = replace(SETTINGS, superimages=replace(SETTINGS.superimages, tile=64, fit=fit))
    settings = replace(
        settings, models={**settings.models, "grid": replace(settings.models["grid"], size=192)}
    )
    networks = {member: [red_network(member)] for member in members}
    rules = {**RULES, "members": {m: 1 / len(members) for m in members}, "normal_above": None}
    return Predictor(settings, rules, networks, torch.device("cpu"))


def check(explanation: Explanation) -> None:
    (seeing,) = explanation.seeings
    best = seeing.moments[0]
    assert SPAN_S[0] <= best.time_s < SPAN_S[1]
    left, top, right, bottom = RED
    assert left <= best.point[0] < right
    assert top <= best.point[1] < bottom
    assert best.box == pytest.approx(RED, abs=12)
    assert best.frame.shape == (96, 160, 3)
    assert best.heat.shape == (96, 160)
    assert best.heat.max() == pytest.approx(1)
    assert [moment.share for moment in seeing.moments] == sorted(
        (moment.share for moment in seeing.moments), reverse=True
    )


@pytest.mark.parametrize("fit", ["squash", "letterbox"])
@pytest.mark.parametrize("members", [("still",), ("grid",), ("still", "grid")])
def test_the_red_square_is_found_in_time_and_place(
    video: Path, members: tuple[str, ...], fit: Literal["squash", "letterbox"]
) -> None:
    check(explain(looks_for_red(members, fit), video, ["crack"]))


def test_frames_are_scored_by_members_that_see_single_ones(video: Path) -> None:
    explanation = explain(looks_for_red(("still", "grid"), "squash"), video, ["crack"])
    assert list(explanation.frame_scores) == ["still"]
    scores = explanation.frame_scores["still"]
    assert scores.shape == (SETTINGS.frames.count, len(CLASSES))
    red = (explanation.times >= SPAN_S[0]) & (explanation.times < SPAN_S[1])
    assert scores[red, 1].min() > scores[~red, 1].max()


def test_predicted_classes_are_explained_and_normal_is_nowhere(
    ensemble: Predictor, video: Path
) -> None:
    explanation = explain(ensemble, video)
    assert [seeing.name for seeing in explanation.seeings] == list(explanation.prediction.labels)
    (normal,) = explain(ensemble, video, ["normal"]).seeings
    assert normal.moments == ()


def test_a_single_picture_is_seen_at_no_time(video: Path, tmp_path: Path) -> None:
    picture = np.full((96, 160, 3), 110, dtype=np.uint8)
    left, top, right, bottom = RED
    picture[top:bottom, left:right] = (20, 20, 230)
    cv2.imwrite(str(tmp_path / "red.png"), picture)
    predictor = looks_for_red(("still", "grid"), "squash")
    of_picture = explain(predictor, tmp_path / "red.png", ["crack", "normal"])
    crack, normal = explanation_text(of_picture, predictor.thresholds).splitlines()
    assert crack.endswith("(threshold 0.40)  seen in the picture")
    assert normal.endswith("nowhere in particular")
    of_video = explain(predictor, video, ["crack"], moments=1)
    assert re.search(r"seen at \d\.\d s$", explanation_text(of_video, predictor.thresholds))


def test_a_backbone_without_maps_is_named() -> None:
    network = red_network("grid")
    network.backbone.feature_info = []  # type: ignore[assignment]
    with pytest.raises(QvpipeError, match="Redness has no maps of features"):
        heat_maps([network], torch.zeros(1, 3, 32, 32, dtype=torch.uint8), 0)


def test_an_explanation_is_pictures_and_json(video: Path, tmp_path: Path) -> None:
    explanation = explain(looks_for_red(("still",), "squash"), video, ["crack"], moments=2)
    thresholds = dict.fromkeys(CLASSES, 0.5)
    path = write_explanation(explanation, tmp_path, CLASSES, thresholds, {"crack": "a crack"})
    content = json.loads(path.read_text())
    (shown,) = content["classes"]
    assert (shown["class"], shown["meaning"], shown["threshold"]) == ("crack", "a crack", 0.5)
    assert [moment["picture"] for moment in shown["moments"]] == [
        "red_video_crack_1.jpg",
        "red_video_crack_2.jpg",
    ]
    assert len(content["frame_scores"]["still"]) == SETTINGS.frames.count
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "red_video.json",
        "red_video_crack_1.jpg",
        "red_video_crack_2.jpg",
    ]
    moment = explanation.seeings[0].moments[0]
    changed = np.abs(draw(moment).astype(int) - moment.frame).sum(axis=2) > 30
    left, top, right, bottom = moment.box
    assert changed[top, left:right].all()
    assert changed[top:bottom, left].all()


def test_a_hostile_class_or_video_name_stays_in_the_folder(video: Path, tmp_path: Path) -> None:
    explanation = explain(looks_for_red(("still",), "squash"), video, ["crack"], moments=1)
    hostile = replace(
        explanation,
        prediction=replace(
            explanation.prediction,
            video="/x/..<b>.mp4",
            probabilities={"../../crack": 0.5},
        ),
        seeings=(replace(explanation.seeings[0], name="../../crack"),),
    )
    folder = tmp_path / "a" / "b" / "c"
    write_explanation(hostile, folder, CLASSES, {"../../crack": 0.5}, {})
    assert {p.parent for p in tmp_path.rglob("*") if p.is_file()} == {folder}


def test_the_command_writes_pictures_and_tells_the_seconds(
    typed: Callable[..., tuple[object, str]], video: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, printed = typed("explain", video, "--out", out, "--classes", "crack", "--moments", "1")
    assert code == 0
    assert "crack" in printed
    assert "seen at " in printed
    assert sorted(p.name for p in out.iterdir()) == ["red_video.json", "red_video_crack_1.jpg"]
    for arguments, error in (
        ([video, "--classes", "crak"], "error: the model has no class 'crak'"),
        ([tmp_path / "absent.mp4"], "error: absent.mp4 cannot be opened"),
    ):
        code, printed = typed("explain", *arguments, "--out", tmp_path / "none")
        assert code == 1
        assert printed.splitlines()[-1].startswith(error)
    assert not (tmp_path / "none").exists()
