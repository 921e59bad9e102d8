import pytest
import torch

from qvpipe.errors import QvpipeError
from qvpipe.stages.train import saying_what_needs_less_memory


def test_a_gpu_that_is_too_small_is_said_with_what_helps() -> None:
    helps = "raise models.nfnet.train.accumulate, set its checkpointing to true, or compute.cache"
    with pytest.raises(QvpipeError, match=helps), saying_what_needs_less_memory("nfnet"):
        raise torch.OutOfMemoryError("CUDA out of memory")
