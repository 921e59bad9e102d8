"""What people type: `qvpipe COMMAND`."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qvpipe import files
from qvpipe.config import QVPIPE_MEANINGS
from qvpipe.errors import QvpipeError, run

if TYPE_CHECKING:
    from qvpipe.inference.predictor import Predictor

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
    path = files.METRICS / "ensemble.json"
    if not path.exists():
        raise QvpipeError("there are no results yet; `dvc repro` makes them")
    result = files.read_json(path)
    table = files.read_table(files.PER_CLASS)
    positives = dict(zip(table["class"], table["positives"], strict=True))
    print(results_text(result, positives))
    if arguments.next:
        print(NEXT_COMMANDS)


def predict(arguments: argparse.Namespace) -> int:
    """Predict videos and write a table."""
    from tqdm import tqdm

    from qvpipe import tracking
    from qvpipe.video.find import find_videos

    videos = [str(video) for path in arguments.paths for video in find_videos(path)]
    model = tracking.load_model(arguments.model)
    predictor: Predictor = model.unwrap_python_model().predictor
    with tqdm(total=len(videos), desc="predict", unit="video") as bar:
        table = predictor.predict(videos, bar.update)
    files.write_table(arguments.out, table)
    print(predictions_text(table, predictor.classes))
    failed = int((table["status"] == "failed").sum())
    print(f"predict: {len(videos)} videos in, {failed} failed; the table is {arguments.out}")
    return PARTLY_FAILED if failed else 0


def compare(arguments: argparse.Namespace) -> None:
    """Print experiments side by side, and draw them if a picture is wanted."""
    from qvpipe import compare, plots

    if len(arguments.experiments) < 2:
        raise QvpipeError("name two experiments or more; `workspace` is what lies here")
    found = compare.compare([compare.read(name) for name in arguments.experiments])
    print(compare.text(found))
    if arguments.out:
        plots.comparison(found.maps, found.per_class).savefig(arguments.out, dpi=120)
        print(f"compare: the picture is {arguments.out}")


def promote(arguments: argparse.Namespace) -> None:
    """Make a version of the registered model the champion."""
    from qvpipe import tracking

    before = tracking.promote(arguments.model, arguments.version, arguments.reason)
    instead = f", in place of version {before}" if before else ""
    print(f"promote: version {arguments.version} is the champion{instead}")


def export(arguments: argparse.Namespace) -> None:
    """Write a registered model to a folder."""
    from qvpipe import tracking

    tracking.export(arguments.model, arguments.folder)
    print(f"export: mlflow.pyfunc.load_model('{arguments.folder}') loads it, anywhere and offline")


def results_text(result: Mapping[str, Any], positives: Mapping[str, int]) -> str:
    """Return metrics/ensemble.json as text for people.

    Args:
        result: metrics/ensemble.json.
        positives: Number of positive videos of each class.
    """
    lines = [
        f"{result['videos']} videos, each judged by models that did not see its inspection",
        "",
        f"{'':28}{'mAP':>7}{'defects':>9}{'weight':>8}{'mean ± SD over folds':>23}",
    ]
    for name, judged in result["members"].items():
        lines.append(_result_line(name, judged, f"{judged['weight']:.2f}"))
    lines.append(_result_line("ensemble", result, ""))
    lines += [f"{'chance':28}{result['chance']:7.3f}", "", f"{'class':36}{'AP':>7}{'videos':>8}"]
    for name, precision in result["per_class"].items():
        shown = "-" if precision is None else f"{precision:.3f}"
        title = f"{name}  {QVPIPE_MEANINGS.get(name, '')}"
        lines.append(f"{title:36}{shown:>7}{positives[name]:8}")
    return "\n".join(lines)


def predictions_text(table: Any, classes: Sequence[str], most: int = 20) -> str:  # noqa: ANN401
    """Return a line for each of the first videos: its most probable classes, or why it failed.

    Args:
        table: What `Predictor.predict` returns.
        classes: The columns that hold probabilities.
        most: How many videos are shown.
    """
    lines = []
    for row in table.head(most).to_dict("records"):
        best = sorted(classes, key=lambda name: -row[name])[:3]
        shown = "  ".join(f"{name} {row[name]:.2f}" for name in best)
        lines.append(f"{Path(row['video']).name:28} {row['error'] or shown}")
    if len(table) > most:
        lines.append(f"... and {len(table) - most} more")
    return "\n".join(lines)


NEXT_COMMANDS = """
Next, with `source .venv/bin/activate`:
  mlflow ui --backend-store-uri sqlite:///mlflow.db     runs, curves and the registered model
  dvc exp run -S loss=asl                               another loss
  dvc exp show --only-changed --drop '/|[.]'            experiments side by side
  qvpipe compare models:/qvpipe/1 workspace             is the last one better, and how surely
  qvpipe predict data/raw/track1_raw_video              the champion on videos
"""


def _result_line(name: str, judged: Mapping[str, Any], weight: str) -> str:
    over_folds = judged["mean_over_folds"]
    spread = f"{over_folds['map']:.3f} ± {over_folds['map_sd']:.3f}"
    return f"{name:28}{judged['map']:7.3f}{judged['map_defects']:9.3f}{weight:>8}{spread:>23}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qvpipe",
        description="From videos of pipes to a registered ensemble that recognises their defects.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo-data", help="render the demo videos")
    demo.add_argument("--out", type=Path, default=Path("data/raw"), help="default: %(default)s")
    demo.add_argument("--videos", type=int, default=150, help="default: %(default)s")
    demo.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    demo.add_argument("--workers", type=int, help="processes; default: one for each core")
    demo.set_defaults(command=demo_data)

    show = commands.add_parser("results", help="print the ensemble's metrics")
    show.add_argument("--next", action="store_true", help="print what to try next as well")
    show.set_defaults(command=results)

    foretell = commands.add_parser("predict", help="predict videos with the registered model")
    foretell.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="video or folder")
    foretell.add_argument("--model", default="models:/qvpipe@champion", help="default: %(default)s")
    foretell.add_argument(
        "--out", type=Path, default=Path("predictions.csv"), help="default: %(default)s"
    )
    foretell.set_defaults(command=predict)

    beside = commands.add_parser("compare", help="put experiments side by side")
    beside.add_argument(
        "experiments",
        nargs="+",
        metavar="EXP",
        help="a DVC experiment or git revision, a registered version (models:/qvpipe/1), the id of "
        "an MLflow run, or `workspace`; the others are measured against the first",
    )
    beside.add_argument("--out", type=Path, metavar="PNG", help="a picture of the same")
    beside.set_defaults(command=compare)

    raise_ = commands.add_parser("promote", help="make a version of the model the champion")
    raise_.add_argument("version", metavar="VERSION")
    raise_.add_argument("--reason", required=True, help="is recorded with the version")
    raise_.add_argument("--model", default="qvpipe", help="default: %(default)s")
    raise_.set_defaults(command=promote)

    take = commands.add_parser("export", help="write a registered model to a folder")
    take.add_argument("model", metavar="MODEL", help="models:/qvpipe@champion, for instance")
    take.add_argument("folder", type=Path, metavar="DIR", help="new or empty")
    take.set_defaults(command=export)
    return parser


if __name__ == "__main__":
    main()
