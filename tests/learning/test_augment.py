import torch

from qvpipe.learning.augment import flip, shuffle_tiles


def numbered(items: int, grid: int, tile: int) -> torch.Tensor:
    """Return super-images each tile of which is filled with its own number."""
    tiles = torch.arange(grid * grid, dtype=torch.uint8).view(grid, grid)
    picture = tiles.repeat_interleave(tile, 0).repeat_interleave(tile, 1)
    return picture.expand(items, 1, 3, grid * tile, grid * tile).clone()


def test_flip_turns_all_or_no_views_of_an_item() -> None:
    torch.manual_seed(0)
    pictures = torch.randint(0, 256, (64, 2, 3, 4, 5), dtype=torch.uint8)
    flipped = flip(pictures, 0.5)
    turned = [bool((a == b.flip(-1)).all()) for a, b in zip(flipped, pictures, strict=True)]
    same = [bool((a == b).all()) for a, b in zip(flipped, pictures, strict=True)]
    assert all(a != b for a, b in zip(turned, same, strict=True))
    assert 16 < sum(turned) < 48
    assert torch.equal(flip(pictures, 0), pictures)
    assert torch.equal(flip(pictures, 1), pictures.flip(-1))


def test_shuffled_tiles_stay_whole_and_all_there() -> None:
    torch.manual_seed(0)
    pictures = numbered(items=32, grid=3, tile=4)
    shuffled = shuffle_tiles(pictures, 3, 1.0)
    corners = shuffled[:, 0, 0, ::4, ::4]
    assert torch.equal(corners.repeat_interleave(4, 1).repeat_interleave(4, 2), shuffled[:, 0, 0])
    assert all(sorted(item.flatten().tolist()) == list(range(9)) for item in corners)
    assert len({tuple(item.flatten().tolist()) for item in corners}) > 20


def test_a_share_of_the_items_is_shuffled() -> None:
    torch.manual_seed(0)
    pictures = numbered(items=200, grid=2, tile=2)
    changed = (shuffle_tiles(pictures, 2, 0.5) != pictures).flatten(1).any(dim=1)
    assert 60 < int(changed.sum()) < 130
    assert torch.equal(shuffle_tiles(pictures, 2, 0.0), pictures)
