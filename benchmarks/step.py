"""What does a step of training cost besides the network, once for all pictures of a batch?

    OMP_NUM_THREADS=2 python benchmarks/step.py [BACKBONE ...]

Prints milliseconds on a CPU, the mean of five after one that warms up, for AdamW as it is and in
one kernel, the clipping of the gradient's norm and the moving average. Needs PyTorch and timm.
"""

import sys
import time
from collections.abc import Callable
from functools import partial

import timm
import torch
from timm.utils.model_ema import ModelEmaV3
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW


def main() -> None:
    """Measure each backbone."""
    for name in sys.argv[1:] or ["resnet18", "convnext_base"]:
        model = timm.create_model(name, num_classes=17)
        weights = list(model.parameters())
        for weight in weights:
            weight.grad = torch.randn_like(weight)
        average = ModelEmaV3(model, decay=0.999)
        parts: dict[str, Callable[[], object]] = {
            "AdamW": AdamW(weights).step,
            "AdamW in one kernel": AdamW(weights, fused=True).step,
            "clipping": partial(clip_grad_norm_, weights, 1.0),
            "moving average": partial(average.update, model),
        }
        for part, work in parts.items():
            print(f"{name:16}{part:22}{_milliseconds(work):8.1f} ms", flush=True)


def _milliseconds(work: Callable[[], object], repeats: int = 5) -> float:
    work()
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    return 1000 * (time.perf_counter() - start) / repeats


if __name__ == "__main__":
    main()
