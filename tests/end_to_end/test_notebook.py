"""The notebook runs in a project that has gone through the pipeline."""

import json

from tests.conftest import REPOSITORY
from tests.end_to_end.conftest import Project

NOTEBOOK = "notebooks/explore.ipynb"


def test_every_cell_runs_and_its_pictures_show(project: Project) -> None:
    options = ("--nbmake", "--overwrite", "--override-ini", "addopts=", "--rootdir", ".")
    try:
        assert "1 passed" in project.run("pytest", *options, NOTEBOOK)
        cells = json.loads((project.folder / NOTEBOOK).read_text(encoding="utf-8"))["cells"]
    finally:
        project.git("checkout", "--", NOTEBOOK)
    kinds = [
        kind for cell in cells for out in cell.get("outputs", ()) for kind in out.get("data", ())
    ]
    assert kinds.count("image/png") == 4
    assert kinds.count("image/jpeg") == 1


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = json.loads((REPOSITORY / NOTEBOOK).read_text(encoding="utf-8"))["cells"]
    assert len(cells) > 5
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []
