"""The stages on a real Ray cluster of two nodes on this machine."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from qvpipe import files
from qvpipe.compute.cluster import at_once, share_of
from qvpipe.compute.pool import each
from qvpipe.config import ComputeSettings, Settings, as_tree
from qvpipe.errors import QvpipeError
from qvpipe.stages.clean import clean
from qvpipe.stages.frames import frames
from qvpipe.stages.index import index
from qvpipe.stages.superimages import superimages
from tests.compute.hostile_work import begin, fail, misbehave, where

pytestmark = pytest.mark.slow

ray = pytest.importorskip("ray")

Add = Callable[..., Path]
Label = Callable[[Mapping[str, Sequence[int]]], None]


@dataclass(frozen=True)
class TwoNodes:
    """A cluster of two nodes, each of one core."""

    compute: ComputeSettings
    remove_one: Callable[[], None]


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[TwoNodes]:
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    node = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    # A lost node is noticed sooner.
    health = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}
    cluster = Cluster(True, head_node_args={**node, "_system_config": health})
    second = cluster.add_node(False, **node)
    yield TwoNodes(
        ComputeSettings(engine="ray", address=cluster.address),
        lambda: cluster.remove_node(second, allow_graceful=False),
    )
    cluster.shutdown()


def results() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path("data").rglob("*") if path.is_file()}


def test_the_stages_give_the_same_bytes(
    settings: Settings, two_nodes: TwoNodes, add: Add, label: Label
) -> None:
    for number in range(4):
        add(f"{number}.mp4", seed=number, frames=20)
    broken = add("c.mpeg", codec="mpeg2video", frames=1)
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    label({**{f"{number}.mp4": [0] for number in range(4)}, "c.mpeg": [1]})
    index(settings)
    for stage in (frames, clean, superimages):
        stage(settings)
    local = results()
    assert {"data/frames/0.zip", "data/clean.csv", "data/superimages/0.jpg"} <= local.keys()

    for path in (files.FRAMES, files.SUPERIMAGES):
        shutil.rmtree(path)
    on_ray = replace(settings, compute=two_nodes.compute)
    Path("params.yaml").write_text(yaml.safe_dump(as_tree(on_ray)))
    subprocess.run([sys.executable, "-m", "qvpipe.stages.frames"], check=True)
    for stage in (clean, superimages):
        stage(on_ray)
    assert results() == local


def test_errors_and_what_is_lost_are_told_as_on_one_machine(two_nodes: TwoNodes) -> None:
    with pytest.raises(QvpipeError, match="two is not allowed"):
        list(each(fail, range(5), two_nodes.compute, "test"))
    hows = ["fine", "segfault", "fine", "hang", "compute", "large", "fine"]
    lost = each(misbehave, hows, two_nodes.compute, "test", timeout_s=3, lost=lambda how, why: why)
    assert list(lost) == [
        "done",
        "crashed the process that worked on it",
        "done",
        "took longer than frames.timeout_s (3 s)",
        "crashed the process that worked on it",
        "needs more memory than a process may take (896 MiB)",
        "done",
    ]


def test_long_work_is_done_at_once_and_begun_again_where_it_is_lost(
    two_nodes: TwoNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    places = [(str(tmp_path), how) for how in ("lost", "fail", "fine")]
    ended = {how: outcome for (_, how), outcome in at_once(begin, places, two_nodes.compute)}
    assert str(ended.pop("fail")) == "it is not allowed"
    assert ended == {"lost": 1, "fine": 1}
    assert (tmp_path / "begun").exists()


@pytest.mark.parametrize(
    ("nodes", "pieces", "device", "threads", "share"),
    [
        ([{"CPU": 8, "GPU": 4}], 10, "auto", 0, {"num_gpus": 1, "num_cpus": 1}),
        ([{"CPU": 8, "GPU": 4}], 4, "cpu", 0, {"num_cpus": 2}),
        ([{"CPU": 2}], 10, "auto", 0, {"num_cpus": 1}),
        ([{"CPU": 16}], 5, "auto", 0, {"num_cpus": 3}),
        ([{"CPU": 16}], 5, "auto", 1, {"num_cpus": 1}),
        ([{"CPU": 2}, {"CPU": 4}], 1, "auto", 0, {"num_cpus": 4}),
    ],
)
def test_work_has_a_gpu_or_its_share_of_the_cores(
    nodes: list[dict[str, float]], pieces: int, device: str, threads: int, share: dict[str, float]
) -> None:
    assert share_of(nodes, pieces, device, threads) == share


def test_a_lost_node_loses_nothing(two_nodes: TwoNodes) -> None:
    nodes = []
    for number, (item, node) in enumerate(each(where, range(24), two_nodes.compute, "test")):
        assert item == number
        nodes.append(node)
        if number == 7:
            assert len(set(nodes)) == 2
            two_nodes.remove_one()
    assert len(nodes) == 24
    assert len(set(nodes[-6:])) == 1


def test_an_address_where_nothing_answers_is_one_sentence() -> None:
    nowhere = ComputeSettings(engine="ray", address="127.0.0.1:1")
    with pytest.raises(QvpipeError, match=r"no Ray cluster answers at '127\.0\.0\.1:1'; `ray st"):
        list(each(fail, range(2), nowhere, "test"))
