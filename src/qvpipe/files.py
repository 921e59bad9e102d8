"""Where every file of the pipeline lies, and how tables and small files are read and written.

All paths are relative to the repository, which is where DVC runs every stage. Pandas is imported
where it is used, since every process that works on videos imports this.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qvpipe import config
from qvpipe.errors import QvpipeError

if TYPE_CHECKING:
    import pandas as pd

PARAMS = Path("params.yaml")
DATA = Path("data")
INDEX = Path("data/index.csv")
CLASSES = Path("data/classes.txt")
FRAMES = Path("data/frames")
FRAMES_TABLE = Path("data/frames.csv")
CLEAN = Path("data/clean.csv")
TWINS = Path("data/twins.csv")
SPLITS = Path("data/splits.csv")
SPLITS_PLOT = Path("data/splits.png")
DURATIONS_PLOT = Path("data/durations.png")
SPLITS_METRICS = Path("metrics/splits.json")
CLEAN_PLOT = Path("data/clean.png")
SUPERIMAGES = Path("data/superimages")
SEARCH = Path("data/search")
ZEROSHOT = Path("data/zeroshot")
PREDICTIONS = Path("data/predictions")
MODELS = Path("models")
ENSEMBLE = Path("models/ensemble")
METRICS = Path("metrics")
PER_CLASS = Path("metrics/per_class.csv")
PICTURES = Path("models/ensemble/pictures")
PER_CLASS_PLOT = PICTURES / "per_class_ap.png"
WEIGHTS = "model.safetensors"

TEXTS = frozenset(
    [
        "class",
        "video",
        "twin",
        "file",
        "group",
        "part",
        "labels",
        "codec",
        "content",
        "status",
        "error",
        "dropped",
        "phash",
        "note",
    ]
)
"""The columns of tables that hold text; all others hold numbers."""


def frames_zip(video: str) -> Path:
    """Return the file that holds the stored frames of a video."""
    return FRAMES / f"{video}.zip"


def superimage(video: str) -> Path:
    """Return the super-image of a video."""
    return SUPERIMAGES / f"{video}.jpg"


def embedded(name: str) -> Path:
    """Return the folder of the embeddings that an embedder has made, a file for each video."""
    return SEARCH / name


def zeroshot_predictions(name: str) -> Path:
    """Return the table of the probabilities that an embedder gives all videos without training."""
    return ZEROSHOT / name / "predictions.csv"


def untrained_model(name: str) -> Path:
    """Return the folder of a model of texts and pictures that is a member of the ensemble."""
    return MODELS / name / "model"


def zeroshot_metrics(name: str) -> Path:
    """Return the metrics of an embedder's labels without training."""
    return METRICS / "zeroshot" / f"{name}.json"


def scratch() -> Path:
    """Return the folder of what can be made again at any time and no stage has as an output."""
    return repository() / ".dvc" / "tmp" / "qvpipe"


def fold_model(member: str, fold: int) -> Path:
    """Return the folder of the model that did not see the fold."""
    return MODELS / member / f"fold{fold}"


def fold_predictions(member: str, fold: int) -> Path:
    """Return the table of a member's probabilities for the videos of a fold it did not see."""
    return PREDICTIONS / member / f"fold{fold}.csv"


def fold_test(member: str, fold: int) -> Path:
    """Return the table of a fold's probabilities for the test set, where there is one."""
    return fold_model(member, fold) / "test.csv"


def fold_metrics(member: str, fold: int) -> Path:
    """Return the metrics of a member on a fold it did not see."""
    return METRICS / member / f"fold{fold}.json"


def resume_file(member: str, fold: int, key: str) -> Path:
    """Return what a training that was killed goes on from; DVC removes outs, so it is none."""
    return scratch() / f"{member}-fold{fold}-{key}.pt"


def repository() -> Path:
    """Return the repository: DVC's, also for experiments that run in a temporary folder."""
    if root := os.environ.get("DVC_ROOT"):
        return Path(root)
    here = Path.cwd()
    return next((p for p in (here, *here.parents) if (p / ".dvc").is_dir()), here)


def raw(path: str) -> Path:
    """Return the place of raw data, which lies outside DVC and so in the repository alone."""
    return repository() / path


def read_settings() -> config.Settings:
    """Return the checked settings of params.yaml.

    Raises:
        SettingsError: If there is no params.yaml or anything in it is wrong.
    """
    try:
        return config.parse(PARAMS.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise config.SettingsError(
            "there is no params.yaml here; run the command in the folder that holds it"
        ) from None


def read_table(path: Path) -> "pd.DataFrame":
    """Read a CSV table; ids, labels and every other text stay text, empty cells stay empty.

    Raises:
        QvpipeError: If the file is not there.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise QvpipeError(f"{path} is missing; `dvc repro` makes it") from None
    numbers = {name: pd.to_numeric(table[name]) for name in table.columns if name not in TEXTS}
    return table.assign(**numbers)


def read_predictions(path: Path) -> "pd.DataFrame":
    """Read a table of probabilities: one row for each video (the index), one column a class."""
    import pandas as pd

    return pd.read_csv(path, dtype={"video": str}, index_col="video", keep_default_na=False)


def read_splits() -> "pd.DataFrame":
    """Return video, group, fold and labels of all videos that have a fold."""
    return read_table(SPLITS).merge(read_table(INDEX)[["video", "labels"]], on="video")


def read_test() -> "pd.DataFrame":
    """Return video and labels of all items of the test set that have frames."""
    index, framed = read_table(INDEX), read_table(CLEAN)["video"]
    tested = (index["part"] == "test") & (index["status"] == "ok") & index["video"].isin(framed)
    return index.loc[tested, ["video", "labels"]]


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """Write a CSV table whole or not at all."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def read_json(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Read a JSON file.

    Raises:
        QvpipeError: If the file is not there or holds no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise QvpipeError(f"{path} is missing") from None
    except ValueError as error:
        raise QvpipeError(f"{path} holds no valid JSON ({error}); write it anew") from None


def write_json(path: Path, content: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """Write a JSON file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_classes() -> list[str]:
    """Return the names of the classes in the order of their indices."""
    return CLASSES.read_text(encoding="utf-8").split("\n")[:-1]


def keep_only(folder: Path, wanted: Collection[Path]) -> None:
    """Remove everything from a folder but the files that are wanted.

    What else lies there belongs to no video, or a run that was stopped left it half-written.
    """
    with _says_what_to_do(folder):
        for path in list(folder.iterdir()) if folder.is_dir() else ():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path not in wanted:
                path.unlink()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` that takes its place if the block ends well.

    Raises:
        QvpipeError: If it cannot be written; whatever was there stays.
    """
    with _says_what_to_do(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _says_what_to_do(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise QvpipeError(
            f"{path} cannot be written ({error.strerror or error}); free the disk or make the "
            "folder writable, and run the same command again: what is finished is kept"
        ) from error
