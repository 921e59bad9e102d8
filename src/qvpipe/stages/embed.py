"""Embed the stored frames of every video that is new or has changed."""

from tqdm import tqdm

from qvpipe import files
from qvpipe.config import Settings
from qvpipe.errors import QvpipeError, run
from qvpipe.search import embeddings
from qvpipe.search.command import named_embedder
from qvpipe.search.embedder import identity, load_clip


def embed(settings: Settings, name: str) -> None:
    """Write `data/search/<name>/<video>.safetensors` for every video that has frames.

    A file that was made from the same frames by the same embedder stays. What belongs to no video
    goes. Each is written whole or not at all, so the stage can be stopped at any moment.
    """
    search, folder = settings.search, files.embedded(name)
    source = search.embedders[name]
    tasks = embeddings.plan(folder, search.frames, identity(source))
    if not tasks:
        raise QvpipeError("no video has stored frames; `dvc repro frames` takes them")
    todo = embeddings.still_to_do(tasks, folder)
    if todo:
        clip = load_clip(source, settings.compute.device, search.batch_size)
        with tqdm(total=len(todo), desc=f"embed {name}", unit="video") as bar:
            for _ in embeddings.embed(todo, clip, search.batch_size):
                bar.update()
    print(f"embed: {len(tasks)} videos in, {len(tasks)} out, {len(todo)} of them new")


def main() -> None:
    """Run the stage."""
    settings = files.read_settings()
    embed(settings, named_embedder("embed", __doc__, settings.search.embedders))


if __name__ == "__main__":
    run(main)
