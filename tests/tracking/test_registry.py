"""Two clients of one server that register at the same moment."""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from mlflow import MlflowClient

from qvpipe import tracking
from tests.servers import free_port, server

pytestmark = pytest.mark.slow

MODELS = itertools.count()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("server"))
        with server(port):
            yield f"http://127.0.0.1:{port}"


@pytest.fixture
def client(address: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    return MlflowClient(address)


@pytest.fixture
def model(client: MlflowClient) -> str:
    """Return the name of a registered model without versions."""
    name = f"model {next(MODELS)}"
    client.create_registered_model(name)
    return name


def version(client: MlflowClient, model: str, score: float, folds: str = "0, 1") -> str:
    """Register a version as the stage does, without the files."""
    run = client.create_run("0").info.run_id
    tags = {"index": "an index", "folds": folds, "measure": "mAP", "score": repr(score)}
    source = f"runs:/{run}/model"
    made = client.create_model_version(model, source, run, tags=tags, await_creation_for=0)
    return str(made.version)


def award(model: str, version: str, met: tracking.Contest) -> str:
    return tracking.award(model, version, met, "champion", {}, "a card")


def champion(client: MlflowClient, model: str) -> str:
    return str(client.get_model_version_by_alias(model, "champion").version)


@pytest.mark.parametrize("scores", [(0.4, 0.6), (0.6, 0.4), (0.5, 0.5)])
@pytest.mark.parametrize("first", [True, False])
def test_whoever_comes_second_leaves_the_alias_to_the_better(
    client: MlflowClient, model: str, scores: Sequence[float], first: bool
) -> None:
    if not first:
        award(model, version(client, model, 0.3), tracking.contest(model))
    versions = [version(client, model, score) for score in scores]
    met = tracking.contest(model)
    given = [award(model, one, met) for one in versions]
    best = versions[0] if scores[0] >= scores[1] else versions[1]
    assert champion(client, model) == best
    assert given[1] == ("champion" if best == versions[1] else "challenger")
    if best == versions[0]:
        challenger = client.get_model_version_by_alias(model, "challenger")
        assert str(challenger.version) == versions[1]


def test_both_at_once_leave_the_alias_to_the_better(client: MlflowClient, model: str) -> None:
    award(model, version(client, model, 0.1), tracking.contest(model))
    for step in range(2, 7):
        versions = [version(client, model, step / 10 + add) for add in (0, 0.05, 0.02)]
        start = Barrier(len(versions))

        def register(one: str, start: Barrier = start) -> str:
            met = tracking.contest(model)
            start.wait()
            return award(model, one, met)

        with ThreadPoolExecutor(len(versions)) as pool:
            given = list(pool.map(register, versions))
        assert champion(client, model) == versions[1]
        assert given[1] == "champion"


def test_a_version_of_before_takes_nothing_back(client: MlflowClient, model: str) -> None:
    award(model, version(client, model, 0.3), tracking.contest(model))
    award(model, version(client, model, 0.6), tracking.contest(model))
    tracking.promote(model, "1", "the other one is too slow")
    third = version(client, model, 0.5)
    assert award(model, third, tracking.contest(model)) == "champion"
    assert champion(client, model) == third


def test_other_folds_are_no_rival(client: MlflowClient, model: str) -> None:
    met = tracking.contest(model)
    award(model, version(client, model, 0.9, folds="0"), met)
    second = version(client, model, 0.5)
    assert award(model, second, met) == "champion"
    assert champion(client, model) == second
