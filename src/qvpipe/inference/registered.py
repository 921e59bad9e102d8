"""The registered model: MLflow runs this file when it loads the model, so nothing is pickled."""

import base64
import binascii
import hashlib
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from qvpipe.errors import QvpipeError
from qvpipe.inference.intake import Seen, see, see_file
from qvpipe.inference.predictor import load
from qvpipe.inference.tables import as_table
from qvpipe.video.reader import VideoError

AHEAD = 8
"""Videos that are read ahead of the networks."""

DATA_URL = "data:"
"""How a text begins that holds a video's bytes in base 64 (RFC 2397), as JSON has no bytes."""


class RegisteredEnsemble(PythonModel):
    """Takes videos, gives a table."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the ensemble from the model's artifacts."""
        device = context.model_config.get("device", "auto")
        self.predictor = load(Path(context.artifacts["bundle"]), device)

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return a row for each video: `video`, `status`, `error`, the classes, `labels`.

        Args:
            context: Unused.
            model_input: In its first column: paths of videos, their bytes, or their bytes as the
                text `data:;base64,...`. MLflow makes it from a path or a list as well.
            params: See `Predictor.options`.
        """
        try:
            options = self.predictor.options(**(params or {}))
        except QvpipeError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        videos = model_input.iloc[:, 0].to_list()
        predictions = self.predictor.predict(self._seen(videos, options.members), options)
        return as_table(list(predictions), self.predictor.classes)

    def _seen(
        self, videos: Sequence[str | bytes], members: Sequence[str]
    ) -> Iterator[tuple[str, Seen]]:
        """Give each video's name with what is seen of it, a few read ahead by threads."""
        ahead: deque[Future[tuple[str, Seen]]] = deque()
        with ThreadPoolExecutor() as pool:
            for video in videos:
                ahead.append(pool.submit(self._see, video, members))
                if len(ahead) > AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def _see(self, video: str | bytes, members: Sequence[str]) -> tuple[str, Seen]:
        settings = self.predictor.settings
        if isinstance(video, str) and not video.startswith(DATA_URL):
            return video, see(video, settings, members)
        try:
            content = _from_data_url(video) if isinstance(video, str) else bytes(video)
        except binascii.Error:
            error = "the text after the comma is no base 64; encode it anew"
            return DATA_URL, VideoError(error)
        name = f"bytes {hashlib.sha256(content).hexdigest()[:16]}"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            return name, see_file(path, settings, members)


def _from_data_url(text: str) -> bytes:
    _, _, content = text.partition(",")
    return base64.b64decode(content, validate=True)


mlflow.models.set_model(RegisteredEnsemble())
