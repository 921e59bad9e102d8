"""What would a configuration's trainings cost in hours of a GPU? By counting; needs no GPU.

    python benchmarks/cost.py [configs/qvpipe-winner.yaml] [--videos 6399] [--tflops 790]
        [--share 0.3]

Counts the floating-point operations of matrix products and convolutions (a multiplication and an
addition are two) in a forward pass of one item, on PyTorch's device `meta`, which computes nothing.
The backward pass is two of them, and one more where activations are computed again. To this comes
the validation of every epoch, of the weights and of their moving average. The hours follow from a
device's rate of multiplying matrices and the share of it that training reaches; both are assumed.
No epoch is taken off for early stopping.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from qvpipe.config import ModelSettings, Settings, parse
from qvpipe.learning.network import Network

WINNERS = Path(__file__).parents[1] / "configs" / "qvpipe-winner.yaml"
CLASSES = 17


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("config", type=Path, nargs="?", default=WINNERS, help="a params.yaml")
    parser.add_argument("--videos", type=int, default=6399, help="default: %(default)s")
    parser.add_argument("--tflops", type=float, default=790, help="of matrices, in TFLOP/s")
    parser.add_argument("--share", type=float, default=0.3, help="of it that training reaches")
    arguments = parser.parse_args()
    settings = parse(arguments.config.read_text(encoding="utf-8"))
    rate = arguments.tflops * arguments.share * 1e12
    print(
        f"{arguments.videos} videos, folds {settings.folds}; an estimate by counting, at "
        f"{arguments.share:.0%} of {arguments.tflops:g} TFLOP/s\n"
        f"{'':20}{'backbone':24}{'px':>6}{'epochs':>8}{'TFLOP an item':>15}{'hours':>8}"
    )
    hours = 0.0
    for member in settings.members:
        model = settings.models[member]
        forward = operations(model)
        one = total(settings, member, arguments.videos, forward) / rate / 3600
        hours += one
        print(
            f"{member:20}{model.backbone:24}{model.size:6}{settings.recipe(member).epochs:8}"
            f"{forward / 1e12:15.2f}{one:8.1f}",
            flush=True,
        )
    print(f"{'together':73}{hours:8.1f}")


def total(settings: Settings, member: str, videos: int, forward: float) -> float:
    """Return the operations of the trainings of a member, over all its folds and epochs.

    Args:
        settings: Of the pipeline.
        member: One of its members.
        videos: In the whole data set, of which a fold judges an equal part.
        forward: Operations of a forward pass of one item.
    """
    recipe = settings.recipe(member)
    held_out = videos / settings.splits.folds
    learned = (videos - held_out) * (4 if recipe.checkpointing else 3)
    judged = held_out * (2 if recipe.ema_decay else 1)
    return len(settings.folds) * recipe.epochs * (learned + judged) * forward


def operations(model: ModelSettings) -> float:
    """Return the floating-point operations of a forward pass of one item.

    Those of a backward pass are not counted, since PyTorch's counter takes the gradients of grouped
    convolutions for those of full ones.
    """
    views = model.frames if model.input == "frames" else 1
    pictures = torch.zeros(1, views, 3, model.size, model.size, dtype=torch.uint8, device="meta")
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        Network(replace(model, pretrained="none"), CLASSES, "none")(pictures)
    return float(counter.get_total_flops())


if __name__ == "__main__":
    main()
