"""The page of ``yolact explain``."""

import os

from yolact.inference.explanation import Explanation
from yolact.reporting.page import write_page
from yolact.reporting.scene import scene


def write_explanation(
    explanation: Explanation, path: str | os.PathLike[str], *, model: str, picture: str
) -> None:
    """Write the page that shows how the masks of one picture came about.

    Args:
        explanation: From :func:`yolact.inference.explanation.explain`.
        path: Of the page, a single file.
        model: What the page calls the model.
        picture: What it calls the picture.
    """
    height, width = explanation.result.image_size
    alive = sum(role.is_alive for role in explanation.roles)
    write_page(
        "explain.html.j2",
        path,
        {"scenes": [scene(explanation)]},
        ["viewer.js", "explain.js"],
        model=model,
        picture=picture,
        size=f"{width} x {height}",
        num_objects=len(explanation.detections),
        num_prototypes=len(explanation.roles),
        num_alive=alive,
    )
