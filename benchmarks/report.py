"""How large a report of many videos is, and how soon a browser shows it.

The pictures are those of demo videos; the results are made up, two classes found in each video
which is more than QV-Pipe's 1.4 labels a video would give.

    python benchmarks/report.py
"""

import argparse
import itertools
import shutil
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from playwright.sync_api import sync_playwright

from qvpipe.config import QVPIPE_CLASSES
from qvpipe.inference.report import (
    MOMENT_WIDTH,
    SUPERIMAGE_SIDE,
    ClassResult,
    Moment,
    Report,
    VideoResult,
    class_names,
    moments_of_each,
    render,
)
from qvpipe.results.page import Picture
from qvpipe.video.find import find_videos
from qvpipe.video.reader import Sample, sample_frames
from qvpipe.video.superimage import compose

FOUND = 2


def made_up(name: str, sample: Sample, each: int) -> VideoResult:
    """Return a result with the pictures of a sample of nine frames, `each` of a class."""
    pictures = [Picture.of(frame, MOMENT_WIDTH) for frame in sample.frames[: FOUND * each]]
    moments = [
        Moment(float(sample.times[i]), int(sample.indices[i]), picture)
        for i, picture in enumerate(pictures)
    ]
    return VideoResult(
        name,
        tuple(
            ClassResult(
                name=label,
                probability=0.9 if k < FOUND else 0.1,
                threshold=0.5,
                found=k < FOUND,
                moments=tuple(moments[k * each : (k + 1) * each]),
            )
            for k, label in enumerate(QVPIPE_CLASSES[1:])
        ),
        duration_s=float(sample.times[-1]) + 1,
        superimage=Picture.of(compose(sample.frames, 3, 128, "squash"), SUPERIMAGE_SIDE),
        tiles=9,
    )


def opening_seconds(path: Path, repeats: int) -> Sequence[float]:
    """Return how long a fresh tab takes until the table sorts, several times."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    seconds = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        for _ in range(repeats):
            tab = browser.new_page()
            start = time.perf_counter()
            tab.goto(path.as_uri())
            tab.get_by_role("button", name="File").click()
            tab.wait_for_selector("[aria-sort=ascending]")
            seconds.append(time.perf_counter() - start)
            tab.close()
        browser.close()
    return seconds


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=500)
    parser.add_argument("--clips", type=Path, default=Path("data/raw/track1_raw_video"))
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    samples = [(clip.stem, sample_frames(clip, 9)) for clip in find_videos(arguments.clips)]
    videos = [
        made_up(f"{i}_{stem}.mp4", sample, moments_of_each(arguments.videos))
        for i, (stem, sample) in zip(
            range(arguments.videos), itertools.cycle(samples), strict=False
        )
    ]
    start = time.process_time()
    html = render(
        Report(
            videos=videos,
            classes=QVPIPE_CLASSES,
            normal="ZC",
            made=datetime.now(),
            card={"Model": "made up"},
            names=class_names(QVPIPE_CLASSES),
        )
    )
    rendering = time.process_time() - start
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        path.write_text(html, encoding="utf-8")
        seconds = opening_seconds(path, arguments.repeats)
        megabytes = path.stat().st_size / 1e6
    print(f"{arguments.videos} videos: {megabytes:.1f} MB, written in {rendering:.1f} CPU seconds")
    print("opens in " + ", ".join(f"{value:.2f}" for value in sorted(seconds)) + " s")


if __name__ == "__main__":
    main()
