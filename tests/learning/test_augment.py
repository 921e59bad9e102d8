import numpy as np
import torch

from qvpipe.config import TrainSettings
from qvpipe.learning.augment import Choices, augment, draw, flip, mix, rearrange

CPU = torch.device("cpu")


def numbered(items: int, grid: int, tile: int) -> torch.Tensor:
    """Return super-images each tile of which is filled with its own number."""
    tiles = torch.arange(grid * grid, dtype=torch.uint8).view(grid, grid)
    picture = tiles.repeat_interleave(tile, 0).repeat_interleave(tile, 1)
    return picture.expand(items, 1, 3, grid * tile, grid * tile).clone()


def drawn(items: int = 400, grid: int = 3, **recipe: float) -> Choices:
    settings = TrainSettings(**recipe)  # type: ignore[arg-type]
    return draw(items, settings, grid, np.random.default_rng(0), CPU)


def test_flip_turns_all_or_no_views_of_an_item() -> None:
    pictures = torch.randint(0, 256, (4, 2, 3, 4, 5), dtype=torch.uint8)
    flipped = flip(pictures, torch.tensor([True, False, True, False]))
    assert torch.equal(flipped[::2], pictures[::2].flip(-1))
    assert torch.equal(flipped[1::2], pictures[1::2])


def test_a_share_of_the_items_is_flipped() -> None:
    assert 150 < int(drawn(flip=0.5).flipped.sum()) < 250
    assert not drawn(flip=0.0).flipped.any()
    assert drawn(flip=1.0).flipped.all()


def test_rearranged_tiles_stay_whole_and_come_to_their_places() -> None:
    order = torch.tensor([[3, 1, 2, 0], [0, 1, 2, 3]])
    moved = rearrange(numbered(items=2, grid=2, tile=4), order)
    corners = moved[:, 0, 0, ::4, ::4]
    assert torch.equal(corners.flatten(1), order.to(torch.uint8))
    assert torch.equal(corners.repeat_interleave(4, 1).repeat_interleave(4, 2), moved[:, 0, 0])


def test_a_share_of_the_tiles_of_a_share_of_the_items_changes_places() -> None:
    tiles = drawn(tile_shuffle=0.5, tile_share=0.34).tiles
    assert all(sorted(item) == list(range(9)) for item in tiles.tolist())
    moved = (tiles != torch.arange(9)).sum(dim=1)
    # Three chosen tiles stay where they are in one of six shuffles.
    assert 110 < int((moved > 0).sum()) < 220
    assert int(moved.max()) == 3
    assert int((drawn(tile_shuffle=1.0, tile_share=1.0).tiles != torch.arange(9)).sum(1).max()) == 9
    assert torch.equal(drawn(tile_shuffle=0.0).tiles[0], torch.arange(9))


def test_mixup_mixes_pictures_and_targets_alike() -> None:
    pictures = torch.tensor([0, 100, 200], dtype=torch.uint8).view(3, 1, 1, 1, 1)
    mixed = mix(pictures, torch.tensor([1.0, 0.5, 0.25]))
    assert mixed.flatten().tolist() == [0, 150, 50]
    choices = drawn(items=3, grid=1, mixup=0.4, flip=0.0)
    assert choices.kept is not None
    seen, wanted = augment(pictures, pictures.flatten(1), choices)
    assert torch.equal(seen.flatten(), wanted.flatten())
    assert drawn().kept is None
