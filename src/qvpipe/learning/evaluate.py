"""Networks in use: devices, precision, probabilities."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from qvpipe.errors import QvpipeError
from qvpipe.learning.tasks import Activation

Amp = Literal["auto", "bf16", "fp16", "none"]


def predict(
    network: nn.Module,
    pictures: Tensor,
    batch_size: int,
    device: torch.device,
    precision: torch.dtype = torch.float32,
    activate: Activation = torch.sigmoid,
) -> Tensor:
    """Return the probabilities of items, float32 `[items, classes]` on the CPU.

    Args:
        network: Takes pictures, gives logits; is set to evaluation.
        pictures: uint8 `[items, views, 3, height, width]`.
        batch_size: Items at once; changes no result.
        device: Where the network lies.
        precision: Of the arithmetic.
        activate: From logits to probabilities.
    """
    batches = pictures.split(batch_size)
    return predict_batches(network, batches, device, precision, activate).cpu()


@torch.inference_mode()
def predict_batches(
    network: nn.Module,
    batches: Iterable[Tensor],
    device: torch.device,
    precision: torch.dtype = torch.float32,
    activate: Activation = torch.sigmoid,
) -> Tensor:
    """Return the probabilities of the items of some batches, float32 on the device.

    Args:
        network: Takes pictures, gives logits; is set to evaluation.
        batches: uint8 `[items, views, 3, height, width]` each; at least one.
        device: Where the network lies.
        precision: Of the arithmetic.
        activate: From logits to probabilities.
    """
    network.eval()
    parts = []
    for pictures in batches:
        with mixed(device, precision):
            parts.append(activate(network(pictures.to(device)).float()))
    return torch.cat(parts)


def mixed(
    device: torch.device, precision: torch.dtype
) -> contextlib.AbstractContextManager[object]:
    """Let the block work in a half precision where that is safe; in float32 nothing changes."""
    if precision == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, precision)


@contextlib.contextmanager
def autotuned() -> Iterator[None]:
    """Let cuDNN try its convolutions on the shapes that it meets in the block, and keep the best.

    It pays where the same shapes come again and again, and changes nothing on a CPU.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def choose_device(name: str) -> torch.device:
    """Return the device of that name; `auto` is a GPU if there is one.

    Raises:
        QvpipeError: If there is no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        torch.zeros(1, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        raise QvpipeError(
            f"compute.device: there is no device {name!r} here; set it to auto or cpu"
        ) from error


def choose_precision(device: torch.device, amp: Amp) -> torch.dtype:
    """Return the precision of the arithmetic: as told, or the best half precision of a GPU."""
    if amp == "auto":
        if device.type != "cuda":
            return torch.float32
        # An older GPU imitates bfloat16, which is slower than float32.
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "none": torch.float32}[amp]
