"""Label videos by the names of the classes alone, without training, and judge that."""

import argparse

import numpy as np
import pandas as pd

from qvpipe import files, tracking
from qvpipe.config import QVPIPE_MEANINGS, Settings
from qvpipe.errors import QvpipeError, run
from qvpipe.learning import metrics
from qvpipe.learning.targets import targets
from qvpipe.learning.tasks import decisions
from qvpipe.results import plots
from qvpipe.search import embeddings
from qvpipe.search.embedder import load_clip
from qvpipe.search.zeroshot import class_vectors, judge, probabilities, video_vector


def zeroshot(settings: Settings, name: str) -> None:
    """Compare the embeddings of videos with those of the names of the classes.

    Videos without a class can be neither right nor wrong and are left out.

    Raises:
        QvpipeError: If no embedded video has a class.
    """
    classes = files.read_classes()
    videos = _labelled(name)
    truth = targets(videos["labels"], len(classes))
    clip = load_clip(settings.search.embedders[name], settings.compute.device)
    names = [QVPIPE_MEANINGS.get(code, code) for code in classes]
    vectors = np.stack(
        [
            video_vector(embeddings.read(embeddings.file(files.embedded(name), video)).vectors)
            for video in videos["video"]
        ]
    )
    similarities = vectors @ class_vectors(clip, names, settings.search.zeroshot[name]).T
    scores = probabilities(similarities, clip.scale)
    result = {
        "videos": len(videos),
        **judge(similarities, truth),
        **metrics.summary(truth, scores, classes, settings.data.normal),
        **decisions(settings.task, truth, scores, classes),
    }
    folder = files.ZEROSHOT / name
    predictions = pd.DataFrame(scores, columns=classes)
    predictions.insert(0, "video", videos["video"].to_numpy())
    files.write_table(folder / "predictions.csv", predictions)
    right = truth == 1
    figure = plots.similarities(similarities[right], similarities[~right])
    figure.savefig(folder / "similarities.png", dpi=120)
    files.write_json(files.zeroshot_metrics(name), result)
    tracking.log_zeroshot(settings, name, result, folder)
    print(
        f"zeroshot: {len(videos)} videos in, {len(videos)} out; precision "
        f"{result['precision_at_1']:.3f} at 1 and {result['precision_at_3']:.3f} at 3; mean "
        f"similarity {result['similarity_right']:.3f} of right pairs and "
        f"{result['similarity_wrong']:.3f} of wrong ones"
    )


def _labelled(name: str) -> pd.DataFrame:
    """Return the rows of the index that are embedded and have a class."""
    index = files.read_table(files.INDEX)
    embedded = {path.stem for path in files.embedded(name).iterdir()}
    videos = index[index["video"].isin(embedded) & (index["labels"] != "")]
    if videos.empty:
        raise QvpipeError(
            f"no video of {files.INDEX} is embedded and has a class; zero-shot labels can only be "
            "judged where data.labels names classes"
        )
    return videos


def main() -> None:
    """Run the stage."""
    settings = files.read_settings()
    parser = argparse.ArgumentParser(prog="python -m qvpipe.stages.zeroshot", description=__doc__)
    parser.add_argument("embedder", choices=settings.search.zeroshot, help="of params.yaml")
    zeroshot(settings, parser.parse_args().embedder)


if __name__ == "__main__":
    run(main)
