"""Pictures that worker processes read in tests, apart so that they need not import timm."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read(name: str, folder: Path) -> NDArray[np.uint8]:
    return np.asarray(np.load(folder / f"{name}.npy"))
