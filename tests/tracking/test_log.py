import sqlite3
from pathlib import Path

import pytest

from qvpipe import files, tracking
from qvpipe.config import Settings
from tests.servers import free_port, kill, server
from tests.tracking.results import RESULT, all_runs, history, write_weights

pytestmark = pytest.mark.slow

UNSENT = Path("mlflow-unsent")


def test_nothing_is_lost_while_the_server_is_away(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    with server(port) as first, tracking.fold_run(settings, "framewise", 0) as tracked:
        tracked.epoch({"number": 1, "loss": 1.0, "map": 0.1})
        kill(first)
        tracked.epoch({"number": 2, "loss": 0.5, "map": 0.2})
        with server(port):
            tracked.epoch({"number": 3, "loss": 0.25, "map": 0.3})
            (run,) = all_runs().values()
            assert history(run, "loss") == [(1, 1.0), (2, 0.5), (3, 0.25)]
            assert list(UNSENT.iterdir()) == []
        tracked.finish(RESULT, write_weights(1))
    assert capsys.readouterr().err.count("does not answer") == 1
    assert len(list(UNSENT.iterdir())) == 1

    with server(port):
        with tracking.fold_run(settings, "framewise", 0):
            pass
        run = all_runs()[run.info.run_id]
        assert run.info.status == "FINISHED"
        assert run.data.metrics["map"] == 0.5
        assert run.data.tags["weights"]
        assert list(UNSENT.iterdir()) == []


def test_nothing_is_lost_while_the_database_is_locked(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tracking.fold_run(settings, "framewise", 0) as run:
        other = sqlite3.connect(tmp_path / "mlflow.db")
        other.execute("BEGIN EXCLUSIVE")
        run.epoch({"number": 1, "loss": 1.0, "map": 0.1})
        assert "does not answer" in capsys.readouterr().err
        other.rollback()
        other.close()
        run.epoch({"number": 2, "loss": 0.5, "map": 0.2})
    (logged,) = all_runs().values()
    assert history(logged, "loss") == [(1, 1.0), (2, 0.5)]


def test_what_a_killed_process_left_is_sent(settings: Settings) -> None:
    with tracking.fold_run(settings, "framewise", 0):
        pass
    (run,) = all_runs().values()
    left = [{"metrics": {"loss": 0.75}, "step": 4, "time": 1}, {"status": "KILLED", "time": 2}]
    files.write_json(UNSENT / f"{run.info.run_id}.json", left)
    with tracking.fold_run(settings, "framewise", 0):
        pass
    run = all_runs()[run.info.run_id]
    assert history(run, "loss") == [(4, 0.75)]
    assert run.info.status == "KILLED"
    assert list(UNSENT.iterdir()) == []
