"""What is done apart; whether DVC would do it is told in end_to_end/test_at_once.py."""

from pathlib import Path

import pytest

from qvpipe.ahead import apart, take


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where results are kept of work on a folder with a table and older predictions."""
    monkeypatch.chdir(tmp_path)
    Path("data/predictions").mkdir(parents=True)
    Path("data/predictions/old.csv").touch()
    Path("data/index.csv").write_text("video\n")
    return tmp_path / "kept" / "m-fold0"


def work() -> None:
    assert Path("data/index.csv").read_text() == "video\n"
    assert not Path("data/predictions").exists()
    for name in ("data/predictions/new.csv", "models/m/weights"):
        Path(name).parent.mkdir(parents=True)
        Path(name).write_text(name)


def fail_apart(kept: Path) -> None:
    with apart(kept):
        work()
        raise ValueError("half")


def test_work_apart_sees_the_data_and_is_kept_until_it_is_taken(kept: Path) -> None:
    here = Path.cwd()
    with apart(kept):
        work()
    assert Path.cwd() == here
    assert not Path("models").exists()
    take(kept)
    assert Path("models/m/weights").read_text() == "models/m/weights"
    assert {path.name for path in Path("data/predictions").iterdir()} == {"old.csv", "new.csv"}
    assert Path("data/index.csv").read_text() == "video\n"
    assert not kept.exists()
    assert not any(Path(".dvc/tmp/qvpipe").iterdir())


def test_work_that_fails_is_not_kept_and_leaves_the_data(kept: Path) -> None:
    here = Path.cwd()
    with pytest.raises(ValueError, match="half"):
        fail_apart(kept)
    assert Path.cwd() == here
    assert not kept.exists()
    with apart(kept):
        work()
    assert kept.is_dir()
    assert Path("data/index.csv").read_text() == "video\n"
