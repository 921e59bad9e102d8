"""A colleague without the raw videos, with remotes of both kinds."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from qvpipe import files
from tests.conftest import S3
from tests.end_to_end.conftest import Project

QUICK = ("-S", "members=[superimage]", "-S", "folds=[0]")


@pytest.fixture(params=["folder", "s3"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Mapping[str, str]:
    """The settings of a DVC remote."""
    if request.param == "folder":
        return {"url": str(tmp_path / "remote")}
    s3: S3 = request.getfixturevalue("s3")
    return {"url": f"s3://{s3.bucket('team')}/store", "endpointurl": s3.endpoint}


def test_a_clone_without_raw_videos_works_from_the_frames_on(
    project: Project, tmp_path: Path, remote: Mapping[str, str]
) -> None:
    owner = Project(tmp_path / "owner")
    project.git("clone", "--quiet", str(project.folder), str(owner.folder))
    owner.run("dvc", "cache", "dir", "--local", str(project.folder / ".dvc/cache"))
    owner.run("dvc", "remote", "add", "--default", "store", remote["url"])
    if "endpointurl" in remote:
        owner.run("dvc", "remote", "modify", "store", "endpointurl", remote["endpointurl"])
    owner.git("commit", "--quiet", "--all", "--message", "a remote")
    owner.run("dvc", "push")

    colleague = Project(tmp_path / "colleague")
    project.git("clone", "--quiet", str(owner.folder), str(colleague.folder))
    colleague.run("dvc", "pull")
    index = (colleague.folder / files.INDEX).read_bytes()
    printed = colleague.run("dvc", "exp", "run", "-S", "loss=asl", *QUICK)
    raw = colleague.folder / "data/raw/track1_raw_video"
    assert f"index: {raw} is not there, so data/index.csv stays as it is" in printed
    for stage in ("frames", "clean", "splits", "superimages"):
        assert f"Stage '{stage}' didn't change, skipping" in printed
    assert "Running stage 'train@superimage-0'" in printed
    assert "register: qvpipe version 1 is the champion" in printed
    assert (colleague.folder / files.INDEX).read_bytes() == index

    checked = colleague.run("qvpipe", "doctor", "--licence")
    assert "DVC's remotes: 0 files" not in checked
    assert checked.count(" 0 that may not be there") == 4
