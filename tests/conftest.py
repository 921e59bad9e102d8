"""Videos that the tests render themselves, where real ones may lie, and an S3 server."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, cast

import av
import boto3
import numpy as np
import numpy.typing as npt
import pytest
from av.video.frame import PictureType
from av.video.stream import VideoStream
from moto.server import ThreadedMotoServer

REPOSITORY = Path(__file__).parents[1]
REAL_CLIPS = Path(
    os.environ.get("QVPIPE_REAL_CLIPS", REPOSITORY.parent / "shared" / "real-clips")
).resolve()
"""A folder with `videos/`, `labels.json` and `classes.txt`; tests that need it are skipped where
it is not there."""


class RenderClip(Protocol):
    """How a clip is rendered."""

    def __call__(
        self,
        path: Path,
        codec: str = "libx264",
        frames: int = 60,
        size: tuple[int, int] = (96, 64),
        pix_fmt: str = "yuv420p",
        rate: int = 25,
        stamps: Sequence[int] | None = None,
        rotation: int = 0,
        mirrored: bool = False,
        seed: int = 0,
        **options: str,
    ) -> Path: ...


def pictures(
    count: int, size: tuple[int, int] = (96, 64), seed: int = 0
) -> list[npt.NDArray[np.uint8]]:
    """Return pictures of which no two are alike: a texture that moves under a growing square."""
    width, height = size
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 200, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    texture = coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    made = []
    for k in range(count):
        picture = np.roll(texture, (k, 2 * k), axis=(0, 1))
        picture = picture + rng.integers(0, 24, picture.shape, dtype=np.uint8)
        picture[: height // 4, : width // 4] = (k * 7 % 256, 255 - k * 5 % 256, k * 31 % 256)
        made.append(picture)
    return made


def render(
    path: Path,
    codec: str = "libx264",
    frames: int = 60,
    size: tuple[int, int] = (96, 64),
    pix_fmt: str = "yuv420p",
    rate: int = 25,
    stamps: Sequence[int] | None = None,
    rotation: int = 0,
    mirrored: bool = False,
    seed: int = 0,
    **options: str,
) -> Path:
    """Render a clip.

    Args:
        path: Where; the ending chooses the container.
        codec: FFmpeg's name of the encoder.
        frames: Number of pictures.
        size: Width and height in pixels.
        pix_fmt: Pixel format.
        rate: Pictures per second.
        stamps: When each picture is shown, in milliseconds; None for evenly.
        rotation: By how many degrees players turn it, counterclockwise.
        mirrored: Whether they then exchange left and right.
        seed: Another seed gives other pictures.
        options: Options of the encoder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as container:
        stream = cast("VideoStream", container.add_stream(codec, rate=rate, options=dict(options)))
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        if codec == "libvpx":
            # On busy cores its threads can wait for each other for minutes.
            stream.codec_context.thread_count = 1
        if stamps is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation or mirrored:
            stream.set_display_rotation(rotation, hflip=mirrored)
        for k, picture in enumerate(pictures(frames, size, seed)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pix_fmt)
            frame.pts = k if stamps is None else stamps[k]
            frame.time_base = Fraction(1, rate) if stamps is None else Fraction(1, 1000)
            frame.pict_type = PictureType.NONE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def render_clip(tmp_path_factory: pytest.TempPathFactory) -> RenderClip:
    """Render a clip, or copy one that was rendered in the same way before."""
    folder = tmp_path_factory.mktemp("clips")
    rendered: dict[str, Path] = {}

    def render_once(path: Path, *how: Any, **options: Any) -> Path:  # noqa: ANN401 - as `render`
        key = f"{path.suffix} {how} {sorted(options.items())}"
        if key not in rendered:
            rendered[key] = render(folder / f"{len(rendered)}{path.suffix}", *how, **options)
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(rendered[key], path))

    return render_once


@dataclass(frozen=True)
class S3:
    """A server of S3 on loopback."""

    endpoint: str

    def bucket(self, name: str) -> str:
        """Make a bucket and return its name."""
        boto3.client("s3", endpoint_url=self.endpoint).create_bucket(Bucket=name)
        return name


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield S3(f"http://{host}:{port}")
    server.stop()
