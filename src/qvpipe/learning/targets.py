"""Labels as numbers."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def targets(labels: Iterable[str], classes: int) -> NDArray[np.int64]:
    """Return 0 or 1 for each item and class, `[items, classes]`.

    Args:
        labels: Of each item, the indices of its classes joined by spaces; empty if it has none.
        classes: Number of classes.
    """
    rows = [[int(index) for index in item.split()] for item in labels]
    matrix = np.zeros((len(rows), classes), dtype=np.int64)
    for row, indices in zip(matrix, rows, strict=True):
        row[indices] = 1
    return matrix
