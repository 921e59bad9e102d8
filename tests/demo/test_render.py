import csv
import hashlib
import json
import re
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import av
import pytest

from qvpipe.config import QVPIPE_CLASSES
from qvpipe.demo import render_demo
from qvpipe.demo.plan import plan_clips
from qvpipe.errors import QvpipeError

pytestmark = pytest.mark.slow

VIDEOS, SEED = 5, 4
RAW, LABELS = "track1_raw_video", "qv_pipe_train.json"


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "data"
    render_demo(folder, VIDEOS, SEED, workers=1)
    return folder


def test_the_folder_holds_videos_labels_boxes_and_the_stamp(demo: Path) -> None:
    assert {path.name for path in demo.iterdir()} == {RAW, LABELS, "visible.csv", "demo.json"}
    labels = json.loads((demo / LABELS).read_text())
    assert labels == {clip.name: clip.labels for clip in plan_clips(VIDEOS, SEED)}
    assert {path.name for path in (demo / RAW).iterdir()} == set(labels)


def test_every_file_decodes_and_lasts_as_long_as_planned(demo: Path) -> None:
    for clip in plan_clips(VIDEOS, SEED):
        with av.open(str(demo / RAW / clip.name)) as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height) == (clip.width, clip.height)
            assert stream.average_rate == 25
            frames = sum(1 for _ in container.decode(stream))
        assert frames == round(clip.seconds * 25)
        assert 4 <= clip.seconds <= 10


def test_boxes_agree_with_the_labels_and_lie_in_the_picture(demo: Path) -> None:
    moments = defaultdict(list)
    clips = {clip.video: clip for clip in plan_clips(VIDEOS, SEED)}
    with (demo / "visible.csv").open() as file:
        for row in csv.DictReader(file):
            clip = clips[row["video"]]
            assert 0 <= float(row["x0"]) < float(row["x1"]) <= clip.width
            assert 0 <= float(row["y0"]) < float(row["y1"]) <= clip.height
            assert 0 <= float(row["time_s"]) <= clip.seconds
            moments[clip.video, int(row["class"])].append(float(row["time_s"]))
    normal = QVPIPE_CLASSES.index("ZC")
    expected = {(c.video, label) for c in clips.values() for label in c.labels if label != normal}
    assert set(moments) == expected
    for (video, _), times in moments.items():
        assert 0.1 < len(times) * 0.2 / clips[video].seconds < 0.85


def test_a_second_call_does_nothing(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*")}
    render_demo(demo, VIDEOS, SEED, workers=1)
    assert {path: path.stat().st_mtime_ns for path in demo.rglob("*")} == before
    assert "already" in capsys.readouterr().out


def test_a_killed_run_leaves_nothing_half_and_the_next_one_gives_the_same_bytes(
    demo: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; from qvpipe.demo import render_demo; "
        f"render_demo(Path(sys.argv[1]), {VIDEOS}, {SEED}, workers=1)"
    )
    folder = tmp_path / "data"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stderr=subprocess.DEVNULL,
        env={"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
    )
    deadline = time.monotonic() + 30
    while not list(folder.glob(f".demo-rendering/{RAW}/*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    process.kill()
    process.wait()
    assert not (folder / RAW).exists()
    assert not (folder / LABELS).exists()
    rendered = list(folder.glob(f".demo-rendering/{RAW}/*"))
    assert 0 < len(rendered) < VIDEOS
    for path in rendered:
        assert path.read_bytes() == (demo / RAW / path.name).read_bytes()

    render_demo(folder, VIDEOS, SEED, workers=3)
    assert digests(folder) == digests(demo)


@pytest.mark.parametrize("name", [f"{RAW}/d1.mp4", LABELS])
def test_somebody_elses_data_is_refused_and_untouched(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(QvpipeError, match="choose another folder"):
        render_demo(tmp_path, 2, 0, workers=1)
    assert list(digests(tmp_path)) == [name]


def test_another_demo_set_is_refused_and_untouched(demo: Path) -> None:
    before = digests(demo)
    with pytest.raises(QvpipeError, match=re.escape(f"{VIDEOS} videos, seed {SEED}")):
        render_demo(demo, VIDEOS + 1, SEED, workers=1)
    assert digests(demo) == before


@pytest.mark.parametrize(("videos", "workers"), [(0, 1), (3, 0)])
def test_senseless_numbers_are_refused(tmp_path: Path, videos: int, workers: int) -> None:
    with pytest.raises(QvpipeError, match="at least 1"):
        render_demo(tmp_path / "data", videos, 0, workers)
    assert not (tmp_path / "data").exists()
