"""What a model's weights cost where the hub cannot be reached: one question, and no waiting."""

from pathlib import Path

import pytest
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import LocalEntryNotFoundError

from qvpipe.learning.hub import from_hub

COMMIT = "0" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache of a hub that refuses every connection."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    return tmp_path


def test_what_the_hub_has_given_before_is_not_asked_for_again(cache: Path) -> None:
    folder = cache / "models--somebody--model"
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    (folder / "snapshots" / COMMIT / "weights").write_text("learned")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    found = from_hub(
        "somebody/model", lambda: Path(hf_hub_download("somebody/model", "weights")).read_text()
    )
    assert found == "learned"
    assert not constants.HF_HUB_OFFLINE


def test_a_hub_that_is_away_is_not_tried_again_and_again(cache: Path) -> None:
    tries = []

    def load() -> str:
        tries.append(constants.HF_HUB_OFFLINE)
        return hf_hub_download("somebody/model", "weights")

    with pytest.raises(ConnectionError) as caught:
        from_hub("somebody/model", load)
    assert tries == [True]
    assert not isinstance(caught.value, LocalEntryNotFoundError)
    assert not constants.HF_HUB_OFFLINE
