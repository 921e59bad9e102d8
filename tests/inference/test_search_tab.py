import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import yaml
from playwright.sync_api import Browser, Page, expect

from qvpipe import files
from qvpipe.config import DataSettings, SearchSettings, as_tree
from qvpipe.search.searcher import read_picture, with_clip
from qvpipe.stages.embed import embed
from qvpipe.stages.frames import frames
from qvpipe.stages.index import index
from qvpipe.video.store import unpack
from tests.inference.conftest import CLASSES, SETTINGS, Registered
from tests.search.tiny import save_tiny_clip
from tests.servers import free_port

ANSWER_MS = 240_000


@pytest.fixture(scope="module")
def place(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the frames of three videos are embedded by a tiny CLIP."""
    folder = tmp_path_factory.mktemp("place")
    raw = folder / "raw"
    (raw / "videos").mkdir(parents=True)
    (folder / ".dvc").mkdir()
    for number in range(3):
        (raw / f"videos/{number}.mp4").write_bytes((videos / f"{number}.mp4").read_bytes())
    labels = {f"{number}.mp4": [number] for number in range(3)}
    (raw / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    (raw / "classes.txt").write_text("\n".join(CLASSES), encoding="utf-8")
    settings = replace(
        SETTINGS,
        data=DataSettings("raw/videos", "raw/labels.json", "raw/classes.txt", normal="normal"),
        search=SearchSettings("all", embedders={"clip": str(save_tiny_clip(folder / "clip"))}),
    )
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.delenv("DVC_ROOT", raising=False)
        files.PARAMS.write_text(yaml.safe_dump(as_tree(settings)), encoding="utf-8")
        index(settings)
        frames(settings)
        embed(settings, "clip")
    return folder


@pytest.fixture(scope="module")
def address(registered: Registered, place: Path) -> Iterator[str]:
    """Serve the page as a person would."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "qvpipe.cli", "app", "--port", str(port)],
        cwd=place,
        env=registered.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith(f"app: http://127.0.0.1:{port} ")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture
def page(address: str, browser: Browser) -> Iterator[Page]:
    """Open the search of the page."""
    tab = browser.new_page()
    tab.goto(address)
    tab.get_by_role("tab", name="Search").click()
    yield tab
    tab.close()


def similarities(page: Page) -> list[float]:
    expect(page.locator("#found .qv-hits li").first).to_be_visible(timeout=ANSWER_MS)
    return [float(text) for text in page.locator("#found .qv-hits strong").all_inner_texts()]


def test_a_text_finds_frames(
    page: Page, address: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.get_by_label("What is to be seen").fill("roots in the pipe")
    page.locator("#search").click()
    found = similarities(page)
    monkeypatch.chdir(place)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    hits = with_clip(files.read_settings(), "clip").by_text("roots in the pipe", 12)
    assert found == [round(hit.similarity, 3) for hit in hits]
    assert page.locator("#found img").first.evaluate("image => image.naturalWidth") == 96
    elsewhere = [url for url in requests if not url.startswith((address, "data:", "blob:"))]
    assert elsewhere == []
    if folder := os.environ.get("QVPIPE_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / "search.png", full_page=True)


def test_a_picture_finds_itself_and_is_not_kept(page: Page, place: Path, tmp_path: Path) -> None:
    picture = unpack(place / files.frames_zip("2"), [5]).frames[0]
    cv2.imwrite(str(tmp_path / "frame.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    page.locator("#like input[type=file]").set_input_files(tmp_path / "frame.png")
    assert similarities(page)[0] == 1.0
    expect(page.locator("#found .qv-hits li").first).to_contain_text("roots")
    expect(page.locator("#found .qv-example img")).to_be_visible()
    shown = unpack(place / files.frames_zip("2"), [5]).frames[0]
    assert read_picture(tmp_path / "frame.png").shape == shown.shape


def test_what_is_no_picture_is_said(page: Page, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"this is no picture")
    page.locator("#like input[type=file]").set_input_files(tmp_path / "broken.png")
    expect(page.get_by_text("broken.png is no picture that can be read").first).to_be_visible(
        timeout=ANSWER_MS
    )
