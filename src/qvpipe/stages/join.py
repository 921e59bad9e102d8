"""Let labels without training join the ensemble: what it reads of a member, and the model."""

from qvpipe import files
from qvpipe.config import Settings
from qvpipe.errors import QvpipeError, run
from qvpipe.search.command import named_embedder
from qvpipe.search.embedder import load_clip


def join(settings: Settings, name: str) -> None:
    """Write the predictions of an embedder as those of a member, and its model beside them.

    It has learned from no video, so the same probabilities are those of every fold, and those of
    the test set.

    Raises:
        QvpipeError: If a video has no label of it.
    """
    scores = files.read_predictions(files.zeroshot_predictions(name))
    videos, tested = files.read_splits(), files.read_test()["video"]
    missing = {*videos["video"], *tested} - set(scores.index)
    if missing:
        raise QvpipeError(
            f"{min(missing)} and {len(missing) - 1} others have no labels by {name}; "
            "`dvc repro zeroshot` makes them"
        )
    for fold in settings.folds:
        judged = videos.loc[videos["fold"] == fold, "video"]
        files.write_table(files.fold_predictions(name, fold), scores.loc[judged].reset_index())
        if len(tested):
            files.write_table(files.fold_test(name, fold), scores.loc[tested].reset_index())
    source = settings.search.embedders[name]
    load_clip(source, settings.compute.device).save(files.untrained_model(name))
    print(f"join: {len(videos)} videos in, {len(videos)} out, by {name} ({source})")


def main() -> None:
    """Run the stage."""
    settings = files.read_settings()
    join(settings, named_embedder("join", __doc__, settings.ensemble.zeroshot))


if __name__ == "__main__":
    run(main)
