"""A page in the browser: drop a video or an image, and see what is in it, when and where.

Everything happens on this machine. An upload lies in a temporary folder of the page's own until its
answer is there, and the page asks for nothing from anywhere else.
"""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from markupsafe import Markup

from qvpipe.errors import QvpipeError
from qvpipe.inference.examine import examine
from qvpipe.inference.report import (
    Report,
    VideoResult,
    class_names,
    model_facts,
    moments_of_each,
    render,
    render_video,
    stylesheet,
)
from qvpipe.video.reader import ENDINGS, VideoError, probe

if TYPE_CHECKING:
    import gradio
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from qvpipe.inference.predictor import Predictor
    from qvpipe.inference.search_tab import Searchers

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; frame-ancestors 'none'"
)
"""Content security policy: the browser itself refuses every request to another host."""

KEEP_REPORTS_S = 3600
"""How long a report can be downloaded."""

HINT = "Drop a video or an image above. It stays on this machine and is deleted after the answer."


STYLE = """
.gradio-container { width: 100% !important; max-width: 1080px !important;
  margin: 0 auto !important; }
.qv-head .html-container, #result .html-container,
#found .html-container { padding: 0 !important; }
.qv-head h1 { margin: 12px 0 4px; font-size: 24px; font-weight: 600; }
#result .qv-card, #found .qv-card { min-height: 110px; padding: 16px 18px;
  border: 1px solid #d8dee3; border-radius: 8px; background: #fff; color: #1b2126; }
#result .qv-card h2 { margin: 0 0 14px; color: #1b2126; font-size: 17px; font-weight: 600;
  overflow-wrap: anywhere; }
"""


@dataclass(frozen=True)
class Limits:
    """What is taken; anything beyond it is refused with a sentence."""

    megabytes: int = 500
    minutes: float = 10.0


@dataclass(frozen=True)
class Model:
    """A model that can be chosen."""

    predictor: "Predictor"
    card: Mapping[str, str]
    """What the registry knows of it."""


def serve(
    models: Mapping[str, str],
    load: Callable[[str], Model],
    host: str,
    port: int,
    limits: Limits,
    searchers: "Searchers | None" = None,
) -> None:
    """Show the page until the process is stopped, then remove all that was uploaded.

    Args:
        models: Title of each model that can be chosen, with its address; the first is chosen.
        load: Loads the model of an address.
        host: Where the page is served; 127.0.0.1 keeps it on this machine.
        port: The same.
        limits: What is taken.
        searchers: What can search frames; without any there is no tab for it.

    Raises:
        QvpipeError: If Gradio is not installed or the port is taken.
    """
    with _own_folder() as folder:
        page = build(models, load, limits, searchers)
        try:
            launch(page, host, port, limits)
        except OSError as error:
            raise QvpipeError(
                f"the page cannot be served at {host}:{port} ({error}); choose another --port"
            ) from None
        print(
            f"app: http://{host}:{port} (Ctrl-C ends it; uploads lie in {folder} until then)",
            flush=True,
        )
        page.block_thread()


def launch(page: "gradio.Blocks", host: str, port: int, limits: Limits) -> None:
    """Start to serve a page in the background, closed to everything but its own uploads."""
    import gradio
    from starlette.middleware import Middleware

    page.launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        allowed_paths=[],
        max_file_size=f"{limits.megabytes}mb",
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        run_history=False,
        footer_links=[],
        css=stylesheet() + STYLE,
        theme=gradio.themes.Default(
            primary_hue="cyan",
            neutral_hue="slate",
            font=["system-ui", "sans-serif"],
            font_mono=["ui-monospace", "monospace"],
        ),
        app_kwargs={"middleware": [Middleware(_Guard)]},
    )


def build(
    models: Mapping[str, str],
    load: Callable[[str], Model],
    limits: Limits,
    searchers: "Searchers | None" = None,
) -> "gradio.Blocks":
    """Return the page.

    Args:
        models: Title of each model that can be chosen, with its address; the first is chosen.
        load: Loads the model of an address.
        limits: What is taken.
        searchers: What can search frames; without any there is no tab for it.

    Raises:
        QvpipeError: If Gradio is not installed.
    """
    _require_gradio()
    import gradio

    loaded: dict[str, Model] = {}
    tracker = gradio.Progress()

    def model(address: str) -> Model:
        if address not in loaded:
            loaded.clear()  # one model at a time lies in memory
            loaded[address] = load(address)
        return loaded[address]

    def answer(
        upload: str | None, address: str, progress: "gradio.Progress" = tracker
    ) -> tuple[None, str, object]:
        """Return an empty file field, the result as HTML, and the report to download."""
        if upload is None:
            return None, _note(HINT), gradio.DownloadButton(visible=False)
        path = Path(upload)
        try:
            progress(0.0, "Loading the model")
            chosen = model(address)
            progress(0.3, "Looking at it")
            result = _examine(chosen.predictor, path, limits)
        except QvpipeError as error:
            raise gradio.Error(str(error)) from error
        finally:
            shutil.rmtree(path.parent, ignore_errors=True)
        progress(0.9, "Writing the report")
        report = Path(tempfile.mkdtemp(dir=path.parents[1])) / f"{path.stem}.html"
        report.write_text(_report(result, chosen), encoding="utf-8")
        shown = render_video(result, class_names(chosen.predictor.classes))
        return (
            None,
            _titled(path.name, shown),
            gradio.DownloadButton(value=report, visible=True),
        )

    def add_video() -> None:
        with gradio.Row(equal_height=True):
            upload = gradio.File(
                label=f"Video or image, up to {limits.megabytes} MB and {limits.minutes:g} minutes",
                file_types=sorted(ENDINGS),
                height=150,
                scale=3,
                elem_id="upload",
            )
            choice = gradio.Dropdown(
                choices=list(models.items()),
                value=next(iter(models.values())),
                label="Model",
                interactive=True,
                elem_id="model",
                scale=1,
            )
        result = gradio.HTML(_note(HINT), elem_id="result", apply_default_css=False, min_height=140)
        download = gradio.DownloadButton("Download the report", visible=False, elem_id="report")
        upload.upload(
            answer,
            [upload, choice],
            [upload, result, download],
            api_visibility="private",
            concurrency_limit=1,
            show_progress_on=[result],
        )

    page = gradio.Blocks(title="qvpipe", analytics_enabled=False, delete_cache=(60, KEEP_REPORTS_S))
    with page:
        gradio.HTML("<h1>What does it show?</h1>", elem_classes="qv-head")
        if not searchers:
            add_video()
            return page
        from qvpipe.inference.search_tab import add_search

        with gradio.Tab("A file"):
            add_video()
        with gradio.Tab("Search"):
            add_search(searchers, _note)
    return page


def _require_gradio() -> None:
    # Gradio reads these as it is imported.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        import gradio  # noqa: F401
    except ImportError:
        raise QvpipeError(
            "`qvpipe app` needs Gradio; `pip install -r requirements-app.txt` installs it"
        ) from None


@contextmanager
def _own_folder() -> Iterator[Path]:
    """Give the folder in which all uploads and reports lie, and remove it at the end."""

    def stop(number: int, frame: FrameType | None) -> None:
        sys.exit(0)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with tempfile.TemporaryDirectory(prefix="qvpipe-app-") as folder:
            os.environ["GRADIO_TEMP_DIR"] = str(Path(folder).resolve())
            yield Path(folder)
    finally:
        signal.signal(signal.SIGTERM, before)


def _examine(predictor: "Predictor", path: Path, limits: Limits) -> VideoResult:
    """Return what the model says of an upload; what is too long is not looked at."""
    try:
        minutes = probe(path).duration_s / 60
    except VideoError as error:
        return VideoResult(path.name, error=str(error))
    if minutes > limits.minutes:
        return VideoResult(
            path.name,
            error=f"{path.name} is {minutes:.1f} minutes long; up to {limits.minutes:g} are taken, "
            "so cut it into parts or start `qvpipe app` with --max-minutes",
        )
    return replace(examine(predictor, str(path), moments_of_each(1)), video=path.name)


def _report(result: VideoResult, model: Model) -> str:
    classes = model.predictor.classes
    return render(
        Report(
            videos=[result],
            classes=classes,
            normal=model.predictor.rules["normal"],
            made=datetime.now().astimezone(),
            card={**model.card, **model_facts(model.predictor)},
            names=class_names(classes),
        )
    )


def _note(text: str) -> str:
    return str(Markup('<div class="qv-video qv-card">{}</div>').format(text))


def _titled(title: str, fragment: str) -> str:
    """Return a part of a report below a heading, the heading being any text."""
    card = Markup('<div class="qv-card"><h2>{}</h2>{}</div>')
    return str(card.format(title, Markup(fragment)))


class _Guard:
    """Gives every answer the content security policy, and fetches nothing for anybody.

    Gradio would pass on files from other addresses.
    """

    def __init__(self, app: "ASGIApp") -> None:
        self.app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        from starlette.responses import PlainTextResponse

        async def with_policy(message: "Message") -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], (b"content-security-policy", POLICY.encode())]
                message = {**message, "headers": headers}
            await send(message)

        path = scope.get("path", "")
        if scope["type"] == "http" and ("://" in path or "/proxy=" in path):
            refusal = PlainTextResponse("This page fetches nothing from elsewhere.", 403)
            await refusal(scope, receive, with_policy)
            return
        await self.app(scope, receive, with_policy)
