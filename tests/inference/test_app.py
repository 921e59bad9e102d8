import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from playwright.sync_api import Browser, Page, expect

from qvpipe.errors import QvpipeError
from qvpipe.inference import app
from qvpipe.inference.examine import examine
from qvpipe.inference.predictor import Predictor
from tests.conftest import RenderClip
from tests.inference.conftest import Registered
from tests.servers import free_port

ANSWER_MS = 240_000


@dataclass(frozen=True)
class Served:
    """The page of `qvpipe app` while it is served."""

    address: str
    folder: Path
    """Where its uploads lie."""
    process: "subprocess.Popen[str]"

    def files(self) -> set[str]:
        """Return the names of the files there that hold anything."""
        found = [path for path in self.folder.rglob("*") if path.is_file()]
        return {path.name for path in found if path.stat().st_size}


@pytest.fixture(scope="module")
def served(registered: Registered, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve the page as a person would, with two versions to choose from."""
    client = MlflowClient(registered.uri)
    first = client.get_model_version("qvpipe", "1")
    client.create_model_version("qvpipe", str(first.source))
    temporary = tmp_path_factory.mktemp("temporary")
    port = free_port()
    limits = ["--max-mb", "1", "--max-minutes", "0.1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "qvpipe.cli", "app", "--port", str(port), *limits],
        env=registered.environment | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        assert line.startswith(f"app: http://127.0.0.1:{port} "), line
        (folder,) = temporary.glob("qvpipe-app-*")
        yield Served(f"http://127.0.0.1:{port}", folder, process)
    finally:
        process.terminate()
        process.wait(timeout=60)
    assert not folder.exists()


@pytest.fixture
def page(served: Served, browser: Browser) -> Iterator[Page]:
    """Open the page."""
    tab = browser.new_page()
    tab.goto(served.address)
    yield tab
    tab.close()


def drop(page: Page, path: Path) -> None:
    page.locator("#upload input[type=file]").set_input_files(path)


def answered(page: Page, name: str) -> str:
    """Wait for the answer to a video and return its report."""
    expect(page.locator("#result h2")).to_have_text(name, timeout=ANSWER_MS)
    with page.expect_download() as download:
        page.locator("#report").click()
    return Path(download.value.path()).read_text(encoding="utf-8")


def test_a_dropped_video_is_answered(
    page: Page, served: Served, ensemble: Predictor, videos: Path
) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    drop(page, videos / "0.mp4")
    report = answered(page, "0.mp4")
    assert "version 1, champion" in report
    expected = [result.name for result in examine(ensemble, str(videos / "0.mp4"), 1).found]
    assert [
        text.strip() for text in page.locator("#result .qv-found th").all_inner_texts()
    ] == expected
    assert page.locator("#result figure img").first.evaluate("image => image.naturalWidth") == 96
    elsewhere = [url for url in requests if not url.startswith((served.address, "data:", "blob:"))]
    assert elsewhere == []
    assert served.files() == {"0.html"}


def test_where_nothing_is_embedded_there_is_no_search(page: Page) -> None:
    expect(page.locator("#upload")).to_be_visible()
    expect(page.get_by_role("tab")).to_have_count(0)


def test_another_version_can_be_chosen(page: Page, videos: Path) -> None:
    page.get_by_label("Model").click()
    page.get_by_role("option", name="version 2").click()
    drop(page, videos / "1.mp4")
    assert "version 2</p>" in answered(page, "1.mp4")


def test_a_broken_file_is_answered_with_the_reason(
    page: Page, served: Served, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"this is no video\n" * 10)
    drop(page, broken)
    expect(page.locator("#result .qv-failed")).to_have_text(
        "broken.mp4 is a text file, not a video", timeout=ANSWER_MS
    )
    assert "broken.mp4" not in served.files()


def test_a_video_that_is_too_long_is_refused(
    page: Page, served: Served, render_clip: RenderClip, tmp_path: Path
) -> None:
    drop(page, render_clip(tmp_path / "long.mp4", frames=20, rate=1))
    expect(page.locator("#result .qv-failed")).to_contain_text(
        "long.mp4 is 0.3 minutes long; up to 0.1 are taken", timeout=ANSWER_MS
    )
    assert "long.mp4" not in served.files()


def test_a_file_that_is_too_large_is_refused(page: Page, served: Served, tmp_path: Path) -> None:
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(2 * 1024**2))
    drop(page, large)
    expect(page.get_by_text("exceed the maximum allowed size of 1").first).to_be_visible()
    assert "large.mp4" not in served.files()


def test_a_large_file_sent_without_the_page_is_refused_too(served: Served) -> None:
    before = served.files()
    body = (
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="large.mp4"\r\n\r\n'
        + bytes(2 * 1024**2)
        + b"\r\n--x--\r\n"
    )
    request = urllib.request.Request(
        f"{served.address}/gradio_api/upload",
        body,
        {"Content-Type": "multipart/form-data; boundary=x"},
    )
    with pytest.raises(urllib.error.HTTPError, match="413"):
        urllib.request.urlopen(request, timeout=30)
    assert served.files() == before


def status(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../../../etc/passwd",
        "params.yaml",
        "file:///etc/passwd",
        "http://example.org/",
        str(Path(__file__)),
    ],
)
def test_nothing_outside_its_folder_is_served(served: Served, path: str) -> None:
    for written in (path, urllib.parse.quote(path, safe=""), path.replace("..", "%2e%2e")):
        assert status(f"{served.address}/gradio_api/file={written}") in (403, 404)
    assert status(f"{served.address}/gradio_api/proxy={path}") in (403, 404)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux lists its sockets there")
def test_only_this_machine_can_reach_it(served: Served) -> None:
    assert status(served.address) == 200
    lines = Path("/proc/net/tcp").read_text(encoding="utf-8").splitlines()[1:]
    listening = [line.split()[1] for line in lines if line.split()[3] == "0A"]
    port = f":{int(served.address.rpartition(':')[2]):04X}"
    assert [place for place in listening if place.endswith(port)] == [f"0100007F{port}"]


def test_without_gradio_one_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(QvpipeError, match=r"pip install -r requirements-app\.txt"):
        app.build({"model": "model"}, lambda _: pytest.fail("not needed"), app.Limits())
