from pathlib import Path

import pandas as pd
import pytest

from qvpipe import files
from qvpipe.errors import QvpipeError


def test_texts_stay_texts_and_numbers_become_numbers(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    rows = {"video": ["007", "NA"], "labels": ["", "1 14"], "fold": [0, 1], "sharpness": [1.5, 2.0]}
    files.write_table(path, pd.DataFrame(rows))
    table = files.read_table(path)
    assert table["video"].to_list() == ["007", "NA"]
    assert table["labels"].to_list() == ["", "1 14"]
    assert table["fold"].sum() == 1
    assert table["sharpness"].sum() == 3.5


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    files.write_json(path, {"map": 0.5})
    with pytest.raises(TypeError):
        files.write_json(path, {"map": object()})
    assert files.read_json(path) == {"map": 0.5}
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_a_missing_table_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(QvpipeError, match="`dvc repro` makes it"):
        files.read_table(tmp_path / "index.csv")


def test_a_broken_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ensemble.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(QvpipeError, match=r"ensemble\.json holds no valid JSON"):
        files.read_json(path)


def test_outside_a_project_there_are_no_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QvpipeError, match=r"no params\.yaml here"):
        files.read_settings()


def test_raw_data_lies_in_the_repository_even_where_dvc_runs_in_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert files.raw("data/raw") == tmp_path / "data/raw"
    assert files.raw("/elsewhere") == Path("/elsewhere")
