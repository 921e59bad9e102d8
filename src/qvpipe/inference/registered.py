"""The registered model: MLflow runs this file when it loads the model, so nothing is pickled."""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from qvpipe.inference.predictor import load


class RegisteredEnsemble(PythonModel):
    """Takes paths of videos, gives a table."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the ensemble from the model's artifacts."""
        self.predictor = load(Path(context.artifacts["bundle"]))

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return a row for each video, see `Predictor.predict`.

        Args:
            context: Unused.
            model_input: Paths of videos, in the column `video` or else in the first.
            params: Unused.
        """
        column = "video" if "video" in model_input else model_input.columns[0]
        return self.predictor.predict(model_input[column].to_list())


mlflow.models.set_model(RegisteredEnsemble())
