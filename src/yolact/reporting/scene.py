"""An explanation as data for a page: numbers, and pictures as data URIs.

Prototypes and masks travel as tall grey PNGs, one tile below the other, so that the page does the
sums itself: what is shown is computed from what is shown.
"""

import base64
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

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


def picture_uri(picture: NDArray[np.uint8], *, quality: int = 88) -> str:
    """An RGB picture (H, W, 3) as a JPEG inside a URI."""
    return _uri(".jpg", picture[..., ::-1], "image/jpeg", [cv2.IMWRITE_JPEG_QUALITY, quality])


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
