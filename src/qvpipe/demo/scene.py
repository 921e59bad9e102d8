"""Everything there is to see in one clip."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from qvpipe.demo.geometry import AROUND, TEXELS, angle_to_column
from qvpipe.demo.look import Look
from qvpipe.demo.noise import Floats, Picture, to_picture
from qvpipe.demo.shape import Dent, Oval, Sag, Shape, Step
from qvpipe.demo.solids import Solid
from qvpipe.demo.surfaces import Relief, Water


@dataclass(frozen=True)
class Sighting:
    """A defect and the points in the pipe by which it's recognised.

    Attributes:
        code: Class code.
        points: Points (n, 3) in radii.
        reach: Depth in radii from which on it can be recognised.
    """

    code: str
    points: Floats
    reach: float


@dataclass
class Scene:
    """A pipe that is being furnished.

    Attributes:
        look: What it shares with other clips of the inspection.
        wall: Unrolled wall, painted in place.
        water: Water on the bottom, if any.
        shape: Deviations from a straight round tube.
        reliefs: Crusts and deposits, drawn in this order.
        scum: What floats on the water.
        solids: Things that stand in the pipe.
        sightings: The defects.
    """

    look: Look
    wall: Picture
    water: Water | None = None
    shape: Shape = field(default_factory=Shape)
    reliefs: list[Relief] = field(default_factory=list)
    scum: list[Relief] = field(default_factory=list)
    solids: list[Solid] = field(default_factory=list)
    sightings: list[Sighting] = field(default_factory=list)

    def bend(
        self,
        *,
        oval: Oval | None = None,
        dent: Dent | None = None,
        sag: Sag | None = None,
        step: Step | None = None,
    ) -> None:
        """Add to the shape of the pipe."""
        shape = self.shape
        self.shape = replace(
            shape,
            ovals=shape.ovals + ((oval,) if oval else ()),
            dents=shape.dents + ((dent,) if dent else ()),
            sags=shape.sags + ((sag,) if sag else ()),
            steps=shape.steps + ((step,) if step else ()),
        )

    def patch(self, z: float, length: float, angle: float, arc: float) -> "Patch":
        """Part of the wall.

        Args:
            z: Its middle along the pipe.
            length: Its length along the pipe.
            angle: Its middle around the axis.
            arc: Its length around the axis, in radians.
        """
        rows = max(4, round(length * TEXELS))
        cols = min(AROUND, max(4, round(arc * TEXELS)))
        first_row = int(np.clip(round((z - length / 2) * TEXELS), 0, self.wall.shape[0] - rows))
        first_col = round(angle_to_column(angle)) - cols // 2
        return Patch(
            self.wall, slice(first_row, first_row + rows), (first_col + np.arange(cols)) % AROUND
        )


@dataclass(frozen=True)
class Patch:
    """A part of the wall, rows along the pipe and columns around it."""

    wall: Picture
    rows: slice
    columns: NDArray[np.intp]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return self.rows.stop - self.rows.start, len(self.columns)

    def read(self) -> Floats:
        """Copy of its colours (rows, columns, 3)."""
        return self.wall[self.rows][:, self.columns].astype(np.float32)

    def cover(self, colour: Floats, opacity: Floats) -> None:
        """Lay a colour (or colours for each pixel) over it, opacity (rows, columns) from 0 to 1."""
        below = self.read()
        self.wall[self.rows, self.columns] = to_picture(
            below + opacity[..., None] * (colour - below)
        )

    def multiply(self, factor: Floats) -> None:
        """Brighten or darken it by a factor (rows, columns)."""
        self.wall[self.rows, self.columns] = to_picture(self.read() * factor[..., None])
