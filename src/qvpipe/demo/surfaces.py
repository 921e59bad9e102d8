"""Drawing of surfaces: the wall, crusts on it, deposits and water on its bottom."""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from qvpipe.demo.geometry import FAR, TEXELS, Camera, Hits, View, on_wall
from qvpipe.demo.look import Colour, Light
from qvpipe.demo.noise import Floats, Picture, floats, smoothstep

Box = tuple[slice, slice]
Numbers = NDArray[np.integer[Any] | np.floating[Any]]

_LEVEL_STARTS = (0.0, 2.4, 4.8)
_REPEAT = 256


@dataclass(frozen=True)
class Texture:
    """A wall picture at full, half and quarter size, so that far parts don't flicker."""

    levels: tuple[Picture, ...]

    @classmethod
    def of(cls, wall: Picture) -> "Texture":
        """Shrink a wall picture; its rows and columns are to be divisible by 4."""
        half = cv2.resize(wall, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        quarter = cv2.resize(half, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        # The first columns are repeated so that interpolation finds no seam at the top.
        padded = (cv2.hconcat([level, level[:, :2]]) for level in (wall, half, quarter))
        return cls(tuple(level.astype(np.uint8) for level in padded))


@dataclass(frozen=True)
class Lookup:
    """For each texture level where in the picture it's drawn and from where it's taken."""

    parts: tuple[tuple[int, Box, Numbers, Numbers, Picture], ...]

    @classmethod
    def of(cls, hits: Hits, *, reused: bool) -> "Lookup":
        """Prepare the drawing of a wall.

        Args:
            hits: Where the rays meet the wall.
            reused: Whether it'll be used often, so that a faster form is worth making.
        """
        parts = []
        for level, start in enumerate(_LEVEL_STARTS):
            far = hits.depth >= start
            if not far.any():
                continue
            box = (slice(None), slice(None)) if level == 0 else bounding_box(far)
            shrink = np.float32(0.5**level)
            column = hits.column[box] * shrink
            row = hits.depth[box] * (TEXELS * shrink)
            mask = far[box].astype(np.uint8)
            if reused:
                parts.append((level, box, *cv2.convertMaps(column, row, cv2.CV_16SC2), mask))
            else:
                parts.append((level, box, column, row, mask))
        return cls(tuple(parts))

    def draw(self, texture: Texture, z: float) -> Picture:
        """Draw the unlit wall as seen from z."""
        canvas: Picture | None = None
        for level, box, column, row, mask in self.parts:
            source = texture.levels[level][round(z * TEXELS) >> level :]
            piece = cv2.remap(
                source, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
            if canvas is None:
                canvas = piece.astype(np.uint8)
            else:
                cv2.copyTo(piece, mask, canvas[box])
        assert canvas is not None
        return canvas


@dataclass(frozen=True)
class Relief:
    """Material that stands out from the wall or lies on a level, drawn as a stack of sheets.

    Attributes:
        z: Where it starts, in radii.
        texture: Picture (length * TEXELS, columns, 4): colour in BGR and height from 0 to 255.
            On the wall it goes once around, on a level from x = -1 to 1.
        height: Height in radii that 255 stands for.
        layers: Number of sheets.
        level: Height y of the level it lies on (1 is the bottom), or None if it's on the wall.
    """

    z: float
    texture: Picture
    height: float
    layers: int
    level: float | None

    def points(self) -> Floats:
        """Points (n, 3) all over the places where there is noticeable material."""
        small = cv2.resize(self.texture[..., 3], (48, 24), interpolation=cv2.INTER_AREA)
        rows, cols = np.nonzero(small > 50)
        high = small[rows, cols] / np.float32(255) * np.float32(self.height)
        length = self.texture.shape[0] / TEXELS
        z = (self.z + (rows + 0.5) / 24 * length).astype(np.float32)
        share = ((cols + 0.5) / 48).astype(np.float32)
        if self.level is None:
            return on_wall(share * np.float32(2 * math.pi) - np.float32(math.pi / 2), z)
        x = share * 2 - 1
        y = np.minimum(np.sqrt(np.maximum(1 - x * x, 0)), self.level - high)
        seen = x * x + (self.level - high) ** 2 < 1.15
        return np.stack([x, y, z], axis=-1)[seen].astype(np.float32)

    def draw(self, canvas: Picture, lit: Picture, view: View, wall: Floats, z: float) -> None:
        """Draw it over a canvas.

        Args:
            canvas: Lit picture, changed in place.
            lit: Gain of the light for each pixel and channel, 128 standing for 1.
            view: The rays.
            wall: Depth of the wall for each pixel; changed to the depth of what lies on a level.
            z: Position of the camera.
        """
        box = box_around(view.camera, self.points(), z)
        if box is None:
            return
        for layer in range(self.layers):
            share = (layer + 0.35) / self.layers
            raised = self.height * share
            hits = view.tube(1 - raised) if self.level is None else view.plane(self.level - raised)
            row = (hits.depth[box] + np.float32(z - self.z)) * TEXELS
            piece = cv2.remap(
                self.texture,
                hits.column[box],
                row,
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=(0, 0, 0, 0),
            )
            height = cv2.extractChannel(piece, 3)
            cover = floats(cv2.LUT(height, _soft_threshold(max(255 * share, 14))))
            if self.level is not None:
                cover *= hits.depth[box] < wall[box]
                np.copyto(wall[box], hits.depth[box], where=cover > 0.5)
            blend(canvas, box, cv2.cvtColor(piece, cv2.COLOR_BGRA2BGR), cover, lit[box])


@dataclass(frozen=True)
class Water:
    """Standing or slowly running water.

    Attributes:
        level: Height y of its surface (1 is the bottom).
        tint: Colour (BGR).
        ripple: Noise (256, 256) from -1 to 1 that repeats without seams.
        roughness: How much the reflections waver, 0 to 1.
        speed: How fast the ripples run, radii per second.
    """

    level: float
    tint: Colour
    ripple: Floats
    roughness: float
    speed: float


@dataclass(frozen=True)
class WaterView:
    """A water surface as a camera sees it, all that doesn't change while the camera travels.

    All but the depth is at half size: water is soft, and it's four times as fast.

    Attributes:
        water: The water.
        box: Part of the picture that may show it.
        depth: Depth of the surface.
        row: The same in rows of the surface.
        column: Column on the surface.
        mirrored_column: Column of the reflected wall, in the half-size texture.
        mirrored_row: Row of the reflected wall.
        mirror: Gain of the reflection, 128 standing for 1.
        body: Colour of the water itself.
        glint: Brightness of glints.
    """

    water: Water
    box: Box
    depth: Floats
    row: Floats
    column: Floats
    mirrored_column: Floats
    mirrored_row: Floats
    mirror: Picture
    body: Picture
    glint: Floats

    @classmethod
    def of(
        cls, water: Water, view: View, wall: Floats, light: Light, pattern: Floats
    ) -> "WaterView | None":
        """Prepare the drawing of a surface.

        Args:
            water: The water.
            view: The rays.
            wall: Depth of the wall for each pixel.
            light: The lamps.
            pattern: Unevenness of the light for each pixel.

        Returns:
            The view, or None if there's no water in sight.
        """
        surface = view.plane(water.level)
        wet = surface.depth < np.minimum(wall, FAR * 0.98)
        if wet.sum() < 20:
            return None
        box = bounding_box(wet)
        half = tuple(slice(part.start, part.stop, 2) for part in box)
        depth, mirrored = surface.depth[half], view.mirror(water.level)
        dx, dy = (slope[half] for slope in view.slopes)
        grazing = 1 / (1 + (dy * dy) / (0.12 + 0.1 * dx * dx))
        shine = (0.25 + 0.65 * grazing) * light.gain(mirrored.depth[half]) * pattern[half]
        direct = light.gain(depth) * pattern[half]
        body = floats(water.tint) * (direct * (1 - 0.4 * grazing))[..., None]
        mirror = np.clip(shine * 128, 0, 255).astype(np.uint8)
        return cls(
            water=water,
            box=box,
            depth=surface.depth[box],
            row=depth * TEXELS,
            column=surface.column[half] % _REPEAT,
            mirrored_column=mirrored.column[half] * np.float32(0.5),
            mirrored_row=mirrored.depth[half] * np.float32(TEXELS / 2),
            mirror=cv2.merge([mirror] * 3).astype(np.uint8),
            body=np.clip(body, 0, 255).astype(np.uint8),
            glint=(direct * 120).astype(np.float32),
        )

    def draw(
        self, canvas: Picture, texture: Texture, wall: Floats, z: float, second: float
    ) -> None:
        """Draw the surface with the wall's reflection over a canvas.

        Args:
            canvas: Lit picture, changed in place.
            texture: The wall that is reflected.
            wall: Depth of whatever else is in the picture.
            z: Position of the camera.
            second: Time within the clip.
        """
        moved = np.float32((z + second * self.water.speed) * TEXELS % _REPEAT)
        row = (self.row + moved) % _REPEAT
        waves = cv2.remap(self.water.ripple, self.column, row, cv2.INTER_LINEAR)
        push = waves * np.float32(self.water.roughness * 24)
        reflected = cv2.remap(
            texture.levels[1][round(z * TEXELS) >> 1 :],
            self.mirrored_column + push,
            self.mirrored_row + push,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        )
        colour = cv2.multiply(reflected, self.mirror, scale=1 / 128)
        cv2.add(colour, self.body, colour)
        crest = np.maximum(waves - np.float32(0.5), 0) * self.glint
        glint = crest.astype(np.uint8)
        cv2.add(colour, cv2.merge([glint] * 3), colour)
        colour = cv2.resize(colour, (self.depth.shape[1], self.depth.shape[0]))
        shore = np.clip((wall[self.box] - self.depth) * 14, 0, 0.94)
        blend(canvas, self.box, colour, shore, None)


def blend(
    canvas: Picture,
    box: Box,
    colour: Numbers,
    cover: Floats,
    lit: Picture | None,
) -> None:
    """Lay a colour over a part of a canvas.

    Args:
        canvas: Picture that is changed in place.
        box: The part.
        colour: Colour (rows, columns, 3) for each pixel of the part.
        cover: Opacity from 0 to 1.
        lit: Gain of the light, 128 standing for 1, or None if the colour is lit already.
    """
    above = colour if lit is None else cv2.multiply(colour, lit, scale=1 / 128)
    cover = cover.astype(np.float32, copy=False)
    canvas[box] = cv2.blendLinear(above, canvas[box], cover, 1 - cover)


def bounding_box(mask: NDArray[np.bool_]) -> Box:
    """Smallest part of a picture that holds all true pixels (at least one is needed)."""
    rows = np.flatnonzero(mask.any(axis=1))
    cols = np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)


def box_around(camera: Camera, points: Floats, z: float, margin: int = 14) -> Box | None:
    """Part of the canvas that shows these points (n, 3) from z, or None if none is in view."""
    pixels, depth = camera.project(points - floats([0, 0, z - camera.z]))
    seen = (depth > 0.25) & (depth < FAR * 0.85)
    if seen.sum() < 2:
        return None
    low = np.maximum(pixels[seen].min(axis=0) - margin, 0)
    high = pixels[seen].max(axis=0) + margin
    high = np.minimum(high, [camera.width, camera.height])
    if low[0] + 2 >= high[0] or low[1] + 2 >= high[1]:
        return None
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _soft_threshold(value: float) -> Floats:
    return smoothstep(value - 9, value + 9, np.arange(256, dtype=np.float32))
