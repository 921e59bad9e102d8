"""Label videos by the names of the classes alone, without training, and judge that."""

import pandas as pd

from qvpipe import files, tracking
from qvpipe.config import Settings
from qvpipe.errors import QvpipeError, run
from qvpipe.learning.targets import targets
from qvpipe.learning.validation import judge
from qvpipe.results import plots
from qvpipe.search import embeddings
from qvpipe.search import zeroshot as labels
from qvpipe.search.command import named_embedder
from qvpipe.search.embedder import load_clip


def zeroshot(settings: Settings, name: str) -> None:
    """Compare the embeddings of videos with those of the names of the classes.

    Every embedded video is labelled. Those without a class can be neither right nor wrong, so they
    are not judged.

    Raises:
        QvpipeError: If no embedded video has a class.
    """
    classes, folder = files.read_classes(), files.embedded(name)
    videos = _embedded(name)
    clip = load_clip(settings.search.embedders[name], settings.compute.device)
    classifier = labels.zero_shot(clip, classes, settings.search.zeroshot[name])
    similarities = classifier.similarities(
        [embeddings.read(embeddings.file(folder, video)).vectors for video in videos["video"]]
    )
    scores = classifier.probabilities(similarities)

    shown = (videos["labels"] != "").to_numpy()
    truth = targets(videos["labels"], len(classes))[shown]
    right = truth == 1
    result = {
        "videos": len(truth),
        **labels.judge(similarities[shown], truth),
        **judge(settings.task, truth, scores[shown], classes, settings.data.normal),
    }
    predictions = pd.DataFrame(scores, columns=classes)
    predictions.insert(0, "video", videos["video"].to_numpy())
    files.write_table(files.zeroshot_predictions(name), predictions)
    figure = plots.similarities(similarities[shown][right], similarities[shown][~right])
    figure.savefig(files.ZEROSHOT / name / "similarities.png", dpi=120)
    files.write_json(files.zeroshot_metrics(name), result)
    tracking.log_zeroshot(settings, name, result, files.ZEROSHOT / name)
    print(
        f"zeroshot: {len(videos)} videos in, {len(videos)} out; precision "
        f"{result['precision_at_1']:.3f} at 1 and {result['precision_at_3']:.3f} at 3; mean "
        f"similarity {result['similarity_right']:.3f} of right pairs and "
        f"{result['similarity_wrong']:.3f} of wrong ones"
    )


def _embedded(name: str) -> pd.DataFrame:
    """Return the rows of the index that are embedded."""
    index = files.read_table(files.INDEX)
    embedded = {path.stem for path in files.embedded(name).iterdir()}
    videos = index[index["video"].isin(embedded)]
    if (videos["labels"] == "").all():
        raise QvpipeError(
            f"no video of {files.INDEX} is embedded and has a class; zero-shot labels can only be "
            "judged where data.labels names classes"
        )
    return videos


def main() -> None:
    """Run the stage."""
    settings = files.read_settings()
    zeroshot(settings, named_embedder("zeroshot", __doc__, settings.search.zeroshot))


if __name__ == "__main__":
    run(main)
