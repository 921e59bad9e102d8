"""What `make hooks` installs."""

import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, RenderClip
from tests.end_to_end.conftest import TINY, Project, make_project


@pytest.fixture
def hooked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository with the hooks, and an empty one to push to."""
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "pre-commit"))
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^hooks:.*\n\t(.+)\n", makefile, flags=re.MULTILINE)
    assert recipe is not None
    (tmp_path / "project").mkdir()
    made = make_project(tmp_path / "project", TINY)
    made.run(*recipe[1].split())
    made.git("init", "--quiet", "--bare", str(tmp_path / "server"))
    made.git("remote", "add", "origin", str(tmp_path / "server"))
    return made


def test_a_push_with_a_video_is_refused(
    hooked: Project, tmp_path: Path, render_clip: RenderClip
) -> None:
    assert "no raw videos, no labels" in hooked.git("push", "origin", "HEAD:main")
    worktree = Project(tmp_path / "worktree")
    hooked.git("worktree", "add", "--quiet", str(worktree.folder))
    render_clip(worktree.folder / "clip.mp4", frames=5).rename(worktree.folder / "notes.bin")
    worktree.git("add", ".")
    worktree.git("commit", "--quiet", "--no-verify", "--message", "a video under another name")
    for project in (worktree, hooked):
        refused = project.git("push", "origin", "worktree:other", code=1)
        assert "notes.bin (commit " in refused
        assert "an MP4 or QuickTime video" in refused
        assert "Nothing may be pushed" in refused
    assert hooked.git("ls-remote", "origin").split()[1::2] == ["refs/heads/main"]


def test_a_commit_is_linted(hooked: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIP", "mypy")  # which takes minutes in a new folder
    (hooked.folder / "src/qvpipe/new.py").write_text("import os\n", encoding="utf-8")
    hooked.git("add", ".")
    refused = hooked.git("commit", "--message", "careless", code=1)
    assert "D100" in refused
