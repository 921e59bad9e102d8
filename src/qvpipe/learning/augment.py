"""Augmentation of whole batches, on the device that holds them.

Pictures are `[batch, views, 3, height, width]`. What happens to which item is drawn for a whole
epoch at once and on the CPU, so that it is the same on every device and with any number of
processes, and so that no step waits for it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from qvpipe.config import TrainSettings
from qvpipe.learning.metrics import Floats


@dataclass(frozen=True)
class Choices:
    """What happens to each item of an epoch.

    Attributes:
        flipped: Whether it is flipped, bool `[items]`.
        tiles: Which tile comes to each place, int64 `[items, tiles]`.
        looks: Where it is looked at, float32 `[items, 2, 3]`, as `turn` takes it; None if as it is.
        kept: Its share in what MixUp makes of it, float32 `[items]`; None without MixUp.
    """

    flipped: Tensor
    tiles: Tensor
    looks: Tensor | None
    kept: Tensor | None

    def of(self, positions: Tensor) -> "Choices":
        """Return the choices for some items."""
        looks = None if self.looks is None else self.looks[positions]
        kept = None if self.kept is None else self.kept[positions]
        return Choices(self.flipped[positions], self.tiles[positions], looks, kept)


def draw(
    items: int, recipe: TrainSettings, grid: int, random: np.random.Generator, device: torch.device
) -> Choices:
    """Draw what happens to the items of an epoch.

    Args:
        items: Number of items.
        recipe: Probabilities.
        grid: Tiles in a row and in a column; 1 if pictures have none.
        random: Where chance comes from.
        device: Where the choices are to lie.
    """
    flipped = random.random(items) < recipe.flip
    tiles = np.tile(np.arange(grid * grid), (items, 1))
    moved = round(recipe.tile_share * grid * grid)
    chosen = random.random((items, grid * grid)).argsort(axis=1)[:, :moved]
    shuffled = np.take_along_axis(chosen, random.random(chosen.shape).argsort(axis=1), axis=1)
    changed = random.random((items, 1)) < recipe.tile_shuffle
    np.put_along_axis(tiles, chosen, np.where(changed, shuffled, chosen), axis=1)
    kept = random.beta(recipe.mixup, recipe.mixup, items) if recipe.mixup else None
    turned = recipe.rotate or recipe.zoom_in or recipe.zoom_out
    looks = _draw_looks(items, recipe, random) if turned else None
    return Choices(
        torch.from_numpy(flipped).to(device),
        torch.from_numpy(tiles).to(device),
        None if looks is None else torch.from_numpy(looks).float().to(device),
        None if kept is None else torch.from_numpy(kept).float().to(device),
    )


def _draw_looks(items: int, recipe: TrainSettings, random: np.random.Generator) -> Floats:
    """Draw angles and widths of view for `turn`, evenly between their limits."""
    angles = np.deg2rad(random.uniform(-recipe.rotate, recipe.rotate, items))
    widths = random.uniform(1 - recipe.zoom_in, 1 + recipe.zoom_out, items)
    looks = np.zeros((items, 2, 3))
    looks[:, 0, 0] = looks[:, 1, 1] = widths * np.cos(angles)
    looks[:, 1, 0] = widths * np.sin(angles)
    looks[:, 0, 1] = -looks[:, 1, 0]
    return looks


def augment(pictures: Tensor, targets: Tensor, choices: Choices) -> tuple[Tensor, Tensor]:
    """Return the pictures and targets of a batch, changed as chosen for its items."""
    pictures = flip(pictures, choices.flipped)
    if choices.tiles.shape[1] > 1:
        pictures = rearrange(pictures, choices.tiles)
    if choices.looks is not None:
        pictures = turn(pictures, choices.looks)
    if choices.kept is None:
        return pictures, targets
    return mix(pictures, choices.kept), mix(targets, choices.kept)


def flip(pictures: Tensor, flipped: Tensor) -> Tensor:
    """Flip some items horizontally, all views of an item alike."""
    return torch.where(flipped.view(-1, 1, 1, 1, 1), pictures.flip(-1), pictures)


def rearrange(pictures: Tensor, tiles: Tensor) -> Tensor:
    """Let the tiles of super-images change places.

    Args:
        pictures: Super-images; height and width are multiples of the tiles in a row.
        tiles: Which tile comes to each place, row by row, `[batch, tiles]`.
    """
    batch, views, channels, height, width = pictures.shape
    grid = int(tiles.shape[1] ** 0.5)
    rows, columns = height // grid, width // grid
    cut = pictures.reshape(batch, views, channels, grid, rows, grid, columns)
    cut = cut.permute(0, 3, 5, 1, 2, 4, 6).flatten(1, 2)
    cut = cut[torch.arange(batch, device=pictures.device).unsqueeze(1), tiles]
    cut = cut.reshape(batch, grid, grid, views, channels, rows, columns)
    return cut.permute(0, 3, 4, 1, 5, 2, 6).reshape(pictures.shape)


def turn(pictures: Tensor, looks: Tensor) -> Tensor:
    """Turn and zoom pictures around their middles, all views of an item alike.

    Args:
        pictures: Square ones.
        looks: The affine map from a place in the new picture to one in the old, from -1 to 1 across
            and down, `[batch, 2, 3]`. What lies outside of the old picture is black.

    Returns:
        float32, of the shape of `pictures`, interpolated between the nearest four pixels.
    """
    stacked = pictures.flatten(1, 2).float()
    grid = functional.affine_grid(looks, list(stacked.shape), align_corners=False)
    seen = functional.grid_sample(stacked, grid, padding_mode="zeros", align_corners=False)
    return seen.reshape(pictures.shape)


def mix(values: Tensor, kept: Tensor) -> Tensor:
    """Mix each item of a batch with the next one (MixUp; Zhang et al., ICLR 2018).

    Args:
        values: Pictures or targets, `[batch, ...]`.
        kept: The share of the item itself, `[batch]`.

    Returns:
        float32, of the shape of `values`.
    """
    share = kept.view(-1, *[1] * (values.ndim - 1))
    return share * values.float() + (1 - share) * values.roll(-1, dims=0).float()
