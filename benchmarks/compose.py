"""From video files to super-images: one pass, against the plain way, on one core.

    python benchmarks/compose.py              # clips of 20 s that it renders itself
    python benchmarks/compose.py FOLDER [--videos 20]

The plain way seeks each frame with OpenCV, writes it as a JPEG of full size, reads it again for
the variance of the Laplacian and for its perceptual hash, and reads the best nine again to lay
them out with PIL. The second table leaves decoding out: frames in memory that are judged, stored
and composed, against PIL and imagehash at full size.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import cv2
import imagehash
import numpy as np
from PIL import Image as PillowImage

from decode import render
from qvpipe import files
from qvpipe.config import Settings
from qvpipe.video.candidates import take_candidates
from qvpipe.video.choose import choose
from qvpipe.video.find import find_videos
from qvpipe.video.quality import Facts, judge
from qvpipe.video.reader import Sample, VideoError, positions, sample_frames
from qvpipe.video.store import pack, read_facts, unpack
from qvpipe.video.superimage import superimage_jpeg

Item = TypeVar("Item")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?", help="default: clips that it renders")
    parser.add_argument("--videos", type=int, default=20, help="at most; default: %(default)s")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    settings = files.read_settings()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.folder:
            videos = [path for path in find_videos(arguments.folder) if _readable(path)]
        else:
            videos = render(folder)["20 s"]
        videos = videos[:: max(1, len(videos) // arguments.videos)][: arguments.videos]
        for count in (27, 9):
            frames = replace(settings.frames, count=count)
            print_whole_way(videos, replace(settings, frames=frames), folder)
        print_in_memory(videos[:8], settings, folder)


def print_whole_way(videos: Sequence[Path], settings: Settings, folder: Path) -> None:
    """Print what it takes from the files to the super-images."""
    taken = []
    ours, plain = _side_by_side(
        videos,
        lambda path: one_pass(take_candidates(path, settings.frames), settings, folder),
        lambda path: taken.append(plain_way(path, settings, folder)),
    )
    wanted = settings.frames.count * len(videos)
    print(f"\n{len(videos)} videos, {settings.frames.count} frames of each; CPU seconds")
    print(f"{'plain way':24}{plain:9.2f}   {sum(taken)} of {wanted} frames read")
    print(f"{'one pass':24}{ours:9.2f}{plain / ours:8.1f} times")


def print_in_memory(videos: Sequence[Path], settings: Settings, folder: Path) -> None:
    """Print how many frames in memory are judged, stored and composed in a second."""
    samples = [sample_frames(path, settings.frames.count) for path in videos]
    small = [take_candidates(path, settings.frames) for path in videos]
    ours, plain = _side_by_side(
        samples,
        lambda sample: one_pass(sample, settings, folder),
        lambda sample: plain_in_memory(sample, settings),
    )
    after, _ = _side_by_side(
        small, lambda sample: one_pass(sample, settings, folder), lambda _: None
    )
    images = sum(len(sample.frames) for sample in samples)
    print("\njudging, storing and composing frames in memory; images per CPU second")
    print(f"{'PIL and imagehash':24}{images / plain:9.0f}")
    print(f"{'qvpipe':24}{images / ours:9.0f}{plain / ours:8.1f} times")
    print(f"{'qvpipe, already scaled':24}{images / after:9.0f}{plain / after:8.1f} times")


def one_pass(sample: Sample, settings: Settings, folder: Path) -> bytes:
    """Do for one video what the stages frames, clean and superimages do."""
    path = folder / "a.zip"
    path.write_bytes(pack(sample, settings.frames, content=""))
    judged = judge(read_facts(path), settings.clean)
    chosen = unpack(path, choose(judged, settings.superimages.grid**2))
    return superimage_jpeg(chosen.frames, settings.superimages)


def plain_way(path: Path, settings: Settings, folder: Path) -> int:
    """Do the same as one would without much thought, and return how many frames were read."""
    capture = cv2.VideoCapture(str(path))
    pictures = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    found, facts = [], []
    for index in positions(pictures, settings.frames.count):
        capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        done, picture = capture.read()
        if done:
            file = folder / f"{index}.jpg"
            cv2.imwrite(str(file), picture, [cv2.IMWRITE_JPEG_QUALITY, settings.frames.quality])
            found.append((index, file))
    for index, file in found:
        grey = np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE))
        sharpness = float(cv2.Laplacian(grey, cv2.CV_64F).var())
        facts.append(Facts(index, float(index), sharpness, str(imagehash.phash(_open(file)))))
    if facts:
        chosen = choose(judge(facts, settings.clean), settings.superimages.grid**2)
        _compose([_open(found[i][1]) for i in chosen], settings)
    return len(found)


def plain_in_memory(sample: Sample, settings: Settings) -> None:
    """Judge at full size and compose with PIL; stores the frames as JPEGs of full size."""
    facts, images = [], []
    for frame, index, time_s in zip(sample.frames, sample.indices, sample.times, strict=True):
        image = PillowImage.fromarray(frame)
        grey = np.asarray(image.convert("L"))
        sharpness = float(cv2.Laplacian(grey, cv2.CV_64F).var())
        facts.append(Facts(int(index), float(time_s), sharpness, str(imagehash.phash(image))))
        with tempfile.TemporaryFile() as file:
            image.save(file, "JPEG", quality=settings.frames.quality)
        images.append(image)
    chosen = choose(judge(facts, settings.clean), settings.superimages.grid**2)
    _compose([images[i] for i in chosen], settings)


def _compose(images: Sequence[PillowImage.Image], settings: Settings) -> None:
    grid, tile = settings.superimages.grid, settings.superimages.tile
    canvas = PillowImage.new("RGB", (grid * tile, grid * tile))
    for place, image in enumerate(images):
        scaled = image.resize((tile, tile), PillowImage.Resampling.BOX)
        canvas.paste(scaled, (place % grid * tile, place // grid * tile))
    with tempfile.TemporaryFile() as file:
        canvas.save(file, "JPEG", quality=settings.superimages.quality)


def _open(path: Path) -> PillowImage.Image:
    with PillowImage.open(path) as image:
        return image.convert("RGB")


def _side_by_side(
    items: Sequence[Item], ours: Callable[[Item], object], plain: Callable[[Item], object]
) -> tuple[float, float]:
    """Return the CPU seconds of both, taken in turns."""
    seconds = [0.0, 0.0]
    for item in items:
        for which, work in enumerate((ours, plain)):
            start = time.process_time()
            work(item)
            seconds[which] += time.process_time() - start
    return seconds[0], seconds[1]


def _readable(path: Path) -> bool:
    try:
        sample_frames(path, 1)
    except VideoError:
        return False
    return True


if __name__ == "__main__":
    main()
