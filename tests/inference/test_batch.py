"""`qvpipe predict` as a person types it, and what it writes."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from qvpipe import tracking
from qvpipe.config import ComputeSettings
from qvpipe.errors import QvpipeError
from qvpipe.inference.batch import collect, predict_files
from qvpipe.inference.journal import Journal
from qvpipe.inference.predictor import Prediction, Predictor
from qvpipe.inference.tables import check_names, choose_writer
from tests.conftest import REPOSITORY
from tests.inference.conftest import CLASSES

GOOD = Prediction("a b.mp4", "", {"normal": 0.1, "crack": 0.7, "roots": 0.6}, ("crack", "roots"))
BAD = Prediction("=cmd.mp4", "=cmd.mp4 is empty (0 bytes)", {}, ())


def test_the_ending_chooses_the_form(tmp_path: Path) -> None:
    for name in ("p.csv", "p.json", "p.parquet", "test_result.json"):
        choose_writer(tmp_path / name)(tmp_path / name, [GOOD, BAD], CLASSES)
    table = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    assert table["labels"].to_list() == ["crack; roots", ""]
    assert table["crack"].to_list() == ["0.7", ""]
    records = json.loads((tmp_path / "p.json").read_text())
    assert records[0]["labels"] == ["crack", "roots"]
    assert (records[1]["status"], "crack" in records[1]) == ("failed", False)
    parquet = pd.read_parquet(tmp_path / "p.parquet")
    assert parquet["labels"].map(list).to_list() == [["crack", "roots"], []]
    assert parquet["crack"].isna().to_list() == [False, True]
    challenge = json.loads((tmp_path / "test_result.json").read_text())
    assert challenge == {"a b.mp4": [0.1, 0.7, 0.6]}
    with pytest.raises(QvpipeError, match=r"p.xml says no form that is known"):
        choose_writer(tmp_path / "p.xml")


def test_a_spreadsheet_runs_no_file_name(tmp_path: Path) -> None:
    choose_writer(tmp_path / "p.csv")(tmp_path / "p.csv", [BAD], CLASSES)
    (row,) = pd.read_csv(tmp_path / "p.csv").to_dict("records")
    assert (row["video"], row["error"]) == ("'=cmd.mp4", "'=cmd.mp4 is empty (0 bytes)")


def test_the_challenges_form_needs_names_that_differ(tmp_path: Path) -> None:
    with pytest.raises(QvpipeError, match=r"two videos are called x.mp4"):
        check_names(tmp_path / "test_result.json", ["a/x.mp4", "b/x.mp4"])
    check_names(tmp_path / "p.csv", ["a/x.mp4", "b/x.mp4"])


def test_files_folders_patterns_and_lists_are_taken(
    videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = [str(videos / name) for name in ("0.mp4", "1.mp4", "2.mp4", "broken.mp4")]
    assert collect([str(videos)], []) == every
    assert collect([str(videos / "[12].mp4"), every[0]], []) == [every[1], every[2], every[0]]
    assert collect([every[0], str(videos)], []) == every
    assert collect(["-"], [f"{every[2]}\n", "\n", "absent.mp4\n"]) == [every[2], "absent.mp4"]
    monkeypatch.chdir(videos)
    assert collect(["[01].mp4"], []) == ["0.mp4", "1.mp4"]
    with pytest.raises(QvpipeError, match="there is no file or folder absent"):
        collect(["absent.mp4"], [])
    with pytest.raises(QvpipeError, match="standard input lists no video"):
        collect(["-"], ["\n"])


def test_the_journal_remembers_only_what_still_holds(tmp_path: Path) -> None:
    out, video = tmp_path / "out.csv", tmp_path / "v.mp4"
    video.write_bytes(b"1")
    found = Prediction(str(video), "", {"crack": 0.1}, ("crack",))
    with contextlib.suppress(KeyboardInterrupt), Journal(out, {"model": "1"}) as journal:
        journal.add(found)
        raise KeyboardInterrupt
    assert Journal(out, {"model": "1"}).get(str(video)) == found
    assert Journal(out, {"model": "2"}).get(str(video)) is None
    with (tmp_path / "out.csv.journal").open("a") as file:
        file.write('["cut off')
    assert Journal(out, {"model": "1"}).get(str(video)) == found
    video.write_bytes(b"another")
    assert Journal(out, {"model": "1"}).get(str(video)) is None
    with Journal(out, {"model": "1"}):
        pass
    assert not (tmp_path / "out.csv.journal").exists()


def predict(ensemble: Predictor, videos: Sequence[str], out: Path) -> list[Prediction]:
    compute = ComputeSettings(workers=1)
    return predict_files(videos, ensemble, ensemble.options(batch_size=1), "1", out, compute)


def test_a_broken_video_is_a_row(ensemble: Predictor, videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    given = [str(videos / "broken.mp4"), str(videos / "1.mp4"), "ab\u202ecd.mp4"]
    found = predict(ensemble, given, out)
    rows = json.loads(out.read_text())
    assert [row["status"] for row in rows] == ["failed", "ok", "failed"]
    assert "cannot be shown" in rows[2]["error"]
    assert [row["crack"] for row in rows[1:2]] == [found[1].probabilities["crack"]]
    assert not out.with_name("out.json.journal").exists()


KILLED = """
import sys
from pathlib import Path
from qvpipe.inference import predictor
from tests.inference.test_batch import predict
predict(predictor.load(Path(sys.argv[1]), "cpu"), sys.argv[3:], Path(sys.argv[2]))
"""


def test_killed_and_started_again_it_goes_on(
    ensemble: Predictor, bundle: Path, videos: Path, tmp_path: Path
) -> None:
    out, journal = tmp_path / "out.csv", tmp_path / "out.csv.journal"
    given = []
    for number in range(60):
        given.append(str(tmp_path / f"{number:02}.mp4"))
        Path(given[-1]).write_bytes((videos / "0.mp4").read_bytes())
    process = subprocess.Popen([sys.executable, "-c", KILLED, bundle, out, *given], cwd=REPOSITORY)
    while not journal.exists() or len(journal.read_text().splitlines()) < 4:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not out.exists()
    for line in journal.read_text().splitlines()[1:4]:
        video = Path(json.loads(line)[1]["video"])
        facts = video.stat()
        video.write_bytes(b"\0" * facts.st_size)  # read again, it would fail
        os.utime(video, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    predict(ensemble, given[1:], out)
    table = pd.read_csv(out)
    assert table["video"].to_list() == given[1:]
    assert (table["status"] == "ok").all()
    assert not journal.exists()


def test_a_model_that_is_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    class Hostile(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
        def predict(self, model_input):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
            return []

        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    mlflow.pyfunc.save_model(tmp_path / "model", python_model=Hostile(), pip_requirements=[])
    with pytest.raises(QvpipeError, match="could run code from a pickle"):
        tracking.load_model(str(tmp_path / "model"))
    assert not (tmp_path / "ran").exists()


def test_the_command_tells_what_failed(
    typed: Callable[..., tuple[object, str]], videos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "test_result.json"
    code, printed = typed("predict", videos, "--workers", "1", "--out", out)
    assert code == 3
    assert f"predict: 4 videos in, 1 failed; the result is {out}" in printed
    assert sorted(json.loads(out.read_text())) == ["0.mp4", "1.mp4", "2.mp4"]
    assert typed("predict", videos / "0.mp4", "--out", out)[0] == 0
    for arguments, error in (
        (["--out", "p.xml"], "error: p.xml says no form that is known"),
        (["--threshold", "crak=0.5"], "error: the model has no class 'crak'"),
        (["--model", "models:/other@champion"], "error: there is no model models:/other@champion"),
    ):
        code, printed = typed("predict", videos / "0.mp4", *arguments)
        assert code == 1
        assert printed.splitlines()[-1].startswith(error)


def test_options_that_make_no_sense_are_wrong_usage(
    typed: Callable[..., tuple[object, str]], videos: Path
) -> None:
    for arguments, error in (
        (["--threshold", "CJ"], "argument --threshold: 'CJ' is not CLASS=P, such as CJ=0.4"),
        (["--workers", "-1"], "argument --workers: -1 is too small; allowed is 0 or more"),
        (["--batch-size", "0"], "argument --batch-size: 0 is too small; allowed is 1 or more"),
        (["--batch-size", "x"], "argument --batch-size: invalid number value: 'x'"),
    ):
        code, printed = typed("predict", videos / "0.mp4", *arguments)
        assert code == 2
        assert printed.splitlines()[-1] == f"qvpipe predict: error: {error}"


def test_a_model_of_an_older_version_is_read_for_by_this_one(
    typed: Callable[..., tuple[object, str]], videos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    assert typed("export", "models:/qvpipe@champion", folder)[0] == 0
    shutil.rmtree(folder / "code/qvpipe/compute")
    given = [videos / "0.mp4", videos / "1.mp4"]
    code, printed = typed(
        "predict", *given, "--model", folder, "--workers", "2", "--out", tmp_path / "out.csv"
    )
    assert (code, "2 videos in, 0 failed" in printed) == (0, True), printed


def test_ray_reads_as_this_machine_does(ensemble: Predictor, videos: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    here, there = tmp_path / "local.csv", tmp_path / "ray.csv"
    engines = (ComputeSettings(workers=1), ComputeSettings(workers=1, engine="ray"))
    for out, compute in zip((here, there), engines, strict=True):
        predict_files(
            collect([str(videos)], []), ensemble, ensemble.options(), "model", out, compute
        )
    assert there.read_bytes() == here.read_bytes()
