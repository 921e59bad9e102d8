import numpy as np
import torch

from qvpipe.config import TrainSettings
from qvpipe.learning.augment import Choices, augment, draw, flip, mix, rearrange, turn

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


def looks(angle: float, width: float) -> torch.Tensor:
    sine, cosine = np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))
    rows = [[width * cosine, -width * sine, 0], [width * sine, width * cosine, 0]]
    return torch.tensor([rows], dtype=torch.float32)


def test_a_quarter_turn_moves_every_pixel_of_every_view() -> None:
    pictures = torch.randint(0, 256, (1, 2, 3, 5, 5), dtype=torch.uint8)
    turned = turn(pictures, looks(angle=90, width=1))
    torch.testing.assert_close(turned, pictures.rot90(1, (-2, -1)).float(), atol=1e-3, rtol=0)


def test_zoomed_out_a_picture_is_half_as_large_in_black() -> None:
    pictures = torch.arange(16, dtype=torch.uint8).view(1, 1, 1, 4, 4).expand(1, 1, 3, 4, 4)
    small = turn(pictures, looks(angle=0, width=2))
    # Each pixel of the half lies between four of the whole: (0 + 1 + 4 + 5) / 4 for the first.
    half = torch.tensor([[2.5, 4.5], [10.5, 12.5]])
    expected = torch.nn.functional.pad(half, (1, 1, 1, 1)).expand(1, 1, 3, 4, 4)
    torch.testing.assert_close(small, expected)


def test_zoomed_in_the_middle_fills_the_picture() -> None:
    pictures = torch.zeros(1, 1, 3, 4, 4, dtype=torch.uint8)
    pictures[..., 1:3, 1:3] = 200
    # The outermost pixels look at 0.25 of a pixel beyond the middle's outermost ones.
    large = turn(pictures, looks(angle=0, width=0.5))[0, 0, 0]
    edge = torch.tensor([150.0, 200.0, 200.0, 150.0])
    torch.testing.assert_close(large, edge.outer(edge) / 200)


def test_turns_and_zooms_are_drawn_between_their_limits() -> None:
    drawn_looks = drawn(rotate=45, zoom_in=0.2, zoom_out=0.5).looks
    assert drawn_looks is not None
    width = drawn_looks[:, :, 0].norm(dim=1)
    angle = torch.rad2deg(torch.atan2(drawn_looks[:, 1, 0], drawn_looks[:, 0, 0]))
    for values, low, high in ((width, 0.8, 1.5), (angle, -45, 45)):
        margin = (high - low) / 20
        assert low - 1e-4 <= float(values.min()) < low + margin
        assert high - margin < float(values.max()) <= high + 1e-4
    torch.testing.assert_close(drawn_looks[:, 0, 0], drawn_looks[:, 1, 1])
    assert not drawn_looks[:, :, 2].any()


def test_nothing_is_turned_by_default_and_other_chances_stay_the_same() -> None:
    assert drawn().looks is None
    plain, turned = drawn(mixup=0.4), drawn(mixup=0.4, rotate=45)
    assert turned.kept is not None
    assert plain.kept is not None
    assert torch.equal(plain.kept, turned.kept)
    assert torch.equal(plain.tiles, turned.tiles)


def test_a_batch_is_turned_as_drawn_for_its_items() -> None:
    pictures = torch.randint(0, 256, (3, 1, 3, 8, 8), dtype=torch.uint8)
    choices = drawn(items=9, grid=1, rotate=45, flip=0.0)
    chosen = choices.of(torch.tensor([2, 0, 5]))
    assert choices.looks is not None
    seen, _ = augment(pictures, torch.zeros(3, 2), chosen)
    assert torch.equal(seen, turn(pictures, choices.looks[[2, 0, 5]]))
