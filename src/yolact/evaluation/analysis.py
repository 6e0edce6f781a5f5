"""Where AP comes from: precision at each recall, what is taken for what, and the errors picture by picture."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ErrorKind = Literal["missed", "invented", "badly cut", "wrong class", "double"]


@dataclass(frozen=True)
class ImageError:
    """One thing that went wrong in a picture."""

    kind: ErrorKind
    """``missed``: an object that nothing covers. ``invented``: a detection that covers no object.
    ``badly cut``: right class, but a mask IoU too low to count. ``wrong class``: right place.
    ``double``: a detection of an object that a better one has found."""
    truth: int | None
    """Place of the object among the image's annotations; None for what was invented."""
    found: int | None
    """Place of the detection among the image's; None for what was missed."""
    iou: float
    """Mask IoU of the two, 0 where one is missing."""


@dataclass(frozen=True)
class Analysis:
    """What lies behind a data set's AP."""

    class_names: tuple[str, ...]
    """C of them, in the order of the category ids."""
    precision: dict[str, dict[str, NDArray[np.float64]]]
    """By shape (``mask``, ``box``) and IoU threshold (``"0.50"``, ``"0.75"``): (C, 101) precision at
    recall 0, 0.01 … 1; -1 in the rows of classes without objects."""
    confusion: NDArray[np.int64]
    """(C + 1, C + 1): rows are true classes, columns found ones, counted by mask IoU; the last row is
    ``nothing there``, the last column ``nothing found``."""
    score: float
    """Only detections above it are in ``confusion`` and ``errors``."""
    iou: float
    """Mask IoU from which on an object counts as found there."""
    errors: dict[int, tuple[ImageError, ...]]
    """By image id; images without errors are left out."""
