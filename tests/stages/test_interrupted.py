"""Stages that are killed, run out of disk or may not write."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from qvpipe import files
from qvpipe.config import Settings, SuperimagesSettings, as_tree
from qvpipe.errors import QvpipeError
from qvpipe.stages import frames as stage_of_frames
from qvpipe.stages.clean import clean
from qvpipe.stages.frames import frames
from qvpipe.stages.index import index
from qvpipe.stages.superimages import superimages

pytestmark = pytest.mark.slow

Add = Callable[..., Path]
Label = Callable[[Mapping[str, Sequence[int]]], None]


@pytest.fixture
def small(settings: Settings, add: Add, label: Label) -> Settings:
    """A dozen videos in the index, and a params.yaml for stages that run on their own."""
    for number in range(12):
        add(f"v{number:02}.mp4", frames=40, size=(320, 240), seed=number)
    label({f"v{number:02}.mp4": [number % 3] for number in range(12)})
    settings = replace(settings, superimages=SuperimagesSettings(grid=3, tile=40))
    files.PARAMS.write_text(yaml.safe_dump(as_tree(settings)), encoding="utf-8")
    index(settings)
    return settings


def stage(name: str, start: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"qvpipe.stages.{name}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=start,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("name", "folder"), [("frames", files.FRAMES), ("superimages", files.SUPERIMAGES)]
)
def test_a_killed_stage_goes_on_and_ends_as_if_nothing_had_been(
    name: str, folder: Path, small: Settings
) -> None:
    frames(small)
    clean(small)
    superimages(small)
    undisturbed = contents(folder)
    table = files.FRAMES_TABLE.read_bytes()
    shutil.rmtree(folder)
    folder.mkdir()
    finished: dict[str, int] = {}
    for wanted in (1, 4, 8):
        running = stage(name)
        while running.poll() is None and len(list(folder.glob("[!.]*"))) < wanted:
            time.sleep(0.001)
        # On a busy machine it may be done by now.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
        assert len(list(folder.glob("[!.]*"))) >= wanted
        left = {path.name: path.stat().st_mtime_ns for path in folder.glob("[!.]*")}
        assert finished.items() <= left.items()
        assert {file: undisturbed[file] for file in left} == {
            file: (folder / file).read_bytes() for file in left
        }
        finished = left
    running = stage(name)
    assert running.communicate()[1].count("error") == 0
    assert contents(folder) == undisturbed
    assert files.FRAMES_TABLE.read_bytes() == table
    assert finished.items() <= {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}.items()


def test_a_killed_index_measures_nothing_twice(small: Settings, add: Add) -> None:
    cache = Path(".dvc/tmp/qvpipe/index.jsonl")
    cache.unlink()
    last = Path("raw/videos/v12.mp4")
    with last.open("wb") as file:
        file.truncate(16 * 2**30)  # It takes no room, but many seconds to be hashed.
    running = stage("index")
    while running.poll() is None and not (cache.is_file() and lines(cache) == 12):
        time.sleep(0.001)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    assert lines(cache) == 12
    with cache.open("a", encoding="utf-8") as file:
        file.write('["cut off as it was wri')
    add(last.name)
    for measured in ("| 1/1 [", ""):
        assert measured in (bar := stage("index").communicate()[1])
        assert bool(measured) == bool(bar)
    assert lines(cache) == 13


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def test_a_file_that_cannot_be_written_whole_is_not_written(small: Settings) -> None:
    def at_most_2000_bytes() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    files.FRAMES.mkdir()
    running = stage("frames", at_most_2000_bytes)
    said = running.communicate()[1].splitlines()[-1]
    assert running.returncode == 1
    assert said.startswith("error: data/frames/v")
    assert "cannot be written (File too large); free the disk" in said
    assert contents(files.FRAMES) == {}


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Make a folder one that holds 64 KiB."""
    mounted: list[Path] = []

    def mount(folder: Path) -> None:
        folder.mkdir(parents=True)
        program = shutil.which("mount")
        command = [program or "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
        if not program or subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("only a user who may mount a small disk can fill it")
        mounted.append(tmp_path / folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_sentence_and_nothing_half_written(
    small: Settings, full_disk: Callable[[Path], None]
) -> None:
    frames(small)
    undisturbed = contents(files.FRAMES)
    shutil.rmtree(files.FRAMES)
    full_disk(files.FRAMES)
    with pytest.raises(QvpipeError, match=r"cannot be written \(No space left on device\)"):
        frames(small)
    left = contents(files.FRAMES)
    assert left
    assert left.items() <= undisturbed.items()


@pytest.mark.parametrize("folder", [files.FRAMES, files.SUPERIMAGES])
def test_a_folder_that_is_read_only_is_one_sentence(
    folder: Path, small: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Relative, since another user may not enter the folders above.
    monkeypatch.setenv("DVC_ROOT", ".")
    # Nor may another user start this Python where it lies in root's home.
    monkeypatch.setattr(stage_of_frames, "each", lambda work, tasks, *_, **__: map(work, tasks))
    frames(small)
    clean(small)
    superimages(small)
    first = sorted(folder.iterdir())[0]
    first.unlink()
    before = contents(folder)
    folder.chmod(0o555)
    run = frames if folder == files.FRAMES else superimages
    Path.cwd().chmod(0o755)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(QvpipeError, match=rf"{first} cannot be written .*writable") as error:
            run(small)
    finally:
        os.seteuid(user)
        folder.chmod(0o755)
    assert "\n" not in str(error.value)
    assert contents(folder) == before
