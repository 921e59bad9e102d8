"""What people type: `qvpipe COMMAND`."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qvpipe import files
from qvpipe.config import QVPIPE_MEANINGS, ComputeSettings
from qvpipe.errors import QvpipeError, run

if TYPE_CHECKING:
    from qvpipe.inference.explain import Explanation, Seeing
    from qvpipe.inference.predictor import Prediction, Predictor
    from qvpipe.inference.search_tab import Searchers
    from qvpipe.search.page import Found
    from qvpipe.search.searcher import Searcher

CHAMPION = "models:/qvpipe@champion"

PARTLY_FAILED = 3
"""Exit code of a command that did its work, but not for every video."""


def main() -> None:
    """Run the command that was typed."""
    arguments = _parser().parse_args()
    run(lambda: arguments.command(arguments))


def demo_data(arguments: argparse.Namespace) -> None:
    """Render the demo videos."""
    from qvpipe.demo import render_demo

    render_demo(arguments.out, arguments.videos, arguments.seed, arguments.workers)


def results(arguments: argparse.Namespace) -> None:
    """Print the ensemble's metrics and what to try next."""
    from qvpipe.results.text import results_text

    path = files.METRICS / "ensemble.json"
    if not path.exists():
        raise QvpipeError("there are no results yet; `dvc repro` makes them")
    result = files.read_json(path)
    table = files.read_table(files.PER_CLASS)
    positives = dict(zip(table["class"], table["positives"], strict=True))
    print(results_text(result, positives, files.read_settings().data.normal))
    if arguments.next:
        print(NEXT_COMMANDS)


def predict(arguments: argparse.Namespace) -> int:
    """Predict videos and write them to a file."""
    from qvpipe import tracking
    from qvpipe.inference.batch import collect, predict_files
    from qvpipe.inference.tables import choose_writer

    choose_writer(arguments.out)
    videos = collect(arguments.videos, sys.stdin)
    model = tracking.load_model(arguments.model, arguments.device)
    predictor: Predictor = model.unwrap_python_model().predictor
    options = predictor.options(
        dict(arguments.threshold), arguments.tta, arguments.batch_size, arguments.members
    )
    compute = ComputeSettings(
        workers=arguments.workers,
        engine=arguments.engine,
        address=arguments.address,
        device=arguments.device,
    )
    predictions = predict_files(
        videos, predictor, options, str(model.metadata.model_uuid), arguments.out, compute
    )
    print(predictions_text(predictions))
    failed = sum(prediction.status == "failed" for prediction in predictions)
    print(f"predict: {len(videos)} videos in, {failed} failed; the result is {arguments.out}")
    return PARTLY_FAILED if failed else 0


def doctor(arguments: argparse.Namespace) -> int:
    """Say whether all is well here, or whether anything raw has left."""
    if arguments.licence is None:
        from qvpipe.doctor import health

        return health.report()
    from qvpipe.doctor import licence

    return licence.report(files.read_settings(), arguments.licence or licence.PLACES)


def compare(arguments: argparse.Namespace) -> None:
    """Print experiments side by side, and draw them if a picture is wanted."""
    from qvpipe.results import compare, plots

    if len(arguments.experiments) < 2:
        raise QvpipeError("name two experiments or more; `workspace` is what lies here")
    task = files.read_settings().task
    found = compare.compare([compare.read(name) for name in arguments.experiments], task)
    print(compare.text(found))
    if arguments.out:
        plots.comparison(found).savefig(arguments.out, dpi=120)
        print(f"compare: the picture is {arguments.out}")


def promote(arguments: argparse.Namespace) -> None:
    """Make a version of the registered model the champion."""
    from qvpipe import tracking

    if not arguments.reason.strip():
        raise QvpipeError("say with --reason why; it is recorded with the version")
    before = tracking.promote(arguments.model, arguments.version, arguments.reason)
    instead = f", in place of version {before}" if before not in (None, arguments.version) else ""
    print(f"promote: version {arguments.version} is the champion{instead}")


def export(arguments: argparse.Namespace) -> None:
    """Write a registered model to a folder."""
    from qvpipe import tracking

    tracking.export(arguments.model, arguments.folder)
    print(f"export: mlflow.pyfunc.load_model('{arguments.folder}') loads it, anywhere and offline")


def explain(arguments: argparse.Namespace) -> None:
    """Show when and where the classes of a video are seen."""
    from qvpipe import tracking
    from qvpipe.inference.explain import explain as explain_video
    from qvpipe.inference.intake import permitted
    from qvpipe.inference.pictures import write_explanation

    model = tracking.load_model(arguments.model, arguments.device)
    predictor: Predictor = model.unwrap_python_model().predictor
    predictor.check_classes(arguments.classes or ())
    video = permitted(arguments.video)
    explanation = explain_video(predictor, video, arguments.classes, arguments.moments)
    thresholds = predictor.thresholds
    path = write_explanation(
        explanation, arguments.out, predictor.classes, thresholds, QVPIPE_MEANINGS
    )
    print(explanation_text(explanation, thresholds))
    print(f"explain: the pictures and {path.name} are in {arguments.out}")


def explanation_text(explanation: "Explanation", thresholds: Mapping[str, float]) -> str:
    """Return a line for each explained class: how probable it is, and when it is seen best.

    Args:
        explanation: Of a video.
        thresholds: Of each class that hangs on one.
    """
    lines = []
    for seeing in explanation.seeings:
        name = f"{seeing.name}  {QVPIPE_MEANINGS.get(seeing.name, '')}"
        probability = explanation.prediction.probabilities[seeing.name]
        threshold = thresholds.get(seeing.name)
        limit = "" if threshold is None else f" (threshold {threshold:.2f})"
        lines.append(f"{name:36} {probability:.2f}{limit}  {_seen(seeing, explanation.timeless)}")
    return "\n".join(lines)


def _seen(seeing: "Seeing", timeless: bool) -> str:
    if not seeing.moments:
        return "nowhere in particular"
    if timeless:
        return "seen in the picture"
    return "seen at " + ", ".join(f"{moment.time_s:.1f} s" for moment in seeing.moments)


def report(arguments: argparse.Namespace) -> int:
    """Examine videos and write what was found as one HTML file."""
    from datetime import datetime

    from qvpipe import tracking
    from qvpipe.inference import report as reports
    from qvpipe.inference.batch import collect
    from qvpipe.inference.examine import examine_all
    from qvpipe.results.pictures import OF_CHOICES
    from qvpipe.video.labels import read_labels

    videos = collect(arguments.videos, sys.stdin)
    model = tracking.load_model(arguments.model, arguments.device)
    predictor: Predictor = model.unwrap_python_model().predictor
    classes = predictor.classes
    # Read before the long work, so that a mistake shows at once.
    names = reports.read_names(arguments.names, classes) if arguments.names else None
    labels = read_labels(arguments.labels, classes, videos) if arguments.labels else None
    compute = ComputeSettings(workers=arguments.workers, device=arguments.device)
    found = list(examine_all(predictor, videos, reports.moments_of_each(len(videos)), compute))
    page = reports.Report(
        videos=found,
        classes=classes,
        normal=predictor.rules["normal"],
        made=datetime.now().astimezone(),
        card=tracking.describe(arguments.model) | reports.model_facts(predictor),
        names=names or reports.class_names(classes),
        agreement=None
        if labels is None
        else reports.agreement(found, classes, labels, predictor.settings.task),
        validation=reports.picture_addresses(tracking.pictures(arguments.model, OF_CHOICES)),
    )
    with files.replacing(arguments.out) as temporary:
        temporary.write_text(reports.render(page), encoding="utf-8")
    failed = page.outcomes["failed"]
    print(f"report: {len(videos)} videos in, {failed} failed; the report is {arguments.out}")
    return PARTLY_FAILED if failed else 0


def app(arguments: argparse.Namespace) -> None:
    """Serve the page on which a video or an image is dropped."""
    from qvpipe import tracking
    from qvpipe.inference.app import Limits, Model, serve

    def load(address: str) -> Model:
        model = tracking.load_model(address, arguments.device)
        return Model(model.unwrap_python_model().predictor, tracking.describe(address))

    serve(
        tracking.choices(arguments.model),
        load,
        arguments.host,
        arguments.port,
        Limits(arguments.max_mb, arguments.max_minutes),
        _searchers(arguments.device),
    )


def _searchers(device: str) -> "Searchers":
    """Return what can search the frames that lie here; nothing outside a repository."""
    from qvpipe.search import searcher

    if not files.PARAMS.is_file():
        return {}
    settings = files.read_settings()
    return {
        name: partial(searcher.with_clip, settings, name, device)
        for name in searcher.embedded(settings)
    }


def search(arguments: argparse.Namespace) -> None:
    """Find frames by a text, by a picture, or by one text after another."""
    from qvpipe.search.page import Found
    from qvpipe.search.searcher import read_picture

    example = read_picture(arguments.like) if arguments.like else None
    searcher = _searcher(arguments)

    def show(query: str) -> None:
        hits = (
            searcher.by_text(query, arguments.k)
            if example is None
            else searcher.by_picture(example, arguments.k)
        )
        _show_found(Found(query, searcher.title, hits, example), arguments.out)

    if example is not None:
        show(arguments.like.name)
    elif arguments.text:
        show(arguments.text)
    else:
        while query := _asked():
            show(query)


def _asked() -> str:
    """Return what a person wants to see; an empty line or the end of the input is nothing."""
    try:
        return input("search: ").strip()
    except EOFError:
        return ""


def _show_found(found: "Found", out: Path) -> None:
    from qvpipe.search import page

    with files.replacing(out) as temporary:
        temporary.write_text(page.render(found), encoding="utf-8")
    print(page.text(found))
    print(f"search: by {found.by}; the frames are in {out}")


def _searcher(arguments: argparse.Namespace) -> "Searcher":
    """Return what is to search: an embedder of params.yaml, or a classifier by an example."""
    from qvpipe import tracking
    from qvpipe.search import searcher

    settings = files.read_settings()
    names = searcher.embedded(settings)
    model = arguments.model or ("" if names or not arguments.like else CHAMPION)
    if model:
        if not arguments.like:
            raise QvpipeError("a classifier knows no texts; name a picture with --like")
        loaded = tracking.load_model(model, arguments.device)
        predictor: Predictor = loaded.unwrap_python_model().predictor
        return searcher.with_classifier(settings, predictor, str(loaded.metadata.model_uuid))
    if not names:
        raise QvpipeError(
            "nothing is embedded yet that could be searched by a text; set search.embedders in "
            "params.yaml, such as {clip: openai/clip-vit-base-patch32}, and run `dvc repro embed`"
        )
    name = arguments.embedder or names[0]
    if name not in names:
        raise QvpipeError(f"nothing is embedded by {name!r}, only by {', '.join(names)}")
    return searcher.with_clip(settings, name, arguments.device)


def predictions_text(predictions: Sequence["Prediction"], most: int = 20) -> str:
    """Return a line for each of the first videos: its most probable classes, or why it failed.

    Args:
        predictions: Of the videos.
        most: How many videos are shown.
    """
    lines = []
    for prediction in predictions[:most]:
        best = sorted(prediction.probabilities.items(), key=lambda item: -item[1])[:3]
        shown = "  ".join(f"{name} {probability:.2f}" for name, probability in best)
        lines.append(f"{Path(prediction.video).name!s:28} {prediction.error or shown}")
    if len(predictions) > most:
        lines.append(f"... and {len(predictions) - most} more")
    return "\n".join(lines)


NEXT_COMMANDS = """
Next, with `source .venv/bin/activate`:
  mlflow ui --backend-store-uri sqlite:///mlflow.db     runs, curves and the registered model
  dvc exp run -S loss=asl                               another loss
  dvc exp show --only-changed --drop '/|[.]'            experiments side by side
  qvpipe compare models:/qvpipe/1 workspace             is the last one better, and how surely
  qvpipe predict data/raw/track1_raw_video              the champion on videos
"""


def _add_videos(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "videos", nargs="+", metavar="VIDEO", help="file, folder, pattern, or - for a list on stdin"
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        default=CHAMPION,
        help="a registered version or a folder with one; default: %(default)s",
    )
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps; default: %(default)s"
    )


def _add_workers(parser: argparse.ArgumentParser) -> None:
    _add_number(parser, "--workers", "processes that read; default: one for each core", 0, least=0)


def _add_number(
    parser: argparse.ArgumentParser, flag: str, purpose: str, default: int | None, least: int = 1
) -> None:
    """Add an option that is a whole number, `least` or more."""
    parser.add_argument(flag, type=_at_least(least), default=default, metavar="N", help=purpose)


def _threshold(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    try:
        return name, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not CLASS=P, such as CJ=0.4") from None


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if (value := int(text)) < least:
            raise argparse.ArgumentTypeError(f"{value} is too small; allowed is {least} or more")
        return value

    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qvpipe",
        description="From videos of pipes to a registered ensemble that recognises their defects.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, command: Callable[[argparse.Namespace], int | None], purpose: str
    ) -> argparse.ArgumentParser:
        sentence = f"{purpose[0].upper()}{purpose[1:]}."
        added = commands.add_parser(name, help=purpose, description=sentence)
        added.set_defaults(command=command)
        return added

    demo = add("demo-data", demo_data, "render the demo videos")
    demo.add_argument(
        "--out", type=Path, default=Path("data/raw"), help="folder; default: %(default)s"
    )
    _add_number(demo, "--videos", "default: %(default)s", 150)
    demo.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="another one renders other videos; default: %(default)s",
    )
    _add_number(demo, "--workers", "processes; default: one for each core", None)

    show = add("results", results, "print the ensemble's metrics")
    show.add_argument("--next", action="store_true", help="print what to try next as well")

    foretell = add("predict", predict, "predict videos with the registered model")
    _add_videos(foretell)
    foretell.add_argument(
        "--out",
        type=Path,
        default=Path("predictions.csv"),
        help=".csv, .json, .parquet, or test_result.json for the challenge; default: %(default)s",
    )
    _add_model(foretell)
    foretell.add_argument(
        "--threshold",
        action="append",
        default=[],
        type=_threshold,
        metavar="CLASS=P",
        help="probability from which on a class is a label, instead of the model's own",
    )
    foretell.add_argument(
        "--members", nargs="+", metavar="MEMBER", help="which are asked; default: all"
    )
    foretell.add_argument("--tta", action="store_true", help="look at mirrored pictures as well")
    _add_number(
        foretell,
        "--batch-size",
        "videos that go through the networks together; default: %(default)s",
        16,
    )
    _add_workers(foretell)
    foretell.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="what reads; default: local"
    )
    foretell.add_argument("--address", help="of a Ray cluster; default: Ray on this machine alone")

    tell = add("explain", explain, "show when and where a video's classes are seen")
    tell.add_argument("video", metavar="VIDEO", help="a file")
    tell.add_argument(
        "--out", type=Path, default=Path("explanations"), help="folder; default: %(default)s"
    )
    _add_model(tell)
    tell.add_argument(
        "--classes",
        nargs="+",
        metavar="CLASS",
        help="which are explained; default: those that are predicted",
    )
    _add_number(tell, "--moments", "of each class, at most; default: %(default)s", 3)

    sheet = add("report", report, "write what is found in videos as one HTML file")
    _add_videos(sheet)
    _add_model(sheet)
    sheet.add_argument(
        "--out", type=Path, default=Path("report.html"), help="file; default: %(default)s"
    )
    sheet.add_argument(
        "--labels",
        type=Path,
        help="to compare the results with: JSON, file name to class indices, CSV with the columns "
        "file and labels, or `folders` if each file lies in one that is called after its class",
    )
    sheet.add_argument(
        "--names", type=Path, help="CSV with the columns class and name: what classes are called"
    )
    _add_workers(sheet)

    find = add("search", search, "find frames by a text or by a picture")
    what = find.add_mutually_exclusive_group()
    what.add_argument(
        "text",
        nargs="?",
        metavar="TEXT",
        help="what is to be seen; none asks for one after another",
    )
    what.add_argument("--like", type=Path, metavar="FRAME", help="a picture to search by instead")
    _add_number(find, "-k", "frames; default: %(default)s", 5)
    find.add_argument(
        "--out", type=Path, default=Path("search.html"), help="file; default: %(default)s"
    )
    by = find.add_mutually_exclusive_group()
    by.add_argument("--embedder", help="of params.yaml; default: the first that has embedded")
    by.add_argument(
        "--model", help=f"a classifier to search with by --like; {CHAMPION} where nothing else can"
    )
    find.add_argument("--device", default="auto", help="default: %(default)s")

    page = add("app", app, "serve a page on which a video or an image is dropped")
    _add_model(page)
    page.add_argument("--host", default="127.0.0.1", help="default: %(default)s, this machine only")
    page.add_argument("--port", type=int, default=7860, metavar="N", help="default: %(default)s")
    _add_number(page, "--max-mb", "largest upload in megabytes; default: %(default)s", 500)
    page.add_argument(
        "--max-minutes",
        type=float,
        default=10,
        metavar="N",
        help="longest video; default: %(default)s",
    )

    beside = add("compare", compare, "put experiments side by side")
    beside.add_argument(
        "experiments",
        nargs="+",
        metavar="EXP",
        help="a DVC experiment or git revision, a registered version (models:/qvpipe/1), the id of "
        "an MLflow run, or `workspace`; the others are measured against the first",
    )
    beside.add_argument("--out", type=Path, metavar="PNG", help="a picture of the same")

    raise_ = add("promote", promote, "make a version of the model the champion")
    raise_.add_argument("version", metavar="VERSION", help="its number")
    raise_.add_argument("--reason", required=True, help="is recorded with the version")
    raise_.add_argument("--model", default="qvpipe", help="its name; default: %(default)s")

    take = add("export", export, "write a registered model to a folder")
    take.add_argument("model", metavar="MODEL", help="models:/qvpipe@champion, for instance")
    take.add_argument("folder", type=Path, metavar="DIR", help="new or empty")

    check = add("doctor", doctor, "say what is well here, and how to mend the rest")
    check.add_argument(
        "--licence",
        nargs="*",
        choices=("git", "dvc", "remotes", "mlflow"),
        help="look for raw videos and labels where they may not be; default: in all these places",
    )
    return parser


if __name__ == "__main__":
    main()
