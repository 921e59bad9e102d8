import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from qvpipe.config import AslSettings, BceSettings, CbFocalSettings, CeSettings
from qvpipe.learning.losses import Loss, asl, bce, cb_focal, ce


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = 4 * torch.randn(16, 5, generator=generator)
    return logits, (torch.rand(16, 5, generator=generator) < 0.3).float()


def test_asl_without_its_asymmetry_is_binary_cross_entropy(batch: tuple[Tensor, Tensor]) -> None:
    plain = asl(AslSettings(gamma_neg=0, gamma_pos=0, clip=0))
    torch.testing.assert_close(plain(*batch), bce(BceSettings())(*batch))


def test_asl_with_equal_exponents_is_focal(batch: tuple[Tensor, Tensor]) -> None:
    """Of torchvision, and of the class-balanced focal loss where all classes weigh the same."""
    symmetric = asl(AslSettings(gamma_neg=2, gamma_pos=2, clip=0))
    theirs = sigmoid_focal_loss(*batch, alpha=-1, gamma=2, reduction="mean")
    torch.testing.assert_close(symmetric(*batch), theirs)
    # One positive in every class gives every class the same weight, 1.
    focal = cb_focal(CbFocalSettings(beta=0.9, gamma=2), torch.ones(5))
    torch.testing.assert_close(symmetric(*batch), focal(*batch))


def test_cross_entropy_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    expected = (-math.log(math.exp(2) / (math.exp(2) + 2)) + math.log(3)) / 2
    assert ce(CeSettings())(logits, targets).item() == pytest.approx(expected)


def test_asl_by_hand() -> None:
    """Probabilities 0.8 (positive) and 0.3 (negative, shifted by 0.1 to 0.2)."""
    logits = torch.logit(torch.tensor([[0.8, 0.3]]))
    loss = asl(AslSettings(gamma_neg=2, gamma_pos=1, clip=0.1))
    expected = -(0.2 * math.log(0.8) + 0.2**2 * math.log(0.8)) / 2
    assert loss(logits, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(expected, rel=1e-5)


def test_asl_ignores_negatives_below_the_clip() -> None:
    logits = torch.logit(torch.tensor([[0.04]])).requires_grad_()
    asl(AslSettings(clip=0.05))(logits, torch.zeros(1, 1)).backward()
    assert logits.grad is not None
    assert logits.grad.item() == 0


def test_class_balanced_weights_by_hand() -> None:
    """With beta 0.5, classes of 1 and 2 positives weigh 1 and 2/3, scaled to a mean of 1."""
    loss = cb_focal(CbFocalSettings(beta=0.5, gamma=0), torch.tensor([1.0, 2.0]))
    common = math.log(2)
    rare_only = loss(torch.tensor([[0.0, 100.0]]), torch.tensor([[1.0, 1.0]]))
    frequent_only = loss(torch.tensor([[100.0, 0.0]]), torch.tensor([[1.0, 1.0]]))
    assert rare_only.item() == pytest.approx(1.2 * common / 2, rel=1e-5)
    assert frequent_only.item() == pytest.approx(0.8 * common / 2, rel=1e-5)


def test_a_class_without_positives_has_a_finite_weight(batch: tuple[Tensor, Tensor]) -> None:
    loss = cb_focal(CbFocalSettings(), torch.tensor([0.0, 1.0, 5.0, 20.0, 3.0]))
    assert math.isfinite(loss(*batch).item())


def test_label_smoothing_moves_targets_towards_one_half(batch: tuple[Tensor, Tensor]) -> None:
    logits, targets = batch
    expected = functional.binary_cross_entropy_with_logits(logits, 0.9 * targets + 0.05)
    torch.testing.assert_close(bce(BceSettings(label_smoothing=0.1))(logits, targets), expected)


@pytest.mark.parametrize(
    "loss",
    [
        bce(BceSettings()),
        asl(AslSettings(gamma_neg=0.5, gamma_pos=0.5, clip=0)),
        asl(AslSettings()),
        cb_focal(CbFocalSettings(gamma=0.5), torch.ones(2)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extreme_logits_give_finite_values_and_gradients(loss: Loss, dtype: torch.dtype) -> None:
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], dtype=dtype, requires_grad=True)
    value = loss(logits, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    value.backward()
    assert math.isfinite(value.item())
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    "loss",
    [bce(BceSettings()), asl(AslSettings()), cb_focal(CbFocalSettings(), torch.ones(5))],
)
def test_mixed_targets_cost_the_mixture_of_both(loss: Loss, batch: tuple[Tensor, Tensor]) -> None:
    logits, targets = batch
    mixed = loss(logits, 0.3 * targets + 0.7 * (1 - targets))
    apart = 0.3 * loss(logits, targets) + 0.7 * loss(logits, 1 - targets)
    torch.testing.assert_close(mixed, apart)


def test_the_mean_does_not_grow_with_the_batch(batch: tuple[Tensor, Tensor]) -> None:
    logits, targets = batch
    for loss in (
        bce(BceSettings()),
        asl(AslSettings()),
        cb_focal(CbFocalSettings(), torch.ones(5)),
    ):
        twice = loss(logits.repeat(2, 1), targets.repeat(2, 1))
        torch.testing.assert_close(twice, loss(logits, targets))
