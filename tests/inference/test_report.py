import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from qvpipe.cli import PARTLY_FAILED
from qvpipe.errors import QvpipeError
from qvpipe.inference import report as reports
from qvpipe.inference.report import (
    ClassResult,
    Moment,
    Report,
    VideoResult,
    agreement,
    class_names,
    render,
)
from qvpipe.results.page import Picture, clock
from tests.conftest import pictures
from tests.inference.conftest import Registered

CLASSES = ("ZC", "CJ", "PL")
HOSTILE = """\"'><img src=x onerror=alert(1)><script>alert(2).mp4"""


def video(name: str, *probabilities: float, pictures_too: bool = False) -> VideoResult:
    """Return the result of a video in which what is at least 0.5 probable was found."""
    picture = Picture.of(pictures(1)[0], 48)
    moments = (Moment(time_s=1.5, frame=37, picture=picture),) if pictures_too else ()
    return VideoResult(
        f"folder/{name}",
        tuple(
            ClassResult(c, p, 0.5, p >= 0.5, moments if p >= 0.5 else ())
            for c, p in zip(CLASSES, probabilities, strict=True)
        ),
        duration_s=6.0,
        superimage=picture,
        tiles=9,
    )


def page(
    videos: Sequence[VideoResult], labels: Mapping[str, tuple[int, ...]] | None = None
) -> Report:
    return Report(
        videos=videos,
        classes=CLASSES,
        normal="ZC",
        made=datetime(2026, 11, 21, 9, 30),
        card={"Model": "qvpipe version 3, champion"},
        names=class_names(CLASSES),
        agreement=None if labels is None else agreement(videos, CLASSES, labels),
    )


VIDEOS = (
    video("a2.mp4", 0.1, 0.9, 0.2, pictures_too=True),
    video("a10.mp4", 0.1, 0.6, 0.8, pictures_too=True),
    video("normal.mp4", 0.95, 0.0, 0.0),
    video("dim.mp4", 0.2, 0.3, 0.1),
    VideoResult("folder/broken.mp4", error="broken.mp4 is empty (0 bytes)"),
)


class Elements(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, *names: str) -> list[str]:
        return [v for _, attrs in self.elements for n, v in attrs.items() if n in names and v]


def test_a_report_asks_for_nothing_outside_itself() -> None:
    html = render(page(VIDEOS, {"a2.mp4": (1,)}))
    addresses = Elements(html).values("src", "href", "srcset", "action", "poster", "data")
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "url(" not in html
    assert "@import" not in html


def test_only_its_own_script_may_run() -> None:
    html = render(page(VIDEOS))
    policy = next(v for v in Elements(html).values("content") if "script-src" in v)
    (script,) = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize("failed", [False, True])
def test_hostile_file_names_stay_names(failed: bool) -> None:
    hostile = video(HOSTILE, 0.1, 0.9, 0.2, pictures_too=True)
    if failed:
        hostile = VideoResult(f"folder/{HOSTILE}", error=f"{HOSTILE} is not a video")
    harmless = VIDEOS[-1] if failed else video("a.mp4", 0.1, 0.9, 0.2, pictures_too=True)
    found, expected = (Elements(render(page([one]))) for one in (hostile, harmless))
    assert hostile.file in found.text
    assert [tag for tag, _ in found.elements] == [tag for tag, _ in expected.elements]
    assert not any(name.startswith("on") for _, attrs in found.elements for name in attrs)


def test_links_lead_somewhere() -> None:
    elements = Elements(render(page(VIDEOS, {"a2.mp4": (1,)})))
    places = set(elements.values("id"))
    assert {address[1:] for address in elements.values("href") if address[0] == "#"} <= places


def test_outcomes_tell_defects_from_normal_nothing_and_failed() -> None:
    assert page(VIDEOS).outcomes == {"defects": 2, "normal": 1, "nothing": 1, "failed": 1}
    assert page(VIDEOS).counts == [("CJ", 2), ("PL", 1), ("ZC", 1)]


def test_what_failed_and_why_is_told() -> None:
    assert "broken.mp4 is empty (0 bytes)" in Elements(render(page(VIDEOS))).text


def test_agreement_with_labels() -> None:
    labels = {"a2.mp4": (1,), "a10.mp4": (1,), "normal.mp4": (0,), "broken.mp4": (2,)}
    judged = agreement(VIDEOS, CLASSES, labels)
    assert (judged.videos, judged.unlabelled, judged.mean_ap) == (3, 1, 1.0)
    normal, deposit, crack = judged.classes
    assert (normal.precision, normal.recall, normal.f1) == (1.0, 1.0, 1.0)
    assert (deposit.positives, deposit.precision, deposit.recall) == (2, 1.0, 1.0)
    assert (crack.positives, crack.ap, crack.precision) == (0, None, 0.0)
    assert judged.confusion == ((1, 0, 0, 0), (0, 2, 1, 0), (0, 0, 0, 0))


def test_a_missed_class_stands_in_the_last_column() -> None:
    judged = agreement(VIDEOS, CLASSES, {"dim.mp4": (1,)})
    assert judged.confusion[1] == (0, 0, 0, 1)
    assert judged.classes[1].recall == 0.0


def test_a_report_on_images_speaks_of_images() -> None:
    stills = [replace(one, duration_s=0.0) for one in VIDEOS]
    given = agreement(stills, CLASSES, {"a2.mp4": (1,), "normal.mp4": (2,)}, "multiclass")
    assert given.confusion == ((0, 0, 0), (0, 1, 0), (1, 0, 0))
    shown = render(replace(page(stills), agreement=given))
    headings = re.findall("<h2[^>]*>([^<]*)<", shown)
    assert ("Images" in headings, "Image by image" in headings) == (True, True)
    assert 'data-items="images"' in shown
    assert ">Length<" not in shown
    assert ">none<" not in shown
    videos = render(page(VIDEOS, {"a2.mp4": (1,)}))
    assert ("Videos" in videos, ">Length<" in videos, ">none<" in videos) == (True, True, True)


def test_the_area_below_a_curve_is_the_average_precision() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((60, 3)).round(1)
    videos = [video(f"{i}.mp4", *map(float, row)) for i, row in enumerate(scores)]
    labels = {v.file: tuple(np.flatnonzero(rng.random(3) < 0.4).tolist()) for v in videos}
    for judged in agreement(videos, CLASSES, labels).classes:
        recalls = np.array([0.0, *(recall for recall, _ in judged.curve)])
        precisions = np.array([precision for _, precision in judged.curve])
        assert (np.diff(recalls) * precisions).sum() == pytest.approx(judged.ap)


def test_labels_of_other_videos_are_refused() -> None:
    with pytest.raises(QvpipeError, match="names none of the videos"):
        agreement(VIDEOS, CLASSES, {"other.mp4": (1,)})


def test_names_from_a_file_replace_the_english_ones(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_text("class,name\nCJ,Ablagerung\n", encoding="utf-8")
    names = reports.read_names(path, CLASSES)
    assert names == {"ZC": "normal", "CJ": "Ablagerung", "PL": "rupture, crack"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("code,name\nCJ,x\n", "must have the columns class and name"),
        ("class,name\nXX,x\n", "the class 'XX', which the model doesn't know"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_file_of_names_is_refused(
    content: str | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "names.csv"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(QvpipeError, match=message):
        reports.read_names(path, CLASSES)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00.0"), (59.96, "1:00.0"), (62.54, "1:02.5"), (3600, "60:00.0")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_the_command_writes_what_it_found_and_what_failed(
    registered: Registered, videos: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"0.mp4": [1], "1.mp4": [2]}), encoding="utf-8")
    out = tmp_path / "report.html"
    done = subprocess.run(
        [sys.executable, "-m", "qvpipe.cli", "report", videos, "--out", out, "--labels", labels],
        env=registered.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == PARTLY_FAILED, done.stderr
    assert "report: 4 videos in, 1 failed" in done.stdout
    text = Elements(out.read_text(encoding="utf-8")).text
    assert "qvpipe version 1, champion" in text
    assert "broken.mp4 is empty (0 bytes)" in text
    assert "2 videos have labels; 1 without are left out" in text


def test_the_table_sorts_and_filters_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(render(page(VIDEOS, {"a2.mp4": (1,)})), encoding="utf-8")
    requests: list[str] = []
    tab = browser.new_page()
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(path.as_uri())

    def files() -> list[str]:
        names: list[str] = tab.locator(".overview tbody tr:visible th").all_inner_texts()
        return names

    tab.get_by_role("button", name="File").click()
    assert files() == ["a2.mp4", "a10.mp4", "broken.mp4", "dim.mp4", "normal.mp4"]
    tab.get_by_role("button", name="Top %").click()
    tab.get_by_role("button", name="Top %").click()
    assert files()[:3] == ["normal.mp4", "a2.mp4", "a10.mp4"]
    tab.get_by_label("Class").select_option(label="PL rupture, crack")
    assert files() == ["a10.mp4"]
    assert tab.locator("article:visible").count() == 1
    tab.get_by_label("Class").select_option("")
    tab.get_by_label("Outcome").select_option(label="Failed")
    assert files() == ["broken.mp4"]
    tab.get_by_label("Outcome").select_option("")
    tab.get_by_label("File name").fill("A1")
    assert files() == ["a10.mp4"]
    assert tab.locator("output").inner_text() == "1 of 5 videos"
    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]
    tab.close()
