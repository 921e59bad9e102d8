"""MLflow on PostgreSQL and S3, as compose.yaml starts it, with two clients at once."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import psycopg2
import pytest
import yaml
from mlflow import MlflowClient

from tests.conftest import REPOSITORY, S3
from tests.end_to_end.conftest import Project
from tests.servers import free_port

POSTGRES = max(Path("/usr/lib/postgresql").glob("*/bin/postgres"), default=None)
COMPOSE: Mapping[str, Any] = yaml.safe_load(
    (REPOSITORY / "compose.yaml").read_text(encoding="utf-8")
)["services"]


def wait(what: str, answers: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not answers():
        assert time.monotonic() < deadline, f"{what} did not answer"
        time.sleep(0.5)


@pytest.fixture
def database() -> Iterator[str]:
    """Start PostgreSQL and give the URI of an empty database."""
    if POSTGRES is None:
        pytest.skip("PostgreSQL's server is not installed here")
    folder = Path(tempfile.mkdtemp(prefix="qvpipe-postgres-"))
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    port = str(free_port())
    data = str(folder / "data")
    subprocess.run(
        [POSTGRES.parent / "initdb", "-D", data, "-U", "mlflow", "--auth=trust", "--no-sync"],
        check=True, cwd=folder, stdout=subprocess.DEVNULL, user=user,
    )  # fmt: skip
    process = subprocess.Popen(
        [POSTGRES, "-D", data, "-h", "127.0.0.1", "-p", port, "-k", str(folder), "-F"],
        cwd=folder, stderr=subprocess.DEVNULL, user=user,
    )  # fmt: skip
    uri = f"postgresql://mlflow@127.0.0.1:{port}/postgres"

    def answers() -> bool:
        try:
            psycopg2.connect(uri).close()
        except psycopg2.OperationalError:
            return False
        return True

    try:
        wait("PostgreSQL", answers)
        yield uri
    finally:
        process.send_signal(signal.SIGINT)  # which does not wait for clients
        process.wait(timeout=60)
        shutil.rmtree(folder)


@pytest.fixture
def server(database: str, s3: S3, tmp_path: Path) -> Iterator[str]:
    """Start MLflow by the command and the variables of compose.yaml and give its address."""
    port = str(free_port())
    service = COMPOSE["mlflow"]
    places = {
        "mlflow:${QVPIPE_PASSWORD:?}@database:5432/mlflow": database.removeprefix("postgresql://"),
        "http://store:9000": s3.endpoint,
        "${QVPIPE_PASSWORD:?}": "secret",
        "${QVPIPE_HOST:?}": "mlflow.example.org",
        "0.0.0.0": "127.0.0.1",
        "--port 5000": f"--port {port}",
    }

    def placed(text: str) -> str:
        for name, place in places.items():
            text = text.replace(name, place)
        assert "${" not in text
        return text

    environment = {key: placed(value) for key, value in service["environment"].items()}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [placed(part) for part in service["command"]],
            cwd=tmp_path,
            env={**os.environ, **environment, "MLFLOW_WORKERS": "1", "PATH": path},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its workers can be ended with it
        )
    address = f"http://localhost:{port}"

    def answers() -> bool:
        assert process.poll() is None, (tmp_path / "server.log").read_text()
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
                return bool(answer.read() == b"OK")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    try:
        wait("MLflow", answers)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_two_clients_train_register_and_predict_at_once(
    project: Project, server: str, database: str, s3: S3, tmp_path: Path
) -> None:
    # What the server knows of S3, clients need not know.
    client_environment = {
        "MLFLOW_TRACKING_URI": server, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""
    }  # fmt: skip

    def client(loss: str) -> None:
        own = Project(tmp_path / loss, client_environment)
        project.git("clone", "--quiet", str(project.folder), str(own.folder))
        own.run("dvc", "cache", "dir", "--local", str(project.folder / ".dvc/cache"))
        own.run("dvc", "checkout")
        quick = ("-S", f"loss={loss}", "-S", "members=[superimage]", "-S", "folds=[0]")
        own.run("dvc", "exp", "run", *quick)
        video = min((project.folder / "data/raw/track1_raw_video").iterdir())
        printed = own.run("qvpipe", "predict", str(video))
        assert "predict: 1 videos in, 0 failed" in printed
        assert not (own.folder / "mlflow.db").exists()

    with ThreadPoolExecutor() as pool:
        list(pool.map(client, ("asl", "cb_focal")))

    asked = MlflowClient(server)
    experiment = asked.get_experiment_by_name("qvpipe")
    assert experiment is not None
    runs = asked.search_runs([experiment.experiment_id])
    assert sorted(run.data.tags["kind"] for run in runs) == ["ensemble"] * 2 + ["fold"] * 2
    assert {run.info.status for run in runs} == {"FINISHED"}
    parents = {run.info.run_id: run for run in runs if run.data.tags["kind"] == "ensemble"}
    assert {run.data.params["loss"] for run in parents.values()} == {"asl", "cb_focal"}
    children = [run for run in runs if run.info.run_id not in parents]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == set(parents)
    for run in parents:
        assert "ensemble.json" in [artifact.path for artifact in asked.list_artifacts(run)]
    versions = asked.search_model_versions("name = 'qvpipe'")
    assert {version.run_id for version in versions} == set(parents)
    assert sorted(int(version.version) for version in versions) == [1, 2]
    champion = asked.get_model_version_by_alias("qvpipe", "champion")
    maps = {version.version: float(version.tags["map"]) for version in versions}
    assert maps[champion.version] == max(maps.values())

    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM runs")
        assert cursor.fetchone() == (4,)
    stored = boto3.client("s3", endpoint_url=s3.endpoint).list_objects_v2(Bucket="mlflow")
    weights = [item for item in stored["Contents"] if item["Key"].endswith(".safetensors")]
    assert len(weights) == 2

    own = Project(tmp_path / "asl", client_environment)
    checked = own.run("qvpipe", "doctor", "--licence", "mlflow")
    assert ", 0 that may not be there" in checked
    assert f"MLflow's artifacts: {len(stored['Contents'])} files" in checked


def test_the_image_has_the_versions_that_are_tested_here() -> None:
    recipe = COMPOSE["mlflow"]["build"]["dockerfile_inline"]
    tested = (REPOSITORY / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()
    wanted = [word for word in recipe.split() if "==" in word]
    assert len(wanted) == 3
    assert set(wanted) <= set(tested)
