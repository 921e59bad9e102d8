from pathlib import Path

import pytest
import timm

from qvpipe.config import parse

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_is_a_whole_params_file(path: Path) -> None:
    settings = parse(path.read_text(encoding="utf-8"))
    for member in settings.members:
        assert timm.is_model(settings.models[member].backbone)


def test_there_is_one_for_qvpipe() -> None:
    assert "qvpipe.yaml" in [path.name for path in CONFIGS]
