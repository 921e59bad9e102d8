"""The registered model over a table of Spark, on a Spark of this machine."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import pandas as pd
import pytest

from tests.inference.conftest import CLASSES, Registered

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="module")
def spark() -> Iterator["SparkSession"]:
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, version 17 or newer, and there is none here")
    sql = pytest.importorskip("pyspark.sql")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        started = (
            sql.SparkSession.builder.master("local[2]")
            .config("spark.ui.enabled", "false")
            .getOrCreate()
        )
        yield started
        started.stop()


def test_a_table_of_paths_becomes_a_table_of_predictions(
    spark: "SparkSession", registered: Registered, videos: Path
) -> None:
    mlflow.set_tracking_uri(registered.uri)
    champion = "models:/qvpipe@champion"
    paths = [str(videos / name) for name in ("0.mp4", "1.mp4", "broken.mp4", "2.mp4")]
    table = spark.createDataFrame([(path,) for path in paths], ["video"]).repartition(2)
    predict = mlflow.pyfunc.spark_udf(spark, champion, env_manager="local")
    found = table.select(predict("video").alias("found")).select("found.*").toPandas()
    found = found.set_index("video").loc[paths].reset_index()
    expected = mlflow.pyfunc.load_model(champion).predict(paths)
    assert list(found.columns) == ["video", "status", "error", *CLASSES, "labels"]
    found["labels"] = found["labels"].map(list)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, atol=1e-5)
