from pathlib import Path

import pytest

from tests.search.tiny import save_tiny_clip


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny CLIP model."""
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))
