"""How fast and how exact several ways are to take a video's frames.

    python benchmarks/decode.py FOLDER        # the videos of a folder
    python benchmarks/decode.py [--long]      # clips that it renders itself

For each way it prints how many files it read, how many of the pictures equal those of a plain
sequential decode, and CPU seconds on one thread; then how close the fast way comes to the limit,
the decoding of nothing but what the wanted pictures refer to; how often it had to decode a whole
file, and why; how the work scales from one process to all cores; and, for a folder, what the stages
cost when all videos, none or one is new. For clips of 1 to 5 minutes (`--long`) it prints how much
faster keyframes are taken, and how much faster they could be at most. Every file is read in a
process of its own kind: one that crashes or hangs costs that file and that way.
"""

import argparse
import hashlib
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import TimeoutError as WaitedTooLong
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import av
import cv2
import decord
import numpy as np
from av.video.codeccontext import VideoCodecContext
from pebble import ProcessExpired, ProcessPool
from tqdm import tqdm

from qvpipe.compute.pool import each
from qvpipe.config import ComputeSettings
from qvpipe.errors import QvpipeError
from qvpipe.video import reader, sample_frames
from qvpipe.video.decord import sample_with_decord
from qvpipe.video.find import find_videos
from qvpipe.video.images import Image
from qvpipe.video.packets import DataPacket, open_video
from qvpipe.video.reader import Sample, Sampling, positions

OURS = "ours"
KEYFRAME = "ours, keyframes"
REFERENCE = "sequential (reference)"
LIMIT = "limit"
WHY = "why"


@dataclass(frozen=True)
class Taken:
    """What one way gave for one file."""

    seconds: float
    """CPU time."""
    digests: Sequence[bytes] = ()
    """Of each frame."""
    indices: Sequence[int] = ()
    """Which pictures the frames are."""
    pictures: int = 0
    """How many there are; 0 where the way doesn't tell."""
    truth: Mapping[int, bytes] = field(default_factory=dict)
    """The reference's digests of more pictures."""
    why: str = ""
    """Why a whole file has to be decoded; empty where it doesn't."""
    error: str = ""
    limit: float = 0
    """CPU time of the limit, measured in turns with `seconds`."""


def ours_in_full(path: Path, count: int) -> Sample:
    """Take frames by decoding everything."""
    with open_video(path) as video:
        return reader._sample_in_full(video, count, reader._choose_middles, None)


def opencv(path: Path, count: int) -> Sample:
    """Take frames by OpenCV, seeking to each."""
    cv2.setNumThreads(1)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    pictures = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    frames = []
    for index in positions(pictures, count):
        capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        read, frame = capture.read()
        if not read:
            raise QvpipeError(f"picture {index} of {pictures} cannot be read")
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    indices = np.array(positions(pictures, count), dtype=np.int64)
    return Sample(np.stack(frames), indices, indices / 25, pictures)


def plain_decord(path: Path, count: int) -> Sample:
    """Take frames by decord as its own documentation does, without our checks."""
    video = decord.VideoReader(str(path), num_threads=1)
    indices = np.array(positions(len(video), count), dtype=np.int64)
    return Sample(video.get_batch(indices).asnumpy(), indices, indices / 25, len(video))


WAYS: Mapping[str, Callable[[Path, int], Sample]] = {
    OURS: sample_frames,
    "ours, all decoded": ours_in_full,
    KEYFRAME: partial(sample_frames, sampling="keyframe"),
    "ours, decoder: decord": partial(sample_with_decord, choose=reader._choose_middles),
    "decord": plain_decord,
    "OpenCV, seeking": opencv,
}


def take(way: str, path: Path, count: int, repeat: int) -> Taken:
    """Take frames of a file in one way."""
    seconds = []
    for _ in range(repeat):
        start = time.process_time()
        sample = WAYS[way](path, count)
        seconds.append(time.process_time() - start)
    return Taken(
        min(seconds),
        [_digest(frame) for frame in sample.frames],
        sample.indices.tolist(),
        sample.pictures,
    )


def take_sequentially(path: Path, count: int, also: Collection[int]) -> Taken:
    """Decode a file from its beginning to its end, twice: to count its pictures and to time it."""
    pictures = sum(1 for _ in _decode_all(path))
    indices = positions(pictures, count)
    start = time.process_time()
    frames = {k: _rgb(frame) for k, frame in enumerate(_decode_all(path)) if k in set(indices)}
    seconds = time.process_time() - start
    truth = {k: _digest(frame) for k, frame in frames.items()}
    more = set(also) - truth.keys()
    if more:
        truth |= {k: _digest(_rgb(f)) for k, f in enumerate(_decode_all(path)) if k in more}
    return Taken(seconds, [truth[k] for k in indices], indices, pictures, truth)


def take_beside_the_limit(path: Path, count: int, repeat: int, sampling: Sampling) -> Taken:
    """Take frames of a file in our way and at the limit, in turns."""
    ours, limit = [], []
    for _ in range(repeat):
        start = time.process_time()
        sample_frames(path, count, sampling=sampling)
        ours.append(time.process_time() - start)
        limit.append(_seconds_at_the_limit(path, count, sampling))
    return Taken(min(ours), limit=min(limit))


def _seconds_at_the_limit(path: Path, count: int, sampling: Sampling) -> float:
    """Time the decoding of what the wanted pictures refer to, with all packets known before."""
    choose = {"even": reader._choose_middles, "keyframe": reader.keyframe_positions}[sampling]
    with open_video(path, briefly=True) as video:
        packets = video.survey.packets
        order = reader.in_order_of_time(video.survey)
        keys = [index for index, number in enumerate(order) if packets[number].key]
        wanted = {order[index] for index in choose(len(order), count, keys)}
        runs = reader._runs(packets, wanted)
        optional = reader._optional(video.survey, runs) - wanted
        stamps = {packets[number].pts for number in wanted}
        reader._allow_reordering(video, runs)
        data = list(video.packets())
        start = time.process_time()
        frames = np.stack(list(_decode_only(video.decoder, data, runs, optional, stamps)))
        seconds = time.process_time() - start
    if len(frames) != len(wanted):
        raise QvpipeError(f"{len(frames)} pictures instead of {len(wanted)}")
    return seconds


def _decode_only(
    decoder: VideoCodecContext,
    packets: Sequence[DataPacket],
    runs: Sequence[reader._Run],
    optional: Collection[int],
    stamps: Collection[int | None],
) -> Iterable[Image]:
    """Decode runs of packets and yield the pictures with certain time stamps."""
    for run in runs:
        decoder.flush_buffers()
        for number in range(run.first, run.last + 1):
            decoder.skip_frame = "NONREF" if number in optional else "DEFAULT"
            frames = decoder.decode(packets[number])
            yield from (_rgb(frame) for frame in frames if frame.pts in stamps)
        yield from (_rgb(frame) for frame in decoder.decode(None) if frame.pts in stamps)


def ask_why_in_full(path: Path, count: int) -> Taken:
    """Find out why a whole file has to be decoded."""
    with open_video(path, briefly=True) as video:
        reason = reader.doubt(video.survey)
        if not reason:
            sample = reader._sample_where_needed(video, count, reader._choose_middles, None)
            reason = "" if sample else "something odd on the way"
        kind = f"{video.survey.container.split(',')[0]}, {video.survey.codec}"
        return Taken(0, why=f"{kind}: {reason}" if reason else "")


@dataclass(frozen=True)
class Isolated:
    """Calls functions in another process, which may crash or hang."""

    pool: ProcessPool
    timeout: float

    def call(self, function: Callable[..., Taken], *arguments: object) -> Taken:
        """Return a function's result, or what went wrong as an error."""
        try:
            task = self.pool.schedule(function, args=arguments, timeout=self.timeout)
            return task.result()
        except WaitedTooLong:
            return Taken(self.timeout, error="hangs")
        except ProcessExpired:
            return Taken(0, error="crashes")
        except Exception as error:
            return Taken(0, error=f"{type(error).__name__}: {str(error).splitlines()[0]}")


Results = Mapping[Path, Mapping[str, Taken]]


def measure(files: Sequence[Path], count: int, repeat: int, timeout: float) -> Results:
    """Read every file in every way."""
    results = {}
    with ProcessPool(max_workers=1, context=get_context("spawn")) as pool:
        isolated = Isolated(pool, timeout)
        for path in tqdm(files, "files"):
            found = {way: isolated.call(take, way, path, count, repeat) for way in WAYS}
            also = found[KEYFRAME].indices
            found[REFERENCE] = isolated.call(take_sequentially, path, count, also)
            found[WHY] = isolated.call(ask_why_in_full, path, count)
            if not found[WHY].error and not found[WHY].why:
                found[LIMIT] = isolated.call(take_beside_the_limit, path, count, repeat, "even")
            results[path] = found
    return results


def print_ways(results: Results) -> None:
    """Print a row for each way; seconds are compared on the files that it and ours both read."""
    print("| way | files read | failed | pictures as in the reference | CPU s | time / ours |")
    print("|---|---|---|---|---|---|")
    for way in [*WAYS, REFERENCE]:
        taken = [found[way] for found in results.values()]
        read = [t for t in taken if not t.error]
        same, compared = _agreement(results, way)
        both = [f for f in results.values() if not f[way].error and not f[OURS].error]
        ours = sum(found[OURS].seconds for found in both)
        ratio = sum(found[way].seconds for found in both) / ours if ours else float("nan")
        print(
            f"| {way} | {len(read)} | {len(taken) - len(read)} | {same} of {compared} | "
            f"{sum(t.seconds for t in read):.2f} | {ratio:.2f} |"
        )


def print_limit(results: Results) -> None:
    """Print how close ours comes to the limit, and which files it decodes in full."""
    near = [found[LIMIT] for found in results.values() if LIMIT in found and not found[LIMIT].error]
    limit = sum(taken.limit for taken in near)
    if limit:
        ours = sum(taken.seconds for taken in near)
        print(f"\nlimit: {limit:.2f} s, ours / limit {ours / limit:.3f} ({len(near)} files)")
    reasons = Counter(f[WHY].why for f in results.values() if f[WHY].why)
    print(f"decoded in full: {sum(reasons.values())} of {len(results)} files")
    for reason, times in reasons.most_common():
        print(f"  {times} x {reason}")


def print_failures(results: Results) -> None:
    """Print which files ours does not read, or gives other pictures of than the reference."""
    for path, found in results.items():
        same, compared = _agreement({path: found}, OURS)
        if found[OURS].error:
            print(f"  {path.name}: {found[OURS].error}")
        elif same < compared:
            print(f"  {path.name}: {compared - same} of {compared} pictures differ")
        elif not compared:
            print(
                f"  {path.name}: {found[OURS].pictures} pictures, in the reference "
                f"{found[REFERENCE].pictures} {found[REFERENCE].error}"
            )


def print_keyframes(files: Sequence[Path], repeat: int, timeout: float) -> None:
    """Print how much faster keyframes are taken, and how much faster they could be at most.

    Neither opening a file nor listing its packets counts in what could be.
    """
    print("\n| clip | frames | even, CPU s | keyframes | times as fast | at most | ours / limit |")
    print("|---|---|---|---|---|---|---|")
    with ProcessPool(max_workers=1, context=get_context("spawn")) as pool:
        isolated = Isolated(pool, timeout)
        for path, count in itertools.product(files, (9, 27)):
            even, keys = (
                isolated.call(take_beside_the_limit, path, count, repeat, sampling)
                for sampling in ("even", "keyframe")
            )
            print(
                f"| {path.stem} | {count} | {even.seconds:.3f} | {keys.seconds:.3f} | "
                f"{even.seconds / keys.seconds:.1f} | {even.limit / keys.limit:.1f} | "
                f"{even.seconds / even.limit:.2f}, {keys.seconds / keys.limit:.2f} |",
                flush=True,
            )


def _agreement(results: Results, way: str) -> tuple[int, int]:
    """Return how many pictures equal the reference's, and how many were compared."""
    same = compared = 0
    for found in results.values():
        taken, truth = found[way], found[REFERENCE]
        partly = found[OURS].pictures != truth.pictures and way.startswith("ours")
        if taken.error or truth.error or partly:
            continue
        wanted = taken.indices if way == KEYFRAME else truth.indices
        compared += len(wanted)
        same += sum(a == truth.truth[k] for a, k in zip(taken.digests, wanted, strict=False))
    return same, compared


def read_quietly(path: Path) -> None:
    """Take nine frames of a file that may be unreadable."""
    try:
        sample_frames(path, 9)
    except QvpipeError:
        return


def print_scaling(files: Sequence[Path]) -> None:
    """Print the wall time of one process and of one for each core."""
    many = list(files) * max(1, 200 // len(files))
    seconds = {}
    for workers in (1, os.cpu_count() or 1):
        # The first files are there for the processes to start.
        results = each(
            read_quietly, [*many[:20], *many], ComputeSettings(workers), f"{workers} processes"
        )
        for _ in range(20):
            next(iter(results))
        start = time.perf_counter()
        for _ in results:
            pass
        seconds[workers] = time.perf_counter() - start
    (one, first), (all_cores, last) = min(seconds.items()), max(seconds.items())
    print(f"\n{one} process {first:.1f} s, {all_cores} {last:.1f} s: {first / last:.2f} times")


def render(folder: Path) -> dict[str, list[Path]]:
    """Render clips of H.264 with B-frames, by kind."""
    kinds = {
        "20 s": [(1280, 720, 500, 250), (1280, 720, 500, 12), (720, 576, 500, 250)],
        "2 s": [(1280, 720, 50, 250), (1280, 720, 50, 12), (720, 576, 50, 250)],
    }
    return {
        kind: [_render_clip(folder / f"{w}x{h}_{n}_gop{g}.mp4", w, h, n, g) for w, h, n, g in clips]
        for kind, clips in tqdm(kinds.items(), "rendering")
    }


def render_long(folder: Path) -> list[Path]:
    """Render clips of 20 s and repeat them to clips of 1, 2 and 5 minutes."""
    clips = []
    for gop, (width, height) in itertools.product((12, 25, 50, 250), ((720, 576), (1280, 720))):
        name = f"{width}x{height}_gop{gop}"
        short = _render_clip(folder / f"{name}.mp4", width, height, 500, gop)
        clips += [_repeat(short, folder / f"{name}_{20 * n}s.mp4", n) for n in (3, 6, 15)]
    return clips


def _repeat(source: Path, path: Path, times: int) -> Path:
    """Write the packets of a clip of 20 s several times."""
    with av.open(source) as old, av.open(path, "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        for k in range(times):
            old.seek(0)
            for packet in old.demux(stream):
                if packet.pts is not None and packet.dts is not None:
                    shift = int(20 * k / packet.time_base)
                    packet.pts += shift
                    packet.dts += shift
                    packet.stream = copy
                    new.mux(packet)
    return path


def _render_clip(path: Path, width: int, height: int, frames: int, gop: int) -> Path:
    """Render a flight over a soft texture with the noise of a camera."""
    rng = np.random.default_rng(gop)
    rough = rng.integers(0, 255, (height // 4, width // 4, 3), dtype=np.uint8)
    ground = cv2.resize(rough, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC)
    options = {"g": str(gop), "bf": "3", "preset": "veryfast", "crf": "26"}
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for k in range(frames):
            turn = cv2.getRotationMatrix2D((width, height), k / 7, 1 + 0.3 * np.sin(k / 40))
            turn[:, 2] -= np.array([width / 2, height / 2])
            picture = cv2.warpAffine(ground, turn, (width, height))
            noise = rng.integers(0, 8, (height, width, 1), dtype=np.uint8)
            noisy = np.asarray(cv2.add(picture, noise.repeat(3, axis=2)), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(noisy)
            frame.pts, frame.time_base = k, Fraction(1, 25)
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    return path


def _decode_all(path: Path) -> Iterable[av.VideoFrame]:
    with av.open(str(path), metadata_errors="replace") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        yield from container.decode(stream)


def _rgb(frame: av.VideoFrame) -> Image:
    image = np.asarray(frame.to_ndarray(format="rgb24", threads=1), dtype=np.uint8)
    return reader._as_shown(image, frame)


def _digest(image: Image) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).digest()


def report(title: str, files: Sequence[Path], arguments: argparse.Namespace) -> None:
    """Measure files and print all tables."""
    print(f"\n{title}: {len(files)} files, {arguments.frames} frames of each\n")
    results = measure(files, arguments.frames, arguments.repeat, arguments.timeout)
    print_ways(results)
    print_limit(results)
    print_failures(results)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="videos; without it, clips are made")
    parser.add_argument("--frames", type=int, default=9)
    parser.add_argument(
        "--long", action="store_true", help="compare samplings on long clips instead"
    )
    parser.add_argument("--repeat", type=int, default=1, help="times; the least is taken")
    parser.add_argument("--timeout", type=float, default=120, help="seconds for a file and a way")
    parser.add_argument("--no-scaling", action="store_true", help="leave out all cores")
    parser.add_argument(
        "--no-incremental", action="store_true", help="leave out what little news costs"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.long:
            print_keyframes(render_long(Path(folder)), arguments.repeat, arguments.timeout)
            return
        if arguments.folder:
            kinds = {str(arguments.folder.name): find_videos(arguments.folder)}
        else:
            kinds = render(Path(folder))
        for kind, files in kinds.items():
            report(kind, files, arguments)
        if not arguments.no_scaling:
            print_scaling([path for files in kinds.values() for path in files])
        if arguments.folder and not arguments.no_incremental:
            program = Path(__file__).with_name("incremental.py")
            subprocess.run([sys.executable, program, arguments.folder], check=True)


if __name__ == "__main__":
    main()
