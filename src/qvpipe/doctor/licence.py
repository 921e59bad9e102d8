"""Whether a raw video or the label file lies anywhere from where it could leave this machine.

Everything is judged by its content, whatever its name. See `contents.recognise` for what is not
looked into.
"""

import contextlib
import functools
import io
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from qvpipe import files, tracking
from qvpipe.config import DataSettings, Settings
from qvpipe.doctor.contents import Bytes, Raw, recognise
from qvpipe.errors import QvpipeError, one_line
from qvpipe.tracking import stored

if TYPE_CHECKING:
    from dvc.repo import Repo

PARALLEL = 16
"""Objects that are read at once."""

BLOCK = 2**20
"""Bytes of a remote's object that are fetched at once."""


ADVICE = """\
Nothing may be pushed before what is named above is gone: from git's history with `git rebase` or
`git filter-repo`, from DVC with `dvc remove` and `dvc gc --workspace --cloud`, from MLflow with
`mlflow gc`. What could not be looked into must be made reachable first."""


@dataclass(frozen=True)
class Item:
    """Something stored that is to be judged.

    Attributes:
        where: For a person who is to remove it.
        size: In bytes.
        open: Opens its content for reading and seeking.
    """

    where: str
    size: int
    open: Callable[[], AbstractContextManager[Bytes]]


@dataclass(frozen=True)
class Finding:
    """Something that may not lie where it lies."""

    where: str
    what: str


@dataclass(frozen=True)
class Looked:
    """What came of looking into one kind of place."""

    place: str
    items: int = 0
    findings: tuple[Finding, ...] = ()
    unseen: tuple[str, ...] = ()
    """What could not be looked into, with the reason."""


def report(settings: Settings, places: Iterable[str]) -> int:
    """Look into places and print what was found.

    Args:
        settings: Say where the raw videos and the label file lie.
        places: Any of `PLACES`.

    Returns:
        0 if nothing raw lies in any of them, 1 if something does or a place cannot be looked into.
    """
    raw = raw_files(settings.data)
    clean = True
    for place in places:
        looked = PLACES[place](settings, raw)
        clean = clean and not looked.findings and not looked.unseen
        print(f"{looked.place}: {looked.items} files, {len(looked.findings)} that may not be there")
        for finding in looked.findings:
            print(f"  {finding.where}: {finding.what}")
        for unseen in looked.unseen:
            print(f"  not looked into: {unseen}")
    if not clean:
        print(ADVICE)
    return 0 if clean else 1


def raw_files(data: DataSettings) -> Raw:
    """Return what must not leave, as far as it lies on this machine."""
    by_size = defaultdict(list)
    folder, labels = files.raw(data.videos), files.raw(data.labels)
    for path in (*folder.rglob("*"), labels):
        if path.is_file() and (size := path.stat().st_size):
            by_size[size].append(path)
    return Raw(by_size)


def look_into_git(settings: Settings, raw: Raw) -> Looked:
    """Look at every file that a branch, tag, stash or experiment leads to, or that is staged."""
    listed = _git("rev-list", "--objects", "--all", "--indexed-objects")
    paths = dict(line.partition(" ")[::2] for line in listed.splitlines())
    seen, findings = 0, list[Finding]()
    for blob, content in _blobs(paths):
        seen += 1
        if what := recognise(io.BytesIO(content), len(content), raw):
            findings.append(Finding(f"{paths[blob]} ({_commit(blob)})", what))
    return Looked("git's history", seen, tuple(findings))


def look_into_dvc(settings: Settings, raw: Raw) -> Looked:
    """Look at DVC's cache, and at the outputs that DVC is told to version."""
    with _dvc() as repo:
        cached = _cached(repo)
        items = [_item(place, path) for place, path in cached.items()]
        found = _judged(items, raw)
        names = _names(repo, cached) if found else {}
        outputs = _outputs_with_raw(repo, settings.data)
    owned = [Finding(_owned(f.where, names), f.what) for f in found]
    return Looked("DVC's outputs and cache", len(items), (*outputs, *owned))


def look_into_remotes(settings: Settings, raw: Raw) -> Looked:
    """Look at what lies in DVC's remotes; where the cache has the same object, at that one."""
    seen, findings, unseen = 0, list[Finding](), list[str]()
    with _dvc() as repo:
        cached = _cached(repo)
        for remote in repo.config["remote"]:
            try:
                items = _in_remote(repo, remote, cached)
                found = _judged(items, raw)
            except Exception as error:  # every kind of remote raises its own
                unseen.append(f"the remote {remote}: {one_line(error)}")
                continue
            seen += len(items)
            names = _names(repo, cached) if found else {}
            findings += [Finding(f"{remote}: {_owned(f.where, names)}", f.what) for f in found]
    return Looked("DVC's remotes", seen, tuple(findings), tuple(unseen))


def look_into_mlflow(settings: Settings, raw: Raw) -> Looked:
    """Look at the artifacts of all experiments, deleted ones included."""
    seen, findings, unseen = 0, list[Finding](), list[str]()
    try:
        for artifact in stored.artifacts():
            with artifact.fetched() as path, path.open("rb") as file:
                if what := recognise(file, path.stat().st_size, raw):
                    findings.append(Finding(artifact.uri, what))
            seen += 1
    except Exception as error:  # every kind of store raises its own
        unseen.append(f"the artifacts of {tracking.tracking_uri()}: {one_line(error)}")
    return Looked("MLflow's artifacts", seen, tuple(findings), tuple(unseen))


PLACES: Mapping[str, Callable[[Settings, Raw], Looked]] = {
    "git": look_into_git,
    "dvc": look_into_dvc,
    "remotes": look_into_remotes,
    "mlflow": look_into_mlflow,
}


def _judged(items: Iterable[Item], raw: Raw) -> list[Finding]:
    def judge(item: Item) -> Finding:
        with item.open() as file:
            return Finding(item.where, recognise(file, item.size, raw))

    with ThreadPoolExecutor(PARALLEL) as pool:
        return [finding for finding in pool.map(judge, items) if finding.what]


def _blobs(objects: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Give those of git's objects that are files, with their contents."""
    process = subprocess.Popen(
        ["git", "-C", str(files.repository()), "cat-file", "--batch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        requests, answers = cast("Bytes", process.stdin), cast("Bytes", process.stdout)
        for name in objects:
            requests.write(f"{name}\n".encode())
            requests.flush()
            facts = answers.readline().split()
            if len(facts) == 3:  # otherwise the object is missing, as in a partial clone
                content = answers.read(int(facts[2]) + 1)[:-1]
                if facts[1] == b"blob":
                    yield name, content
        requests.close()


def _commit(blob: str) -> str:
    """Say which commit brought a file."""
    found = _git("log", "--all", "-m", "--format=%h", f"--find-object={blob}").split()
    return f"commit {found[-1]}" if found else "staged"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(files.repository()), *arguments]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise QvpipeError(f"git's history cannot be read: {done.stderr.decode().strip()}")
    return done.stdout.decode(errors="replace")


@contextlib.contextmanager
def _dvc() -> Iterator["Repo"]:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(files.repository())) as repo:
            yield repo
    except DvcException as error:
        raise QvpipeError(f"DVC cannot be asked: {one_line(error)}") from error


def _cached(repo: "Repo") -> dict[str, Path]:
    """Return what lies in DVC's cache, by its place in there."""
    return _below(Path(repo.cache.local_cache_dir))


def _below(folder: Path) -> dict[str, Path]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in found}


def _in_remote(repo: "Repo", name: str, cached: Mapping[str, Path]) -> list[Item]:
    remote = repo.cloud.get_remote(name)
    if remote.fs.protocol == "local":
        folder = Path(remote.path)
        if not folder.is_dir():
            raise QvpipeError(f"there is no folder {folder}")
        return [_item(place, path) for place, path in _below(folder).items()]
    filesystem = remote.fs.fs
    items = []
    for path, facts in filesystem.find(remote.path, detail=True).items():
        place, size = path.removeprefix(remote.path).lstrip("/"), facts["size"]
        same = cached.get(place)
        if same and same.stat().st_size == size:
            items.append(_item(place, same))
        else:
            fetch = functools.partial(filesystem.open, path, block_size=BLOCK)
            items.append(Item(place, size, fetch))
    return items


def _item(where: str, path: Path) -> Item:
    return Item(where, path.stat().st_size, lambda: path.open("rb"))


def _outputs_with_raw(repo: "Repo", data: DataSettings) -> list[Finding]:
    """Return the outputs that hold the raw folder or the label file, or lie in the raw folder."""
    folder, labels = files.raw(data.videos).resolve(), files.raw(data.labels).resolve()
    findings = []
    for out in repo.index.outs:
        path = Path(out.fs_path).resolve()
        if path.is_relative_to(folder) or folder.is_relative_to(path):
            findings.append(
                Finding(f"the output {out} of {out.stage.addressing}", "the raw folder")
            )
        elif labels.is_relative_to(path):
            findings.append(
                Finding(f"the output {out} of {out.stage.addressing}", "the label file")
            )
    return findings


def _names(repo: "Repo", cached: Mapping[str, Path]) -> dict[str, str]:
    """Return the paths of cached objects in the working tree, by hash, as far as they are known."""
    names = {out.hash_info.value: str(out) for out in repo.index.outs if out.hash_info}
    for path in cached.values():
        if path.suffix == ".dir":
            folder = names.get(path.parent.name + path.name, "a folder")
            for entry in files.read_json(path):
                names.setdefault(entry["md5"], f"{folder}/{entry['relpath']}")
    return names


def _owned(place: str, names: Mapping[str, str]) -> str:
    """Return an object's place, with the path that DVC keeps there."""
    name = names.get("".join(place.split("/")[-2:]))
    return f"{place}, which is {name}" if name else place
