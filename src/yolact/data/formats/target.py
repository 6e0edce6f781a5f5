"""What every writer of labels takes: pictures with their objects, and why some cannot be written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolact.data.coco import Annotation

EMPTY = "objects without a single pixel"


@dataclass(frozen=True)
class Picture:
    """One picture under the name it will have."""

    name: str
    """Relative to the pictures of its split; unique there without its suffix too."""
    source: Path
    size: tuple[int, int]
    """(height, width), upright."""
    annotations: tuple[Annotation, ...]
    attributes: tuple[dict[str, Any], ...]
    """Of each annotation, what its file says of it beyond class and shape."""
