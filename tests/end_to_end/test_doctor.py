from tests.end_to_end.conftest import Project


def test_all_is_well_with_a_project_that_ran(project: Project) -> None:
    hook = project.folder / ".git/hooks/pre-push"
    printed = project.run("qvpipe", "doctor", code=1)
    assert printed.endswith("1 of 10 need mending\n")
    assert "-> `make hooks`" in printed
    hook.write_text("# by pre-commit\n", encoding="utf-8")
    try:
        printed = project.run("qvpipe", "doctor")
    finally:
        hook.unlink()
    assert printed.endswith("all is well\n")
    assert "20 videos in data/raw/track1_raw_video" in printed
    assert "(champion, mAP 0." in printed


def test_nothing_raw_is_in_a_project_that_ran(project: Project) -> None:
    printed = project.run("qvpipe", "doctor", "--licence")
    assert printed.count(" 0 that may not be there") == 4
    assert [line.split(": ")[0] for line in printed.splitlines()] == [
        "git's history",
        "DVC's outputs and cache",
        "DVC's remotes",
        "MLflow's artifacts",
    ]
