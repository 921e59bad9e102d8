"""What does a run cost when little or nothing is new?

    python benchmarks/incremental.py [--videos 1000] [--listed 10000]
    python benchmarks/incremental.py FOLDER

In a temporary folder it renders a clip of 27 small pictures, so that the set-up takes minutes and
not hours, copies it under many names (each made different by bytes behind its end), and runs the
stages, each as a process of its own: with nothing new, and with one new video. The index runs on a
larger number of files that have not changed. With a FOLDER the videos are those that it holds.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import yaml

from qvpipe import files
from qvpipe.config import as_tree
from qvpipe.video.find import find_videos

STAGES = ("index", "frames", "clean", "splits", "superimages")

RAW = Path("raw/track1_raw_video")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?", help="videos; without it, they are made")
    parser.add_argument("--videos", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--listed", type=int, default=10000, help="default: %(default)s")
    arguments = parser.parse_args()
    tree = as_tree(files.read_settings())
    given = find_videos(arguments.folder.absolute()) if arguments.folder else []
    os.environ.pop("DVC_ROOT", None)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path(".dvc").mkdir()
        RAW.mkdir(parents=True)
        tree["data"] |= {"videos": str(RAW), "labels": "labels.json"}
        files.PARAMS.write_text(yaml.safe_dump(tree), encoding="utf-8")
        if given:
            _measure_given(given)
        else:
            _measure(_render(Path("clip.mp4")), arguments.videos, arguments.listed)
        os.chdir("/")


def _render(path: Path) -> Path:
    rng = np.random.default_rng(0)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 192, 144, "yuv420p"
        for _ in range(27):
            coarse = rng.integers(0, 255, (9, 12, 3), dtype=np.uint8)
            picture = coarse.repeat(16, axis=0).repeat(16, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))
    return path


def _measure(clip: Path, videos: int, listed: int) -> None:
    _add(clip, range(videos))
    _print_heading(STAGES)
    _print(f"all {videos} videos new", STAGES)
    _print("nothing new", STAGES)
    _add(clip, [videos])
    _print("1 video new", STAGES)
    _add(clip, range(videos + 1, listed))
    _print(f"all of {listed} files listed", ["index"])
    _print(f"{listed} files, none changed", ["index"])


def _measure_given(videos: Sequence[Path]) -> None:
    # Names of their own, since two of one name may lie in different folders. A handful of videos
    # is too few for folds.
    stages = [name for name in STAGES if name != "splits"]
    names = [f"v{number:05d}{path.suffix}" for number, path in enumerate(videos)]
    for name, path in zip(names[1:], videos[1:], strict=True):
        (RAW / name).symlink_to(path)
    _label()
    _print_heading(stages)
    _print(f"all {len(videos) - 1} videos new", stages)
    _print("nothing new", stages)
    (RAW / names[0]).symlink_to(videos[0])
    _label()
    _print("1 video new", stages)


def _add(clip: Path, numbers: Sequence[int]) -> None:
    """Put copies of the clip there, no two with the same bytes, and label all that is there."""
    for number in numbers:
        path = RAW / f"v{number:05d}.mp4"
        shutil.copyfile(clip, path)
        with path.open("ab") as file:
            # A box that players skip.
            file.write((16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big"))
    _label()


def _label() -> None:
    labels = {path.name: [n % 17] for n, path in enumerate(sorted(RAW.iterdir()))}
    Path("labels.json").write_text(json.dumps(labels), encoding="utf-8")


def _print_heading(stages: Sequence[str]) -> None:
    print(f"\n{'wall s (CPU s)':34}" + "".join(f"{name:>17}" for name in stages))


def _print(title: str, stages: Sequence[str]) -> None:
    print(f"{title:34}", end="", flush=True)
    for name in stages:
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", f"qvpipe.stages.{name}"], check=True, capture_output=True
        )
        seconds = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"{f'{seconds:.2f} ({cpu:.2f})':>17}", end="", flush=True)
    print()


if __name__ == "__main__":
    main()
