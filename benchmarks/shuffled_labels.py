"""Does the pipeline find what is not there? Trains on labels that were dealt out at random.

    python benchmarks/shuffled_labels.py [--seed 1]

Run it in the repository after `make demo`. In a temporary folder it deals the labels out anew
among the inspections, runs the pipeline with the same settings and prints the mAP of the ensemble
and of its members beside that of the true labels and beside chance. Nothing in the repository
changes.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from qvpipe import files
from qvpipe.config import Settings, as_tree


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=1, help="of the dealing; default: %(default)s")
    seed = parser.parse_args().seed
    true = files.read_json(files.METRICS / "ensemble.json")
    with tempfile.TemporaryDirectory() as folder:
        dealt = _run(files.read_settings(), Path(folder), seed)
    print(f"{'mAP':12}{'true labels':>12}{'dealt labels':>14}{'chance':>9}")
    for name in (*true["members"], "ensemble"):
        values = [t["members"][name] if name != "ensemble" else t for t in (true, dealt)]
        print(f"{name:12}{values[0]['map']:12.3f}{values[1]['map']:14.3f}{dealt['chance']:9.3f}")


def _run(settings: Settings, folder: Path, seed: int) -> dict[str, Any]:
    """Run the pipeline on dealt labels in a folder and return metrics/ensemble.json."""
    for name in ("dvc.yaml", "src"):
        (folder / name).symlink_to(Path(name).resolve())
    labels = folder / "labels.json"
    labels.write_text(json.dumps(_deal(settings, seed)), encoding="utf-8")
    tree = as_tree(settings)
    tree["data"]["videos"] = str(files.raw(settings.data.videos).resolve())
    tree["data"]["labels"] = str(labels)
    (folder / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    # The frames are the same; copied, they need not be decoded again.
    shutil.copytree(files.FRAMES, folder / files.FRAMES)
    hidden = {"MLFLOW_TRACKING_URI", "DVC_ROOT"}
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    for command in (["dvc", "init", "--no-scm", "--quiet"], ["dvc", "repro"]):
        subprocess.run(command, cwd=folder, env=environment, check=True)
    result: dict[str, Any] = files.read_json(folder / files.METRICS / "ensemble.json")
    return result


def _deal(settings: Settings, seed: int) -> dict[str, list[int]]:
    """Deal the labels of whole inspections out to others; clips of one keep theirs in common."""
    index = files.read_table(files.INDEX)
    usable = index[index["status"] == "ok"]
    groups = usable.groupby("group")["labels"].first()
    shuffled = groups.to_list()
    random.Random(seed).shuffle(shuffled)
    dealt = dict(zip(groups.index, shuffled, strict=True))
    return {
        file: [int(label) for label in dealt[group].split()]
        for file, group in zip(usable["file"], usable["group"], strict=True)
    }


if __name__ == "__main__":
    main()
