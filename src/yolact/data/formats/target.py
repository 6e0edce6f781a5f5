"""What every writer of labels takes: pictures with the objects that its format can express."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolact.data.coco import Annotation


@dataclass(frozen=True)
class Picture:
    """One picture under the name it will have."""

    name: str
    """Relative to the pictures of its split; unique there without its suffix too."""
    source: Path
    size: tuple[int, int]
    """(height, width), upright."""
    annotations: tuple[Annotation, ...]
    """Each with a pixel at least; no crowd regions for a format that cannot mark them."""
    attributes: tuple[dict[str, Any], ...]
    """Of each annotation, what its file says of it beyond class and shape."""
