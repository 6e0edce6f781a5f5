"""An explanation as data for a page: numbers, and pictures as data URIs.

Prototypes and masks travel as tall grey PNGs, one tile below the other, so that the page does the
sums itself: what is shown is computed from what is shown.
"""

import base64
import io
from math import sqrt
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from yolact.data.images import read_image
from yolact.errors import ImageError
from yolact.inference.explanation import Explanation
from yolact.ops.prototypes import KINDS, between_extremes


def scene(explanation: Explanation) -> dict[str, Any]:
    """What the viewer needs for one picture, of JSON types."""
    return {
        "view": picture_uri(explanation.view),
        "overlay": picture_uri(explanation.result.plot()),
        **sums(explanation),
    }


def sums(explanation: Explanation, *, cells: int | None = None) -> dict[str, Any]:
    """The same without the pictures: prototypes, coefficients and masks.

    Prototypes are cut to 256 levels between their own least and greatest value, so that a sum of
    contributions differs from the exact one by up to sum(|coefficient| x range) / 510.

    Args:
        explanation: Of one picture.
        cells: Prototypes and masks are made smaller, each cell the mean of those it covers, until
            all prototypes together have at most about as many cells. A mean of sums is the sum of
            the means, so contributions still add up to the logits; what is a mean of masks is no
            longer the sigmoid of that sum.
    """
    found = explanation.detections
    size = tile_size(found.prototypes, cells)
    levels, low, high = between_extremes(shrink(found.prototypes, size))
    return {
        "size": list(size),
        "prototypes": atlas_uri(levels),
        "low": _rounded(low),
        "high": _rounded(high),
        "roles": [
            {
                "kind": role.kind,
                "strengths": dict(zip(KINDS, map(_two_digits, role.strengths), strict=True)),
            }
            for role in explanation.roles
        ],
        "detections": [
            {
                "name": explanation.result.names[int(found.labels[i])],
                "score": round(float(found.scores[i]), 4),
                "box": _rounded(found.boxes[i]),
                "coefficients": _rounded(found.coefficients[i]),
            }
            for i in range(len(found))
        ],
        "masks": atlas_uri(shrink(explanation.cropped_masks, size).nan_to_num()),
        "crop": found.crop,
    }


def tile_size(prototypes: Tensor, cells: int | None) -> tuple[int, int]:
    """(height, width) of a tile, if k prototypes (k, h, w) are to have ``cells`` together; never larger."""
    count, height, width = prototypes.shape
    if cells is None:
        return height, width
    scale = min(sqrt(cells / (count * height * width)), 1.0)
    return max(round(height * scale), 1), max(round(width * scale), 1)


def shrink(tiles: Tensor, size: tuple[int, int]) -> Tensor:
    """Tiles (n, h, w) at a size that is not larger, by means over areas; n may be 0."""
    if tiles.shape[1:] == size:
        return tiles
    if not len(tiles):  # which PyTorch does not resize
        return tiles.new_zeros((0, *size))
    return F.adaptive_avg_pool2d(tiles, size)


def picture_uri(picture: NDArray[np.uint8], *, quality: int = 88) -> str:
    """An RGB picture (H, W, 3) as a JPEG inside a URI."""
    return _uri(".jpg", picture[..., ::-1], "image/jpeg", [cv2.IMWRITE_JPEG_QUALITY, quality])


def picture_from(uri: str) -> NDArray[np.uint8]:
    """The RGB picture (H, W, 3) inside a URI that :func:`picture_uri` made.

    Raises:
        ImageError: If there is none inside.
    """
    try:
        data = base64.b64decode(uri.partition(",")[2])
    except ValueError as error:
        raise ImageError("a watched picture of the run cannot be read.") from error
    return read_image(io.BytesIO(data), name="a watched picture of the run")


def atlas_uri(tiles: Tensor) -> str:
    """Tiles (n, h, w) in [0, 1], one below the other, as a grey PNG inside a URI; n may be 0."""
    count, height, width = tiles.shape
    if not count:
        return ""
    grey = np.rint(tiles.numpy() * 255).astype(np.uint8).reshape(count * height, width)
    return _uri(".png", grey, "image/png", [cv2.IMWRITE_PNG_COMPRESSION, 9])


def _uri(suffix: str, picture: NDArray[np.uint8], kind: str, options: list[int]) -> str:
    _, data = cv2.imencode(suffix, np.ascontiguousarray(picture), options)
    return f"data:{kind};base64,{base64.b64encode(data.tobytes()).decode()}"


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 5) for value in values.nan_to_num().tolist()]  # JSON has no others


def _two_digits(value: float) -> float:
    return round(value, 2)
