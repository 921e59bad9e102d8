"""How often a damaged file gives a picture that none of the sound file's is.

    python benchmarks/damage.py [--files 60]

Small clips of several codecs are rendered and damaged by chance: bytes zeroed, bits flipped, a
piece cut out, the end cut off. Each is read with several settings of FFmpeg's `err_detect`, which
apply once a file is seen to be damaged. The table says in how many files a picture was altered, how
many pictures were given up, and whether the sound files were still read whole.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from qvpipe.video import VideoError, packets, sample_frames

CODECS = {
    "h264.mp4": ("libx264", {"g": "12", "bf": "2"}),
    "h264.ts": ("libx264", {"g": "12", "bf": "2"}),
    "mpeg2.mpeg": ("mpeg2video", {"g": "12", "bf": "2"}),
    "mpeg4.avi": ("mpeg4", {"g": "12", "bf": "2"}),
    "hevc.mkv": ("libx265", {"x265-params": "log-level=none:keyint=12:bframes=2"}),
    "vp9.webm": ("libvpx-vp9", {"g": "12", "deadline": "realtime", "cpu-used": "8"}),
}
DETECT = ["", "careful", "explode", "bitstream+buffer+explode", "crccheck+bitstream+buffer+explode"]
COUNT = 27


def render(path: Path, codec: str, options: dict[str, str]) -> Path:
    """Render a clip of 60 pictures in which a texture moves."""
    rng = np.random.default_rng(0)
    texture = rng.integers(30, 220, (12, 16, 3), dtype=np.uint8).repeat(12, 0).repeat(12, 1)
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 192, 144, "yuv420p"
        for k in range(60):
            noise = rng.integers(0, 16, texture.shape, dtype=np.uint8)
            picture = np.roll(texture, (k, 3 * k), (0, 1)) + noise
            frame = av.VideoFrame.from_ndarray(picture).reformat(format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the bytes of a file with one kind of damage, beyond its first tenth."""
    start = int(rng.integers(len(data) // 10, len(data) - 10))
    length = int(rng.integers(1, max(2, len(data) // 20)))
    kind = rng.integers(4)
    if kind == 0:
        return data[:start] + bytes(min(length, len(data) - start)) + data[start + length :]
    if kind == 1:
        flipped = bytearray(data)
        for place in rng.integers(start, min(start + length, len(data)), 5):
            flipped[place] ^= 1 << int(rng.integers(8))
        return bytes(flipped)
    if kind == 2:
        return data[:start] + data[start + length :]
    return data[:start]


def judge(paths: Sequence[Path], truth: set[bytes]) -> tuple[int, int, int, int]:
    """Return files with an altered picture, altered pictures, unreadable files, pictures lost."""
    files = altered = failed = lost = 0
    for path in paths:
        try:
            sample = sample_frames(path, COUNT)
        except VideoError:
            failed += 1
            continue
        wrong = sum(frame.tobytes() not in truth for frame in sample.frames)
        files += wrong > 0
        altered += wrong
        lost += 60 - sample.pictures
    return files, altered, failed, lost


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=60, help="damaged files of each codec")
    files = parser.parse_args().files
    rng = np.random.default_rng(1)
    print("| clip | err_detect | files altered | pictures | unreadable | lost | sound: lost |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, (codec, options) in CODECS.items():
            sound = render(Path(folder) / name, codec, options)
            truth = {frame.tobytes() for frame in sample_frames(sound, 60).frames}
            broken = []
            for k in range(files):
                broken.append(sound.with_name(f"{k}{sound.suffix}"))
                broken[-1].write_bytes(damage(sound.read_bytes(), rng))
            for detect in DETECT:
                packets.STRICT.clear()
                packets.STRICT.update({"err_detect": detect} if detect else {})
                row = judge(broken, truth)
                whole = judge([sound], truth)
                print(
                    f"| {name} | {detect or 'as it is'} | "
                    + " | ".join(map(str, (*row, whole[3] + 60 * whole[2])))
                    + " |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
