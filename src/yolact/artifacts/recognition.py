"""Which model an original state dict belongs to, told by its keys and shapes (spec 2). Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from yolact.errors import CheckpointError

_BLOCK = re.compile(r"backbone\.layers\.(\d)\.(\d+)\.")


@dataclass(frozen=True)
class Layout:
    """What tells the state dicts of the published models apart."""

    blocks: tuple[int, ...]
    """Numbered parts of each backbone stage."""
    deformable: int
    """Deformable convolutions among them (spec 1.5)."""
    anchors_per_cell: int
    rescoring: bool
    """Whether there is a mask re-scoring net."""


@dataclass(frozen=True)
class Recognition:
    """Models that a state dict fits."""

    names: tuple[str, ...]
    """Presets of this very layout, the likeliest first."""
    num_classes: int
    """Foreground classes."""


_RESNET50, _RESNET101, _DARKNET53 = (3, 4, 6, 3), (3, 4, 23, 3), (2, 3, 9, 9, 5)

# Where several share a layout, the first is the likeliest.
_MODELS = {
    Layout(_RESNET50, 0, 3, False): ("yolact-resnet50", "yolact-resnet50-pascal"),
    Layout(_RESNET101, 0, 3, False): ("yolact-base", "yolact-im700", "yolact-im400"),
    Layout(_DARKNET53, 0, 3, False): ("yolact-darknet53",),
    Layout(_RESNET50, 13, 9, True): ("yolact-plus-resnet50",),
    Layout(_RESNET101, 11, 9, True): ("yolact-plus-base",),
}

_CLASSES, _BOXES = "semantic_seg_conv.weight", "prediction_layers.0.bbox_layer.weight"
_NUM_COCO, _NUM_PASCAL = 80, 20


def recognise(shapes: Mapping[str, Sequence[int]], source: str, file_name: str = "") -> Recognition:
    """Name the models that a state dict of the original fits.

    Three sizes of the R101 model have the same keys and shapes, and so have R50 for COCO and for
    Pascal but for their classes. Among such equals alone the file's name decides.

    Args:
        shapes: Shape of every tensor, by the original's names.
        source: What messages call it.
        file_name: Of the file it came from.

    Raises:
        CheckpointError: If it is no state dict of YOLACT, or not of a published model.
    """
    for key in (_CLASSES, _BOXES):
        if not shapes.get(key):
            raise CheckpointError(f"{source} is no YOLACT checkpoint: it has no {key}.")
    num_classes = shapes[_CLASSES][0]
    layout = Layout(
        blocks=_blocks(shapes),
        deformable=sum(key.endswith(".conv_offset_mask.weight") for key in shapes),
        anchors_per_cell=shapes[_BOXES][0] // 4,
        rescoring=any(key.startswith("maskiou_net.") for key in shapes),
    )
    if layout not in _MODELS:
        raise CheckpointError(
            f"{source} is of no published model: its backbone has {layout.blocks} blocks, "
            f"{layout.deformable} of them deformable, with {layout.anchors_per_cell} anchors per "
            f"cell and {'a' if layout.rescoring else 'no'} mask re-scoring net."
        )
    names = [name for name in _MODELS[layout] if _can_have(name, num_classes)]
    if num_classes == _NUM_PASCAL:
        names.sort(key=lambda name: not name.endswith("-pascal"))
    stem = PurePath(file_name).stem.replace("-", "_")
    said = [name for name in names if name.replace("-", "_") in stem]
    if said:
        names.remove(best := max(said, key=len))
        names.insert(0, best)
    return Recognition(tuple(names), num_classes)


def _can_have(name: str, num_classes: int) -> bool:
    return num_classes != _NUM_COCO or not name.endswith("-pascal")


def _blocks(shapes: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    last: dict[int, int] = {}
    for key in shapes:
        if match := _BLOCK.match(key):
            stage, block = int(match[1]), int(match[2])
            last[stage] = max(last.get(stage, 0), block)
    return tuple(last[stage] + 1 for stage in sorted(last))
