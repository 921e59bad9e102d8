import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch.nn.functional import one_hot

from qvpipe.config import (
    AslSettings,
    BceSettings,
    CbFocalSettings,
    CeSettings,
    ModelSettings,
    TrainSettings,
)
from qvpipe.errors import QvpipeError
from qvpipe.learning.evaluate import choose_device, choose_precision, predict_batches
from qvpipe.learning.fit import Epoch, Fit, Work, batch_sizes, begin, fit, learn
from qvpipe.learning.items import Items
from qvpipe.learning.losses import Loss, asl, bce, cb_focal, ce
from qvpipe.learning.metrics import accuracy
from qvpipe.learning.network import Network

CPU = torch.device("cpu")
MODEL = ModelSettings(input="frames", size=32, backbone="test_resnet", pretrained="none")
RECIPE = TrainSettings(epochs=12, batch_size=8, lr=3e-3, patience=12, ema_decay=0.8)


def items(count: int, seed: int) -> Items:
    """Return noise whose brightness and colour tell the two classes."""
    generator = torch.Generator().manual_seed(seed)
    targets = (torch.rand(count, 2, generator=generator) < 0.5).float()
    pictures = torch.randint(0, 100, (count, 2, 3, 32, 32), generator=generator)
    pictures[:, :, 0] += (100 * targets[:, 0]).long().view(-1, 1, 1, 1)
    pictures[:, :, 1, :16] += (100 * targets[:, 1]).long().view(-1, 1, 1, 1)
    return Items(pictures.to(torch.uint8), targets)


def train(recipe: TrainSettings, train_items: Items, valid_items: Items, seed: int = 0) -> Fit:
    torch.manual_seed(seed)
    network = Network(MODEL, 2, "none")
    return fit(network, train_items, valid_items, bce(BceSettings()), recipe, CPU, seed=seed)


@pytest.mark.parametrize(
    ("loss", "optimizer"),
    [
        (bce(BceSettings(label_smoothing=0.1)), "adamw"),
        (asl(AslSettings()), "rmsprop"),
        (cb_focal(CbFocalSettings(), torch.ones(2, device="meta")), "adamw"),
        (ce(CeSettings()), "adamw"),
    ],
    ids=["bce", "asl", "cb_focal", "ce"],
)
def test_no_step_asks_the_device_for_a_value_or_leaves_it(
    loss: Loss, optimizer: Literal["adamw", "rmsprop"]
) -> None:
    """Tensors on `meta` have no values, and mix with those of no other device."""
    meta = torch.device("meta")
    recipe = replace(
        RECIPE, optimizer=optimizer, accumulate=2, clip_norm=1.0, mixup=0.4, rotate=10.0,
        tile_shuffle=1.0, ema_decay=0.0,
    )  # fmt: skip
    work = Work(items(13, 1).to(meta), items(8, 2).to(meta), loss, recipe, meta, grid=2)
    network = Network(MODEL, 2, "none").to(meta)
    progress = begin(network, work)
    steps: list[int] = []
    total, lr = learn(network, progress, work, 1, steps.append)
    assert total.is_meta
    assert steps == [8, 5]
    assert 0 < lr < recipe.lr


def test_of_a_single_choice_the_most_accurate_epoch_is_kept() -> None:
    learned, judged = (
        replace(part, targets=one_hot(part.targets[:, 0].long(), 2).float())
        for part in (items(24, 1), items(16, 2))
    )
    torch.manual_seed(0)
    network, slow = Network(MODEL, 2, "none"), replace(RECIPE, lr=3e-4)
    fitted = fit(network, learned, judged, ce(CeSettings()), slow, CPU, task="multiclass", seed=0)
    rows = [epoch.row() for epoch in fitted.curve]
    assert len({row["accuracy"] for row in rows}) > 2
    best = max(rows, key=lambda row: (row["accuracy"], row["map"]))
    assert fitted.best.number == best["number"]
    assert accuracy(judged.targets.numpy(), fitted.probabilities.numpy()) == best["accuracy"]


@pytest.fixture(scope="module")
def learned() -> Fit:
    return train(replace(RECIPE, epochs=8), items(64, 1), items(32, 2))


def test_it_learns_what_can_be_learned(learned: Fit) -> None:
    assert learned.best.map > 0.95
    assert learned.curve[-1].loss < learned.curve[0].loss / 2


def test_a_handful_of_pictures_is_learned_by_heart() -> None:
    """Noise with labels that nothing in it tells."""
    told = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(4, 1)
    noise = torch.randint(0, 256, (8, 2, 3, 32, 32), dtype=torch.uint8)
    by_heart = replace(RECIPE, epochs=25, patience=25, flip=0.0)
    part = Items(noise, told[torch.randperm(8)])
    fitted = train(by_heart, part, part)
    assert fitted.curve[-1].loss < 0.1
    assert fitted.curve[-1].map_raw == 1


def test_shuffled_labels_give_chance() -> None:
    told = items(64, 1)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(5))
    shuffled = Items(told.pictures, told.targets[order])
    fitted = train(replace(RECIPE, epochs=4, ema_decay=0.0), shuffled, items(200, 2))
    assert fitted.curve[-1].map == pytest.approx(0.5, abs=0.12)


def test_the_state_of_the_best_epoch_is_what_is_returned(learned: Fit) -> None:
    assert learned.best.map == max(epoch.map for epoch in learned.curve)
    network = Network(MODEL, 2, "none")
    network.load_state_dict(learned.state)
    again = predict_batches(network, items(32, 2).batches([torch.arange(32)], CPU), CPU)
    torch.testing.assert_close(again, learned.probabilities)


def test_weights_and_their_average_are_both_judged() -> None:
    fitted = train(replace(RECIPE, epochs=3), items(24, 1), items(32, 2))
    assert any(epoch.map_raw != epoch.map_ema for epoch in fitted.curve)
    assert all(epoch.map == max(epoch.map_raw, epoch.map_ema) for epoch in fitted.curve)
    plain = train(replace(RECIPE, epochs=2, ema_decay=0.0), items(24, 1), items(8, 2))
    assert all(epoch.map == epoch.map_raw == epoch.map_ema for epoch in plain.curve)


def test_the_parts_of_a_batch_add_up() -> None:
    """With a norm that does not mix items, which batch normalisation does."""
    states = []
    for accumulate in (1, 3):
        torch.manual_seed(0)
        network = Network(replace(MODEL, backbone="test_convnext"), 2, "none")
        recipe = replace(RECIPE, epochs=2, accumulate=accumulate, ema_decay=0.0, lr=1e-3)
        loss = bce(BceSettings())
        states.append(fit(network, items(20, 1), items(8, 2), loss, recipe, CPU).state)
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-3, atol=1e-4)


def test_the_gradient_is_clipped() -> None:
    """Behind a norm of nearly 0 hardly a weight moves, whatever the rate."""
    moved = []
    for clip_norm in (0.0, 1e-12):
        recipe = replace(RECIPE, epochs=1, clip_norm=clip_norm, weight_decay=0.0, ema_decay=0.0)
        torch.manual_seed(0)
        before = Network(MODEL, 2, "none").head[1].weight.detach().clone()  # type: ignore[index]
        after = train(recipe, items(16, 1), items(8, 2)).state["head.1.weight"]
        moved.append((after - before).abs().max().item())
    assert moved[1] < 0.01 * moved[0]


def test_it_learns_in_bfloat16() -> None:
    recipe = replace(RECIPE, epochs=3)
    fitted, plain = (
        train(replace(recipe, amp=amp), items(48, 1), items(32, 2)) for amp in ("bf16", "none")
    )
    assert fitted.best.map > 0.85
    assert fitted.curve[0].loss == pytest.approx(plain.curve[0].loss, rel=0.05)
    assert fitted.curve[0].loss != plain.curve[0].loss


def test_the_scaled_gradient_of_float16_is_clipped_as_it_is() -> None:
    """Clipping before unscaling would shrink every step of this training to nothing."""
    recipe = replace(RECIPE, epochs=1, amp="fp16", clip_norm=1e6)
    fitted = train(recipe, items(16, 1), items(8, 2))
    plain = train(replace(recipe, amp="none"), items(16, 1), items(8, 2))
    assert fitted.curve[0].loss == pytest.approx(plain.curve[0].loss, rel=0.05)


def test_batches_leave_no_process_without_items() -> None:
    assert batch_sizes(20, 8, least=2) == [8, 8, 4]
    assert batch_sizes(17, 8, least=2) == [8, 9]
    assert batch_sizes(19, 8, least=4) == [8, 11]
    assert batch_sizes(16, 8, least=2) == [8, 8]
    assert batch_sizes(3, 8, least=2) == [3]


def test_the_same_seed_gives_the_same_weights() -> None:
    recipe = replace(RECIPE, epochs=2)
    first, again, other = (train(recipe, items(24, 1), items(8, 2), seed) for seed in (0, 0, 1))
    assert all(torch.equal(first.state[name], again.state[name]) for name in first.state)
    assert any(not torch.equal(first.state[name], other.state[name]) for name in first.state)


@pytest.mark.parametrize(
    "recipe",
    [
        replace(RECIPE, epochs=2, schedule="cosine", amp="fp16"),
        replace(RECIPE, epochs=2, schedule="constant", optimizer="rmsprop", mixup=0.4),
    ],
    ids=lambda recipe: recipe.schedule,
)
def test_a_training_that_was_stopped_goes_on_with_all_its_state(
    recipe: TrainSettings, tmp_path: Path
) -> None:
    """Rates, moments and the scale of the loss; see test_processes.py for one that is killed."""

    def run(resume: Path | None, last: int) -> Fit:
        def stop(epoch: Epoch) -> None:
            if epoch.number == last:
                raise KeyboardInterrupt

        torch.manual_seed(0)
        network, loss = Network(MODEL, 2, "none"), bce(BceSettings())
        return fit(
            network, items(16, 1), items(8, 2), loss, recipe, CPU, resume=resume, on_epoch=stop
        )

    undisturbed = run(None, last=0)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "resume.pt", last=1)
    ended = run(tmp_path / "resume.pt", last=0)
    assert [epoch.loss for epoch in ended.curve] == [epoch.loss for epoch in undisturbed.curve]
    assert all(torch.equal(ended.state[k], value) for k, value in undisturbed.state.items())


def test_it_stops_when_nothing_gets_better() -> None:
    judged = items(32, 2)
    hopeless = Items(judged.pictures, torch.ones_like(judged.targets))
    fitted = train(replace(RECIPE, patience=3), items(16, 1), hopeless)
    assert [epoch.number for epoch in fitted.curve] == [1, 2, 3, 4]
    assert fitted.best.number == 1


def test_the_rate_rises_and_falls_and_every_epoch_is_told() -> None:
    told: list[Epoch] = []
    torch.manual_seed(0)
    network = Network(MODEL, 2, "none")
    recipe = replace(RECIPE, epochs=6)
    loss = bce(BceSettings())
    fitted = fit(network, items(64, 1), items(8, 2), loss, recipe, CPU, on_epoch=told.append)
    assert tuple(told) == fitted.curve
    rates = [epoch.lr for epoch in told]
    assert max(rates) < 1.01 * recipe.lr
    assert rates[0] > rates[-1]
    assert max(rates) > 0.9 * recipe.lr


def test_a_rate_that_is_too_high_is_said() -> None:
    with pytest.raises(QvpipeError, match=r"loss of epoch \d+ is not a number; lower train\.lr"):
        train(replace(RECIPE, lr=1e30), items(24, 1), items(8, 2))


def test_a_last_batch_of_one_is_not_left_alone() -> None:
    fitted = train(replace(RECIPE, epochs=1), items(17, 1), items(8, 2))
    assert math.isfinite(fitted.curve[0].loss)


def test_an_unknown_device_is_said() -> None:
    assert choose_device("cpu") == CPU
    with pytest.raises(QvpipeError, match=r"compute\.device: there is no device 'tpu'"):
        choose_device("tpu")


def test_a_gpu_that_only_imitates_bfloat16_takes_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation
    )
    assert choose_precision(gpu, "auto") == torch.float16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert choose_precision(gpu, "auto") == torch.bfloat16
    assert choose_precision(CPU, "auto") == torch.float32
