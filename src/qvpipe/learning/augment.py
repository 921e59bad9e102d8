"""Augmentation of whole batches, on the device that holds them.

Pictures are `[batch, views, 3, height, width]`.
"""

import torch
from torch import Tensor


def flip(pictures: Tensor, probability: float) -> Tensor:
    """Flip some items horizontally, all views of an item alike."""
    chosen = torch.rand(len(pictures), device=pictures.device) < probability
    return torch.where(chosen.view(-1, 1, 1, 1, 1), pictures.flip(-1), pictures)


def shuffle_tiles(pictures: Tensor, grid: int, probability: float) -> Tensor:
    """Let the tiles of some items' super-images change places.

    Args:
        pictures: Super-images; height and width are multiples of `grid`.
        grid: Tiles in a row and in a column.
        probability: Of an item being shuffled.
    """
    batch, views, channels, height, width = pictures.shape
    rows, columns = height // grid, width // grid
    tiles = pictures.reshape(batch, views, channels, grid, rows, grid, columns)
    tiles = tiles.permute(0, 3, 5, 1, 2, 4, 6).flatten(1, 2)
    order = torch.rand(batch, grid * grid, device=pictures.device).argsort(dim=1)
    unchanged = torch.arange(grid * grid, device=pictures.device).expand_as(order)
    chosen = torch.rand(batch, 1, device=pictures.device) < probability
    order = torch.where(chosen, order, unchanged)
    tiles = tiles[torch.arange(batch, device=pictures.device).unsqueeze(1), order]
    tiles = tiles.reshape(batch, grid, grid, views, channels, rows, columns)
    tiles = tiles.permute(0, 3, 4, 1, 5, 2, 6)
    return tiles.reshape(pictures.shape)
