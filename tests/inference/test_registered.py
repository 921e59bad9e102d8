"""The registered model as others use it: in Python, on a server, in an environment of its own."""

import base64
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, cast

import mlflow
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from tests.inference.conftest import CLASSES, Registered
from tests.servers import free_port

SCRIPTS = Path(sys.executable).parent


class Model(Protocol):
    """What is used of a loaded model, more narrowly typed than by MLflow."""

    metadata: Any
    input_example: Any

    def predict(self, data: object, params: dict[str, Any] | None = None) -> pd.DataFrame: ...


@pytest.fixture(scope="module")
def model(registered: Registered) -> Model:
    mlflow.set_tracking_uri(registered.uri)
    return cast("Model", mlflow.pyfunc.load_model("models:/qvpipe@champion"))


def test_a_path_a_list_and_a_table_give_the_same(model: Model, videos: Path) -> None:
    paths = [str(videos / name) for name in ("0.mp4", "1.mp4", "broken.mp4")]
    table = model.predict(paths)
    assert list(table.columns) == ["video", "status", "error", *CLASSES, "labels"]
    assert table["video"].to_list() == paths
    assert table["status"].to_list() == ["ok", "ok", "failed"]
    assert table["error"].to_list() == ["", "", "broken.mp4 is empty (0 bytes)"]
    assert table[CLASSES].iloc[:2].notna().all(axis=None)
    assert table[CLASSES].iloc[2].isna().all()
    assert "roots" in table["labels"].iloc[0]
    assert table["labels"].iloc[2] == []
    pd.testing.assert_frame_equal(model.predict(pd.DataFrame({"video": paths})), table)
    more = pd.DataFrame({"video": paths, "site": ["a", "b", "c"]})
    pd.testing.assert_frame_equal(model.predict(more), table)
    assert model.predict(paths[0])[CLASSES].iloc[0].to_list() == pytest.approx(
        table[CLASSES].iloc[0].to_list(), abs=1e-6
    )


def test_bytes_give_what_their_file_gives(model: Model, videos: Path) -> None:
    content = (videos / "0.mp4").read_bytes()
    url = "data:video/mp4;base64," + base64.b64encode(content).decode()
    expected = model.predict(str(videos / "0.mp4"))[CLASSES].iloc[0].to_list()
    for given in (pd.DataFrame({"video": [content]}), [url]):
        row = model.predict(given).iloc[0]
        assert row["video"].startswith("bytes ")
        assert row[CLASSES].to_list() == pytest.approx(expected, abs=1e-6)
    broken = model.predict(["data:video/mp4;base64,%%%"]).iloc[0]
    assert broken["error"] == "the text after the comma is no base 64; encode it anew"


def test_the_signature_says_what_goes_in_and_out(model: Model) -> None:
    signature = model.metadata.signature
    assert signature.outputs.input_names() == ["video", "status", "error", *CLASSES, "labels"]
    assert {param.name for param in signature.params} == {
        "thresholds",
        "tta",
        "batch_size",
        "members",
    }
    example = model.input_example
    assert example["video"].to_list() == ["pipe.mp4"]
    assert model.predict(example)["status"].to_list() == ["failed"]


def test_parameters_change_the_answer(model: Model, videos: Path) -> None:
    path = str(videos / "0.mp4")
    own = model.predict(path).iloc[0]
    high = model.predict(path, params={"thresholds": {"roots": 1.0}}).iloc[0]
    assert "roots" in own["labels"]
    assert "roots" not in high["labels"]
    other = {"tta": True, "members": ["still"], "batch_size": 1}
    assert model.predict(path, params=other).iloc[0][CLASSES].to_list() != pytest.approx(
        own[CLASSES].to_list(), abs=1e-6
    )
    with pytest.raises(MlflowException, match="no member 'gird'"):
        model.predict(path, params={"members": ["gird"]})


def test_nothing_in_the_model_is_a_pickle(registered: Registered) -> None:
    folder = Path(mlflow.artifacts.download_artifacts("models:/qvpipe@champion"))
    names = [path.name for path in folder.rglob("*") if path.is_file()]
    assert names.count("model.safetensors") == 4
    endings = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib")
    assert not [name for name in names if name.endswith(endings)]


@pytest.fixture(scope="module")
def server(registered: Registered, videos: Path) -> Iterator[str]:
    """Serve the champion with MLflow's own server and give its address."""
    port = free_port()
    arguments = [
        "models",
        "serve",
        "-m",
        "models:/qvpipe@champion",
        "--env-manager",
        "local",
        "--workers",
        "1",
    ]
    process = subprocess.Popen(
        [SCRIPTS / "mlflow", *arguments, "--port", str(port)],
        env={
            **registered.environment,
            "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
            "QVPIPE_ALLOWED_FOLDER": str(videos),
        },
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 180
        while not _answers(f"{address}/ping"):
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server did not answer"
            time.sleep(0.5)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=30)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def ask(server: str, content: object) -> list[dict[str, Any]]:
    request = urllib.request.Request(
        f"{server}/invocations",
        json.dumps(content).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return list(json.loads(answer.read())["predictions"])


def test_the_server_answers_and_reads_no_other_path(
    server: str, model: Model, videos: Path
) -> None:
    path = str(videos / "0.mp4")
    url = "data:;base64," + base64.b64encode((videos / "1.mp4").read_bytes()).decode()
    rows = ask(
        server,
        {
            "dataframe_records": [{"video": v} for v in (path, url, "/etc/passwd")],
            "params": {"thresholds": {"roots": 1.0}},
        },
    )
    assert [row["status"] for row in rows] == ["ok", "ok", "failed"]
    assert "lies outside the folder that may be read" in rows[2]["error"]
    assert "roots" not in rows[0]["labels"]
    expected = model.predict([path, str(videos / "1.mp4")])
    for row, (_, other) in zip(rows, expected.iterrows(), strict=False):
        assert [row[c] for c in CLASSES] == pytest.approx(other[CLASSES].to_list(), abs=1e-5)


def test_a_wrong_parameter_is_the_clients_error(server: str, videos: Path) -> None:
    wrong = {"inputs": [str(videos / "0.mp4")], "params": {"members": ["gird"]}}
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(server, wrong)
    assert caught.value.code == 400
    assert "no member 'gird'" in caught.value.read().decode()


OFFLINE = """
import mlflow, socket, sys
try:
    socket.create_connection(("192.0.2.1", 9), timeout=2)
    sys.exit("there is a network")
except OSError:
    pass
model = mlflow.pyfunc.load_model(sys.argv[1])
model.predict(sys.argv[2:]).to_json(sys.argv[1] + ".out", orient="records")
"""


@pytest.mark.skipif(shutil.which("uv", path=SCRIPTS) is None, reason="uv is not installed")
def test_it_predicts_in_an_environment_of_its_requirements_alone_without_a_network(
    registered: Registered, model: Model, videos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    mlflow.artifacts.download_artifacts("models:/qvpipe@champion", dst_path=str(folder))
    uv, python = SCRIPTS / "uv", tmp_path / "venv" / "bin" / "python"
    subprocess.run(
        [uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv"], check=True
    )
    install = [str(uv), "pip", "install", "--quiet", "--python", str(python)]
    requirements = ["--requirements", str(folder / "requirements.txt")]
    # What is in uv's cache is enough where it is complete, and takes seconds.
    if subprocess.run([*install, "--offline", *requirements], check=False).returncode:
        subprocess.run([*install, *requirements], check=True)
    paths = [str(videos / "0.mp4"), str(videos / "broken.mp4")]
    subprocess.run(
        [*_without_network(), python, "-c", OFFLINE, folder, *paths],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        check=True,
    )
    found = pd.read_json(f"{folder}.out", orient="records")
    expected = model.predict(paths)
    assert found["error"].to_list() == expected["error"].to_list()
    assert found[CLASSES].iloc[0].to_list() == pytest.approx(
        expected[CLASSES].iloc[0].to_list(), abs=1e-5
    )


def _without_network() -> list[str]:
    """Return how to start a command without a network, where the system lets one."""
    command = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") and not subprocess.run([*command, "true"], check=False).returncode:
        return command
    pytest.skip("the network cannot be taken away here: unshare --net is missing or forbidden")
