"""Whether this machine has what the work needs: one line for each thing, good or how to mend it."""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from qvpipe import files, tracking
from qvpipe.config import Settings
from qvpipe.errors import QvpipeError, one_line
from qvpipe.tracking import stored
from qvpipe.video.labels import FOLDERS
from qvpipe.video.reader import ENDINGS

if TYPE_CHECKING:
    from dvc.repo import Repo
    from mlflow.entities.model_registry import ModelVersion

WIDTH = 79
NAME = 10
"""Columns of a line that its name takes."""

PATIENCE_S = 120.0
"""How long all checks together may take; one that hangs is given up."""

CODECS: Mapping[str, str] = {
    "H.264": "h264",
    "HEVC": "hevc",
    "VP9": "vp9",
    "AV1": "libdav1d",
    "MPEG-4": "mpeg4",
    "MPEG-2": "mpeg2video",
}
"""What videos come in, and FFmpeg's name of what decodes it."""

ENOUGH_DISK = 5e9
"""Free bytes below which training may run out of space."""

ASK_TORCH = """
import json, torch
cuda = torch.cuda.is_available()
mps = torch.backends.mps.is_available()
names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else []
print(json.dumps({"gpus": names + (["Apple GPU"] if mps else []), "built": torch.version.cuda}))
"""


@dataclass(frozen=True)
class Finding:
    """What was found of one thing.

    Attributes:
        text: What is there, for a person.
        mend: What to do about it; empty if it is good.
    """

    text: str
    mend: str = ""


def report() -> int:
    """Print a line for each thing, and below it what to do if it is not good.

    Returns:
        0 if all is good, else 1.
    """
    findings = examine(CHECKS)
    for name, finding in findings.items():
        print(line(name, finding))
    bad = sum(1 for finding in findings.values() if finding.mend)
    print(f"\n{bad} of {len(findings)} need mending" if bad else "\nall is well")
    return 1 if bad else 0


def line(name: str, finding: Finding) -> str:
    """Return a finding as text that fits a terminal of 80 columns."""
    mark = "!!" if finding.mend else "ok"
    shown = _wrapped(f"{mark}  {name:{NAME}}", finding.text)
    return f"{shown}\n{_wrapped(' ' * (NAME + 4) + '-> ', finding.mend)}" if finding.mend else shown


def examine(
    checks: Mapping[str, Callable[[], Finding]], patience_s: float = PATIENCE_S
) -> dict[str, Finding]:
    """Make checks at the same time. One that fails or hangs is a finding as well.

    Args:
        checks: By name.
        patience_s: Seconds after which the checks that still run are given up.
    """
    findings: dict[str, Finding] = {}

    def examine_one(name: str, check: Callable[[], Finding]) -> None:
        try:
            findings[name] = check()
        except QvpipeError as error:
            findings[name] = Finding("does not work", str(error))
        except Exception as error:  # whatever is broken is to be a line
            findings[name] = Finding(
                f"does not work: {type(error).__name__}: {one_line(error)}", REINSTALL
            )

    # Daemons, so that a server that never answers does not keep the process.
    threads = [threading.Thread(target=examine_one, args=c, daemon=True) for c in checks.items()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + patience_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    hung = Finding(f"no answer within {patience_s:.0f} s", "check that its server or disk is there")
    return {name: findings.get(name, hung) for name in checks}


def python() -> Finding:
    """Python, and whether the packages that qvpipe needs are installed in fitting versions."""
    wanted = [Requirement(text) for text in importlib.metadata.requires("qvpipe") or ()]
    wrong = [str(need) for need in wanted if not need.marker and not _is_installed(need)]
    text = f"{platform.python_version()} in {sys.prefix}"
    if wrong:
        return Finding(f"{text}, without {', '.join(wrong)}", REINSTALL)
    return Finding(f"{text}, with all packages")


def torch() -> Finding:
    """PyTorch and the GPUs that it sees; asked in a process of its own, which may crash."""
    command = [sys.executable, "-c", ASK_TORCH]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    if asked.returncode:
        last = (asked.stderr.strip().splitlines() or ["it crashed"])[-1]
        return Finding(f"torch cannot be imported: {last}", REINSTALL)
    seen = json.loads(asked.stdout)
    text = importlib.metadata.version("torch")
    if seen["gpus"]:
        return Finding(f"{text} on {', '.join(seen['gpus'])}")
    if shutil.which("nvidia-smi"):
        return Finding(
            f"{text} sees no GPU, though there is an NVIDIA driver",
            f"look at `nvidia-smi`; torch needs a driver for CUDA {seen['built']}",
        )
    return Finding(f"{text}, no GPU: training runs on the CPU")


def decoders() -> Finding:
    """What reads videos."""
    import av
    import cv2
    import decord

    text = f"PyAV {av.__version__}, OpenCV {cv2.__version__}, decord {decord.__version__}"
    missing = [name for name, codec in CODECS.items() if codec not in av.codecs_available]
    if missing:
        return Finding(f"{text}; no {', '.join(missing)}", "`uv pip install --reinstall av`")
    return Finding(f"{text}; {', '.join(CODECS)}")


def settings() -> Finding:
    """Whether params.yaml can be used."""
    read = files.read_settings()
    members = ", ".join(read.members)
    return Finding(f"params.yaml trains {members} on {len(read.folds)} folds with {read.loss}")


def raw() -> Finding:
    """The raw videos and their labels, which a clone need not have."""
    data = _settings().data
    folder, labels = files.raw(data.videos), files.raw(data.labels)
    if not folder.is_dir():
        if (files.repository() / files.INDEX).is_file():
            return Finding(f"no folder {data.videos}; the pipeline works from the frames on")
        return Finding(
            f"no folder {data.videos} and no {files.INDEX}",
            "put the videos there, set data.videos to where they are, get the frames with "
            "`dvc pull`, or render some with `qvpipe demo-data`",
        )
    videos = sum(1 for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    if data.labels != FOLDERS and not labels.is_file():
        return Finding(
            f"{videos} videos in {data.videos}, no label file {data.labels}",
            "put it there, or set data.labels to where it is",
        )
    if not videos:
        return Finding(f"no videos in {data.videos}", "put them there or set data.videos")
    return Finding(f"{videos} videos in {data.videos}, labels in {data.labels}")


def disk() -> Finding:
    """Free space where results are written."""
    free = shutil.disk_usage(files.repository()).free
    text = f"{free / 1e9:.0f} GB free"
    if free < ENOUGH_DISK:
        return Finding(text, "make room; `dvc gc --workspace` drops results of other experiments")
    return Finding(text)


def hooks() -> Finding:
    """Whether a push is checked for raw videos and labels."""
    place = ["git", "-C", str(files.repository()), "rev-parse", "--git-path", "hooks/pre-push"]
    asked = subprocess.run(place, capture_output=True, text=True, check=False)
    if asked.returncode:
        return Finding("not in a git repository", "`git init`, or clone the repository")
    hook = files.repository() / asked.stdout.strip()
    if hook.is_file() and "pre-commit" in hook.read_text(encoding="utf-8", errors="replace"):
        return Finding("a push is checked for raw videos and labels")
    return Finding("a push is not checked for raw videos and labels", "`make hooks`")


def dvc() -> Finding:
    """DVC and its remotes."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    text = importlib.metadata.version("dvc")
    try:
        with Repo(str(files.repository())) as repo:
            names = list(repo.config["remote"])
            away = [name for name in names if not _answers(repo, name)]
    except DvcException as error:
        return Finding(f"{text}: {one_line(error)}", "run this in the repository, or `dvc init`")
    if away:
        return Finding(
            f"{text}, but nothing at the remote {', '.join(away)}",
            "connect it and set its credentials; if it is new, `dvc push` fills it",
        )
    return Finding(f"{text}, " + (f"remote {', '.join(names)}" if names else "no remote"))


def mlflow() -> Finding:
    """Whether MLflow's server or database answers."""
    text = f"{importlib.metadata.version('mlflow')} at {_place()}"
    if not stored.has_database():
        return Finding(f"{text}, which the first `dvc repro` makes")
    _versions(_settings().mlflow.model)
    return Finding(text)


def models() -> Finding:
    """The registered versions that have an alias."""
    model = _settings().mlflow.model
    versions = _versions(model) if stored.has_database() else []
    if not versions:
        return Finding(f"no version of {model} is registered", "`dvc repro` registers one")
    named = [
        f"{version.version} ({', '.join(version.aliases)}, {_score(version.tags)})"
        for version in versions
        if version.aliases
    ]
    known = ", ".join(named) or "none with an alias"
    count = "1 version" if len(versions) == 1 else f"{len(versions)} versions"
    return Finding(f"{model} has {count}: {known}")


def _score(tags: Mapping[str, str]) -> str:
    """Return how good a version is by what it was chosen by."""
    return f"{tags['measure']} {float(tags['score']):.3f}" if "score" in tags else "not judged"


REINSTALL = "`make demo` installs what is missing, or `uv pip install -r requirements.txt`"

CHECKS: Mapping[str, Callable[[], Finding]] = {
    "Python": python,
    "torch": torch,
    "decoders": decoders,
    "settings": settings,
    "raw data": raw,
    "disk": disk,
    "push": hooks,
    "DVC": dvc,
    "MLflow": mlflow,
    "models": models,
}


def _wrapped(start: str, text: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_on_hyphens=False,
        break_long_words=False,
    )


def _settings() -> Settings:
    """Return the settings for a check of something else, which need not say what is wrong."""
    try:
        return files.read_settings()
    except QvpipeError as error:
        raise QvpipeError("mend the settings first") from error


def _is_installed(need: Requirement) -> bool:
    try:
        return need.specifier.contains(importlib.metadata.version(need.name), prereleases=True)
    except importlib.metadata.PackageNotFoundError:
        return False


def _versions(model: str) -> "list[ModelVersion]":
    # A person waits; by default MLflow tries for minutes. It reads this at each request.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    try:
        return stored.registered_versions(model)
    except Exception as error:  # a database and a server raise their own
        raise QvpipeError(
            f"{_place()} does not answer ({type(error).__name__}); start the server, or set "
            "MLFLOW_TRACKING_URI to one that runs"
        ) from error


def _place() -> str:
    """Return where MLflow is, without a password."""
    return re.sub(r"//[^/@]*@", "//", tracking.tracking_uri())


def _answers(repo: "Repo", name: str) -> bool:
    remote = repo.cloud.get_remote(name)
    try:
        remote.fs.ls(remote.path)
    except Exception:  # every kind of remote raises its own
        return False
    return True
