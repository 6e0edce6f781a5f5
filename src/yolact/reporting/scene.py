"""An explanation as data for a page: numbers, and pictures as data URIs.

Prototypes and masks travel as tall grey PNGs, one tile below the other, so that the page does the
sums itself: what is shown is computed from what is shown.
"""

import base64
import io
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from yolact.data.images import read_image
from yolact.errors import ImageError
from yolact.inference.explanation import Explanation
from yolact.ops.prototypes import KINDS


def scene(explanation: Explanation) -> dict[str, Any]:
    """What the viewer needs for one picture, of JSON types.

    Prototypes are cut to 256 levels between their own least and greatest value, so that a sum of
    contributions differs from the exact one by up to sum(|coefficient| x range) / 510.
    """
    found = explanation.detections
    prototypes = found.prototypes
    low, high = prototypes.amin(dim=(1, 2)), prototypes.amax(dim=(1, 2))
    levels = (prototypes - low[:, None, None]) / (high - low).clamp(min=1e-12)[:, None, None]
    return {
        "view": picture_uri(explanation.view),
        "overlay": picture_uri(explanation.result.plot()),
        "size": [int(side) for side in prototypes.shape[1:]],
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
        "masks": atlas_uri(explanation.cropped_masks),
        "crop": found.crop,
    }


def picture_uri(picture: NDArray[np.uint8]) -> str:
    """An RGB picture (H, W, 3) as a JPEG inside a URI."""
    return _uri(".jpg", picture[..., ::-1], "image/jpeg", [cv2.IMWRITE_JPEG_QUALITY, 88])


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
    return [round(value, 5) for value in values.tolist()]


def _two_digits(value: float) -> float:
    return round(value, 2)
