"""Search by text and by example, and labels without training, as a person runs them."""

import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from mlflow import MlflowClient

from qvpipe import cli, files
from qvpipe.video.store import read_facts, unpack
from tests.conftest import render
from tests.end_to_end.conftest import Project, make_project
from tests.search.tiny import save_tiny_clip

CLASSES = ["crack", "tree roots", "deposit", "normal"]
ROW = re.compile(r"^ +(-?\d\.\d{3})  (\S+) +(\d+:\d\d\.\d)  (.+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project with six small videos whose frames are embedded by a tiny CLIP."""
    clip = save_tiny_clip(tmp_path_factory.mktemp("clip"))
    settings = {
        "data": {"classes": "data/raw/classes.txt", "normal": "normal"},
        "frames": {"count": 9, "size": 64},
        "superimages": {"tile": 24},
        "models": {"superimage": {"size": 72}},
        "search": {
            "frames": "all",
            "embedders": {"clip": str(clip)},
            "zeroshot": {"clip": ["a photo of {}", "{} in a pipe"]},
        },
    }
    project = make_project(tmp_path_factory.mktemp("search"), settings)
    raw = project.folder / "data/raw"
    (raw / "track1_raw_video").mkdir(parents=True)
    for number in range(6):
        name = f"v{number}.mp4"
        render(raw / "track1_raw_video" / name, codec="mpeg4", frames=12, seed=number)
    labels = {f"v{number}.mp4": [number % 4] for number in range(5)} | {"v5.mp4": []}
    (raw / "qv_pipe_train.json").write_text(json.dumps(labels), encoding="utf-8")
    (raw / "classes.txt").write_text("\n".join(CLASSES), encoding="utf-8")
    printed = project.run("dvc", "repro", "zeroshot")
    assert "embed: 6 videos in, 6 out, 6 of them new" in printed
    assert "zeroshot: 5 videos in, 5 out" in printed
    return project


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
    assert result["videos"] == 5
    assert result["precision_at_1"] in np.arange(6) / 5
    assert result["recall_at_3"] == pytest.approx(3 * result["precision_at_3"])
    assert -1 <= result["similarity_wrong"] <= 1
    folder = searched.folder / files.ZEROSHOT / "clip"
    table = files.read_predictions(folder / "predictions.csv")
    assert list(table.index) == [f"v{number}" for number in range(5)]
    assert list(table.columns) == CLASSES
    assert table.sum(axis=1).to_numpy() == pytest.approx(1)
    first = table.to_numpy().argmax(axis=1) == [0, 1, 2, 3, 0]
    assert first.mean() == pytest.approx(result["precision_at_1"])
    client = MlflowClient(f"sqlite:///{searched.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("qvpipe")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], "tags.kind = 'zeroshot'")
    assert run.data.metrics["precision_at_1"] == pytest.approx(result["precision_at_1"])
    assert run.data.params["templates"] == "a photo of {}, {} in a pipe"
    logged = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert logged == {"predictions.csv", "similarities.png"}


def test_a_text_finds_frames(searched: Project, search: Callable[..., str]) -> None:
    printed = search("tree roots in the pipe", "-k", "7")
    rows = ROW.findall(printed)
    similarities = [float(row[0]) for row in rows]
    assert len(rows) == 7
    assert similarities == sorted(similarities, reverse=True)
    shown = {"v0": "crack", "v1": "tree roots", "v2": "deposit", "v3": "normal", "v4": "crack"}
    assert all(shown.get(video, "-") == labels for _, video, _, labels in rows)
    page = (searched.folder / "search.html").read_text(encoding="utf-8")
    assert "<h1>tree roots in the pipe</h1>" in page
    assert page.count("data:image/jpeg;base64,") == 7
    assert all(f"{similarity:.3f}" in page for similarity in similarities)
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []


def test_searching_leaves_all_stages_as_they_are(
    searched: Project, search: Callable[..., str]
) -> None:
    search("crack")
    stages = json.loads(searched.run("dvc", "status", "--json", "embed", "zeroshot"))
    assert set(stages) <= {"index"}


def frame(project: Project, video: str, position: int, target: Path) -> float:
    """Write a stored frame as a picture and return its time."""
    zipped = project.folder / files.frames_zip(video)
    picture = unpack(zipped, [position]).frames[0]
    cv2.imwrite(str(target), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return read_facts(zipped)[position].time_s


def test_a_frame_is_most_like_itself(
    searched: Project, search: Callable[..., str], tmp_path: Path
) -> None:
    time_s = frame(searched, "v3", 4, tmp_path / "frame.png")
    printed = search("--like", str(tmp_path / "frame.png"), "-k", "1")
    assert ROW.findall(printed) == [("1.000", "v3", f"0:{time_s:04.1f}", "normal")]


def test_one_text_after_another_until_an_empty_line(
    search: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("crack\nroots\n\nnever asked\n"))
    printed = search("-k", "2")
    assert len(ROW.findall(printed)) == 4
    assert printed.count("search: by clip") == 2


def test_only_new_videos_are_embedded(searched: Project, search: Callable[..., str]) -> None:
    raw = searched.folder / "data/raw"
    folder = searched.folder / files.embedded("clip")
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    shutil.copy(raw / "track1_raw_video/v0.mp4", raw / "track1_raw_video/w0.mp4")
    labels = files.read_json(raw / "qv_pipe_train.json")
    files.write_json(raw / "qv_pipe_train.json", {**labels, "w0.mp4": [0]})
    (raw / "track1_raw_video/v5.mp4").unlink()
    printed = searched.run("dvc", "repro", "embed")
    assert "embed: 6 videos in, 6 out, 1 of them new" in printed
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == {"w0.safetensors"}
    found = {row[1] for row in ROW.findall(search("crack", "-k", "99"))}
    assert found == {"v0", "v1", "v2", "v3", "v4", "w0"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--like", "nowhere.jpg"], "there is no file nowhere.jpg; name a picture"),
        (["--like", "params.yaml"], "params.yaml is no picture that can be read"),
        (["crack", "--embedder", "other"], "nothing is embedded by 'other', only by clip"),
        (["crack", "--model", "models:/qvpipe@champion"], "a classifier knows no texts"),
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
        printed = search("crack", code=1)
    finally:
        (searched.folder / "params.yaml").write_text(text, encoding="utf-8")
    assert "`dvc repro embed` embeds the frames with it" in printed


def test_by_default_there_is_nothing_of_it(project: Project, tmp_path: Path) -> None:
    stages = project.run("dvc", "stage", "list", "--name-only").split()
    assert [name for name in stages if name.startswith(("embed", "zeroshot"))] == []
    assert "embed" not in (project.folder / "dvc.lock").read_text(encoding="utf-8")
    printed = project.run("qvpipe", "search", "crack", code=1)
    assert "error: nothing is embedded yet" in printed


def test_the_champion_searches_by_example_without_any_hub(project: Project, tmp_path: Path) -> None:
    video = sorted((project.folder / files.FRAMES).glob("*.zip"))[3].stem
    middle = len(read_facts(project.folder / files.frames_zip(video))) // 2
    frame(project, video, middle, tmp_path / "frame.png")
    printed = project.run("qvpipe", "search", "--like", str(tmp_path / "frame.png"), "-k", "20")
    rows = ROW.findall(printed)
    assert rows[0][:2] == ("1.000", video)
    assert len(rows) == 20
    assert "by the backbone of" in printed
    assert project.git("status", "--porcelain") == ""
