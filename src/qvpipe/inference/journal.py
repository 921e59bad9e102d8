"""The journal of a prediction that is under way, from which a killed one goes on."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from qvpipe.inference.predictor import Prediction


class Journal:
    """A file beside the result, one line of JSON for each video, that is gone when all is done.

    Its first line says what was asked of which model; predictions that answer something else are
    forgotten. Use it as a context manager.
    """

    def __init__(self, out: Path, asked: Mapping[str, Any]) -> None:
        """Read what is there.

        Args:
            out: The result that it stands beside.
            asked: Model and options, as JSON can hold them.
        """
        self._path = out.with_name(f"{out.name}.journal")
        self._head = json.dumps(asked, sort_keys=True)
        self._done = dict(self._read())

    def __enter__(self) -> "Journal":
        """Begin to write, what is known at first."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("w", encoding="utf-8")
        print(self._head, file=self._file)
        for key, prediction in self._done.items():
            self._append(key, prediction)
        self._file.flush()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file; remove it unless something went wrong."""
        self._file.close()
        if kind is None:
            self._path.unlink()

    def get(self, video: str) -> Prediction | None:
        """Return the prediction of a video, unless its file is another now."""
        return self._done.get(_key(video))

    def add(self, prediction: Prediction) -> None:
        """Write a prediction down at once."""
        self._done[_key(prediction.video)] = prediction
        self._append(_key(prediction.video), prediction)
        self._file.flush()

    def _append(self, key: str, prediction: Prediction) -> None:
        print(json.dumps([key, asdict(prediction)]), file=self._file)

    def _read(self) -> list[tuple[str, Prediction]]:
        try:
            head, *lines = self._path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            return []
        return [entry for line in lines if (entry := _entry(line))] if head == self._head else []


def _entry(line: str) -> tuple[str, Prediction] | None:
    """Return what a line holds; None for one that was cut off as it was written."""
    try:
        key, fields = json.loads(line)
        return key, Prediction(**{**fields, "labels": tuple(fields["labels"])})
    except (ValueError, TypeError, KeyError):
        return None


def _key(video: str) -> str:
    """Return what names a file and changes with it."""
    try:
        facts = Path(video).stat()
        state = [facts.st_size, facts.st_mtime_ns]
    except (OSError, ValueError):
        state = []
    return json.dumps([str(Path(video).absolute()), *state])
