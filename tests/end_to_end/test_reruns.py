"""Only what a setting touches runs again."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
import yaml
from dvc.repo import Repo

from tests.end_to_end.conftest import Project

FRAMEWISE = {"train@framewise-0", "train@framewise-1"}
SUPERIMAGE = {"train@superimage-0", "train@superimage-1"}
FROM_ENSEMBLE = {"ensemble", "register"}
FROM_TRAIN = FRAMEWISE | SUPERIMAGE | FROM_ENSEMBLE
# DVC has no dependency that follows a member's own `input`, so both kinds of member train anew
# where the super-images change.
FROM_SUPERIMAGES = {"superimages"} | FROM_TRAIN
FROM_SPLITS = {"splits"} | FROM_TRAIN
FROM_CLEAN = {"clean", "superimages"} | FROM_SPLITS
FROM_FRAMES = {"frames"} | FROM_CLEAN

TOUCHED: Mapping[str, set[str]] = {
    "seed": FROM_SPLITS,
    "task": FROM_TRAIN,
    "loss": FROM_TRAIN,
    "members": FROM_ENSEMBLE,
    "folds": FROM_ENSEMBLE,
    "data": set(),
    "data.normal": FROM_TRAIN,
    "frames": FROM_FRAMES,
    "clean": FROM_CLEAN,
    "splits": FROM_SPLITS,
    "superimages": FROM_SUPERIMAGES,
    "train": FROM_TRAIN,
    "losses": set(),
    "models.framewise": FRAMEWISE | FROM_ENSEMBLE,
    "models.superimage": SUPERIMAGE | FROM_ENSEMBLE,
    "ensemble": FROM_ENSEMBLE,
    "ensemble.zeroshot": {"join@lr"} | FROM_ENSEMBLE,
    "search": set(),
    "search.embedders": {"embed@lr"},
    "search.zeroshot": {"zeroshot@lr"},
    "mlflow": {"register"},
    "compute": set(),
}
"""The stages that run again for each key of params.yaml, with all keys below it, if what the stages
make changes as well. The settings of the loss that is used are as `loss` itself."""

OTHER_LOSS = {"bce": "asl", "asl": "bce"}


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Give the dotted name of every key that holds no other keys."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def rule(key: str, used: str) -> str | None:
    """Return the entry of the table that a setting stands under.

    Args:
        key: Its dotted name.
        used: The loss that is used.
    """
    if key.startswith(f"losses.{used}."):
        return "loss"
    parts = key.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in names if name in TOUCHED), None)


def changed(tree: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the settings with another value of a key."""
    first, _, rest = key.partition(".")
    return {**tree, first: changed(tree[first], rest) if rest else other(tree[first])}


def other(value: Any) -> Any:  # noqa: ANN401 - any value of a setting
    """Return another value, of which dvc.yaml can still make stages."""
    if isinstance(value, str) and value in OTHER_LOSS:
        return OTHER_LOSS[value]
    if isinstance(value, list):
        return value[:-1] or ["lr"]
    if isinstance(value, bool) or value is None:
        return not value
    return {"lr": 1.0} if isinstance(value, dict) else f"{value}0"


def rerun() -> set[str]:
    """Return the stages that DVC finds changed, and all that depend on what they make.

    The stage index runs always, and what follows it depends on its table alone.
    """
    with Repo() as repo:
        found = set(repo.status()) - {"index"}
        needs = nx.DiGraph(
            (stage.addressing, needed.addressing) for stage, needed in repo.index.graph.edges
        )
    return found.union(*(nx.ancestors(needs, name) for name in found))


def settings() -> dict[str, Any]:
    path = Path(__file__).parents[2] / "params.yaml"
    tree: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return tree


def test_every_setting_is_in_the_table() -> None:
    keys = list(leaves(settings()))
    assert [key for key in keys if rule(key, "bce") is None] == []
    assert set(TOUCHED) - {rule(key, "bce") for key in keys} == set()


@pytest.mark.parametrize("name", TOUCHED)
def test_only_what_a_setting_touches_runs_again(
    name: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    path = Path("params.yaml")
    text = path.read_text(encoding="utf-8")
    tree = yaml.safe_load(text)
    assert rerun() == set()
    try:
        for key in [key for key in leaves(tree) if rule(key, tree["loss"]) == name]:
            path.write_text(yaml.safe_dump(changed(tree, key)), encoding="utf-8")
            assert (key, rerun()) == (key, TOUCHED[name])
    finally:
        path.write_text(text, encoding="utf-8")
