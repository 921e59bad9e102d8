"""Search by text and by example, and labels without training, as a person runs them."""

import io
import json
import re
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from mlflow import MlflowClient

from qvpipe import cli, files
from qvpipe.config import parse
from qvpipe.stages.embed import embed
from qvpipe.stages.frames import frames
from qvpipe.stages.index import index
from qvpipe.video.store import read_facts, unpack
from tests.conftest import REPOSITORY, render
from tests.end_to_end.conftest import Project, make_project
from tests.search.tiny import save_tiny_clip

CLASSES = ["cooking egg", "juggling balls", "welding", "yoga"]
LABELS = {f"{CLASSES[number % 4]}/v{number}.mp4": CLASSES[number % 4] for number in range(6)}
IDS = {file.removesuffix(".mp4").replace("/", "__"): label for file, label in LABELS.items()}
ROW = re.compile(r"^ +(-?\d\.\d{3})  (.+?)  +(\d+:\d\d\.\d)  (.+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project with the settings for Kinetics, six small videos, and a tiny CLIP."""
    project = make_project(tmp_path_factory.mktemp("search"), {})
    shutil.copy(REPOSITORY / "configs/kinetics-search.yaml", project.folder / "params.yaml")
    clip = save_tiny_clip(tmp_path_factory.mktemp("clip"))
    project.set({"search": {"embedders": {"clip": str(clip)}}})
    settings = parse((project.folder / "params.yaml").read_text(encoding="utf-8"))
    for number, file in enumerate(LABELS):
        path = project.folder / settings.data.videos / file
        path.parent.mkdir(parents=True, exist_ok=True)
        render(path, codec="mpeg4", frames=13, seed=number)
    write_labels(project, LABELS)
    printed = project.run("dvc", "repro", "zeroshot")
    assert "embed: 6 videos in, 6 out, 6 of them new" in printed
    assert "zeroshot: 6 videos in, 6 out" in printed
    return project


def write_labels(project: Project, labels: Mapping[str, str]) -> None:
    """Write the list of paths and labels."""
    listed = [{"path": file, "label": label} for file, label in labels.items()]
    files.write_json(project.folder / "data/raw/kinetics700.json", listed)


@pytest.fixture
def search(
    searched: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Search as it is typed, in this process, and give all that is printed."""
    monkeypatch.chdir(searched.folder)

    def search(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr("sys.argv", ["qvpipe", "search", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert (ended.value.code or 0) == code, printed
        return printed.out + printed.err

    return search


def test_zero_shot_labels_are_judged_and_logged(searched: Project) -> None:
    result = files.read_json(searched.folder / files.zeroshot_metrics("clip"))
    assert result["videos"] == 6
    assert result["recall_at_3"] == pytest.approx(3 * result["precision_at_3"])
    assert -1 <= result["similarity_wrong"] <= 1
    folder = searched.folder / files.ZEROSHOT / "clip"
    table = files.read_predictions(folder / "predictions.csv")
    assert set(table.index) == set(IDS)
    assert list(table.columns) == CLASSES
    assert table.sum(axis=1).to_numpy() == pytest.approx(1)
    first = [CLASSES[column] for column in table.to_numpy().argmax(axis=1)]
    right = [label == IDS[video] for video, label in zip(map(str, table.index), first, strict=True)]
    assert np.mean(right) == pytest.approx(result["precision_at_1"])
    assert np.mean(right) == pytest.approx(result["accuracy"])
    client = MlflowClient(f"sqlite:///{searched.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("kinetics-search")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], "tags.kind = 'zeroshot'")
    assert run.data.metrics["precision_at_1"] == pytest.approx(result["precision_at_1"])
    assert run.data.params["templates"].startswith("a photo of {}., a photo of a person")
    logged = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert logged == {"predictions.csv", "similarities.png"}


def test_a_text_finds_the_middle_frames(searched: Project, search: Callable[..., str]) -> None:
    rows = ROW.findall(search("somebody who juggles", "-k", "4"))
    similarities = [float(row[0]) for row in rows]
    assert len(rows) == 4
    assert similarities == sorted(similarities, reverse=True)
    assert all(IDS[video] == label for _, video, _, label in rows)
    assert {time for _, _, time, _ in rows} == {"0:00.2"}  # picture 6 of 13, 25 a second
    page = (searched.folder / "search.html").read_text(encoding="utf-8")
    assert "<h1>somebody who juggles</h1>" in page
    assert page.count("data:image/jpeg;base64,") == 4
    assert all(f"{similarity:.3f}" in page for similarity in similarities)
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []


def test_searching_leaves_all_stages_as_they_are(
    searched: Project, search: Callable[..., str]
) -> None:
    search("welding")
    stages = json.loads(searched.run("dvc", "status", "--json", "embed", "zeroshot"))
    assert set(stages) <= {"index"}


def test_labels_that_join_come_before_the_ensemble(searched: Project) -> None:
    text = (searched.folder / "params.yaml").read_text(encoding="utf-8")
    searched.set({"ensemble": {"zeroshot": ["clip"]}})
    try:
        graph = searched.run("dvc", "dag", "--dot", "register")
    finally:
        (searched.folder / "params.yaml").write_text(text, encoding="utf-8")
    for arrow in ("zeroshot@clip join@clip", "join@clip ensemble", "join@clip register"):
        first, then = arrow.split()
        assert f'"{first}" -> "{then}"' in graph


def frame(project: Project, video: str, position: int, target: Path) -> None:
    """Write a stored frame as a picture."""
    picture = unpack(project.folder / files.frames_zip(video), [position]).frames[0]
    cv2.imwrite(str(target), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def test_a_frame_is_most_like_itself(
    searched: Project, search: Callable[..., str], tmp_path: Path
) -> None:
    frame(searched, "welding__v2", 0, tmp_path / "frame.png")
    printed = search("--like", str(tmp_path / "frame.png"), "-k", "1")
    assert ROW.findall(printed) == [("1.000", "welding__v2", "0:00.2", "welding")]


def test_one_text_after_another_until_an_empty_line(
    search: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("welding\nyoga\n\nnever asked\n"))
    printed = search("-k", "2")
    assert len(ROW.findall(printed)) == 4
    assert printed.count("search: by clip") == 2


def test_only_new_videos_are_embedded(
    searched: Project, search: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    raw, folder = Path("data/raw/kinetics700"), files.embedded("clip")
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    (raw / "yoga/v3.mp4").rename(raw / "yoga/new.mp4")
    gone, new = "yoga/v3.mp4", "yoga/new.mp4"
    write_labels(searched, {**{f: label for f, label in LABELS.items() if f != gone}, new: "yoga"})
    settings = files.read_settings()
    for stage in (index, frames, partial(embed, name="clip")):
        stage(settings)
    assert "embed: 6 videos in, 6 out, 1 of them new" in capsys.readouterr().out
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == {"yoga__new.safetensors"}
    found = {row[1] for row in ROW.findall(search("somebody", "-k", "99"))}
    assert found == IDS.keys() - {"yoga__v3"} | {"yoga__new"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--like", "nowhere.jpg"], "there is no file nowhere.jpg; name a picture"),
        (["--like", "params.yaml"], "params.yaml is no picture that can be read"),
        (["yoga", "--embedder", "other"], "nothing is embedded by 'other', only by clip"),
        (["yoga", "--model", "models:/qvpipe@champion"], "a classifier knows no texts"),
    ],
)
def test_a_mistake_is_one_sentence(
    search: Callable[..., str], arguments: list[str], message: str
) -> None:
    printed = search(*arguments, code=1)
    assert printed.startswith(f"error: {message}")
    assert len(printed.splitlines()) == 1


def test_another_model_than_the_embedded_one_is_noticed(
    searched: Project, search: Callable[..., str], tmp_path: Path
) -> None:
    text = (searched.folder / "params.yaml").read_text(encoding="utf-8")
    other = save_tiny_clip(tmp_path / "other", seed=1)
    searched.set({"search": {"embedders": {"clip": str(other)}}})
    try:
        printed = search("welding", code=1)
    finally:
        (searched.folder / "params.yaml").write_text(text, encoding="utf-8")
    assert "`dvc repro embed` embeds the frames with it" in printed


def test_by_default_there_is_nothing_of_it(project: Project, tmp_path: Path) -> None:
    stages = project.run("dvc", "stage", "list", "--name-only").split()
    assert [name for name in stages if name.startswith(("embed", "zeroshot", "join"))] == []
    assert "embed" not in (project.folder / "dvc.lock").read_text(encoding="utf-8")
    printed = project.run("qvpipe", "search", "crack", code=1)
    assert "error: nothing is embedded yet" in printed


def test_the_champion_searches_by_example_without_any_hub(project: Project, tmp_path: Path) -> None:
    video = sorted((project.folder / files.FRAMES).glob("*.zip"))[3].stem
    middle = len(read_facts(project.folder / files.frames_zip(video))) // 2
    frame(project, video, middle, tmp_path / "frame.png")
    before = project.git("status", "--porcelain")
    printed = project.run("qvpipe", "search", "--like", str(tmp_path / "frame.png"), "-k", "20")
    rows = ROW.findall(printed)
    assert rows[0][:2] == ("1.000", video)
    assert len(rows) == 20
    assert "by the backbone of" in printed
    assert project.git("status", "--porcelain") == before
