"""The notebook runs in a project that has gone through the pipeline."""

import json

from tests.conftest import REPOSITORY
from tests.end_to_end.conftest import Project

NOTEBOOK = "notebooks/explore.ipynb"


def test_every_cell_runs(project: Project) -> None:
    printed = project.run(
        "pytest", "--nbmake", "--override-ini", "addopts=", "--rootdir", ".", NOTEBOOK
    )
    assert "1 passed" in printed


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = json.loads((REPOSITORY / NOTEBOOK).read_text(encoding="utf-8"))["cells"]
    assert len(cells) > 5
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []
