"""Search as it is used: an embedder with the collection of what it has embedded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from qvpipe import files
from qvpipe.config import Settings
from qvpipe.errors import QvpipeError
from qvpipe.search import embeddings
from qvpipe.search.collection import Collection, Hit
from qvpipe.search.embedder import Backbone, Clip, Embedder, identity, load_clip
from qvpipe.video.images import Image
from qvpipe.video.stills import image_format, read_image

if TYPE_CHECKING:
    from qvpipe.inference.predictor import Predictor


@dataclass(frozen=True)
class Searcher:
    """What finds frames."""

    title: str
    """What people call it."""
    embedder: Embedder
    collection: Collection

    def by_text(self, text: str, count: int) -> list[Hit]:
        """Return the frames that are most like a text.

        Args:
            text: What is to be seen.
            count: How many frames are wanted.

        Raises:
            QvpipeError: If the embedder knows no texts.
        """
        if not isinstance(self.embedder, Clip):
            raise QvpipeError(f"{self.title} knows no texts; search by an example with --like")
        return self.collection.query(self.embedder.texts([text])[0], count)

    def by_picture(self, picture: Image, count: int) -> list[Hit]:
        """Return the frames that are most like a picture, uint8 `[height, width, 3]`.

        Args:
            picture: The example.
            count: How many frames are wanted.
        """
        return self.collection.query(self.embedder.images([picture])[0], count)


def embedded(settings: Settings) -> list[str]:
    """Return the embedders of params.yaml that have embedded anything."""
    return [name for name in settings.search.embedders if _any_file(files.embedded(name))]


def with_clip(settings: Settings, name: str, device: str = "auto") -> Searcher:
    """Return what searches with a CLIP model of params.yaml, its collection up to date.

    Args:
        settings: Of the pipeline.
        name: One of `embedded`.
        device: Where the model is to lie.

    Raises:
        QvpipeError: If nothing is embedded, or by another model than params.yaml says.
    """
    source, folder = settings.search.embedders[name], files.embedded(name)
    if (made_by := embeddings.read_embedder(_any_file(folder) or folder)) != identity(source):
        raise QvpipeError(
            f"{folder} holds the embeddings of {made_by or 'no model'}, and params.yaml names "
            f"{source}; `dvc repro embed` embeds the frames with it"
        )
    clip = load_clip(source, device, settings.search.batch_size)
    return Searcher(f"{name} ({source})", clip, _up_to_date(folder, name))


def with_classifier(settings: Settings, predictor: "Predictor", model: str) -> Searcher:
    """Return what searches with a classifier's own backbone, which needs no hub.

    Frames that it has not embedded yet are embedded first. The backbone is that of the member with
    the largest weight, as it was trained without the first fold.

    Args:
        settings: Of the pipeline.
        predictor: The classifier.
        model: What tells it from others; becomes a folder's name.

    Raises:
        QvpipeError: If there are no frames.
    """
    weights = predictor.rules["members"]
    member = max(predictor.networks, key=lambda name: float(weights[name]))
    how = predictor.settings.models[member]
    grid = predictor.settings.superimages.grid if how.input == "superimage" else 1
    batch_size = settings.search.batch_size
    backbone = Backbone(predictor.networks[member][0], how, grid, predictor.device, batch_size)
    folder = files.scratch() / "embedded" / model
    tasks = embeddings.plan(folder, settings.search.frames, f"{model} {member}")
    if not tasks:
        raise QvpipeError("no video has stored frames; `dvc repro frames` takes them")
    todo = embeddings.still_to_do(tasks, folder)
    with tqdm(total=len(todo), desc="embed", unit="video", disable=not todo) as bar:
        for _ in embeddings.embed(todo, backbone, batch_size):
            bar.update()
    return Searcher(f"the backbone of {member}", backbone, _up_to_date(folder, model))


def read_picture(path: Path) -> Image:
    """Read a picture, uint8 `[height, width, 3]`, upright.

    Raises:
        QvpipeError: If there is none, or it cannot be read.
    """
    if not path.is_file():
        raise QvpipeError(f"there is no file {path}; name a picture, such as frame.jpg")
    if not image_format(path):
        raise QvpipeError(f"{path} is no picture that can be read; name a JPEG or PNG")
    return read_image(path)


def _up_to_date(folder: Path, name: str) -> Collection:
    collection = Collection(files.scratch() / "search" / name)
    collection.update(folder, _labels())
    return collection


def _labels() -> dict[str, Sequence[str]]:
    """Return the names of the classes that each video shows."""
    index, classes = files.read_table(files.INDEX), files.read_classes()
    return {
        video: [classes[int(label)] for label in labels.split()]
        for video, labels in zip(index["video"], index["labels"], strict=True)
    }


def _any_file(folder: Path) -> Path | None:
    return next(iter(sorted(folder.glob(f"[!.]*{embeddings.ENDING}"))), None)
