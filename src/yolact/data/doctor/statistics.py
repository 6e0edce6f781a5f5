"""What a data set consists of, in numbers."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from faster_coco_eval.core import mask as coco_mask

from yolact.data.coco import SIZES, Annotation, CocoInstances, ImageRecord, size_of, to_rle
from yolact.ops.rle import rle_to_crop


def statistics(instances: CocoInstances) -> dict[str, Any]:
    """Count pictures, objects and classes of one split; areas are those of the masks."""
    measured = [
        (annotation, *_measure(annotation, record))
        for record in instances.records
        for annotation in record.annotations
    ]
    objects = [item for item in measured if not item[0].is_crowd]
    areas_of: dict[int, list[int]] = {}
    for annotation, area, _, _ in objects:
        areas_of.setdefault(annotation.label, []).append(area)
    crowds_of = Counter(item[0].label for item in measured if item[0].is_crowd)
    per_picture = [sum(not a.is_crowd for a in r.annotations) for r in instances.records]
    sizes = Counter(f"{record.width}x{record.height}" for record in instances.records)
    pictures_of: Counter[int] = Counter()
    for record in instances.records:
        pictures_of.update({a.label for a in record.annotations if not a.is_crowd})
    return {
        "pictures": len(instances.records),
        "without_objects": per_picture.count(0),
        "sizes": dict(sizes.most_common()),
        "objects": len(objects),
        "crowds": len(measured) - len(objects),
        "of_several_parts": sum(parts > 1 for _, _, parts, _ in objects),
        "with_holes": sum(holes > 0 for _, _, _, holes in objects),
        "objects_per_picture": _quantiles(per_picture),
        "areas": _areas([area for _, area, _, _ in objects]),
        "classes": {
            name: {
                "objects": len(areas_of.get(label, ())),
                "pictures": pictures_of[label],
                "crowds": crowds_of[label],
                **_areas(areas_of.get(label, ())),
            }
            for label, name in enumerate(instances.class_names)
        },
    }


def _measure(annotation: Annotation, record: ImageRecord) -> tuple[int, int, int]:
    """Pixels, parts and holes of a mask. Parts that touch at a corner only are one."""
    rle = to_rle(annotation.segmentation, record.height, record.width)
    bitmap = rle_to_crop(rle).bitmap.astype(np.uint8)
    if not bitmap.size:
        return 0, 0, 0
    parts = cv2.connectedComponents(bitmap, connectivity=8)[0] - 1
    background = cv2.connectedComponents(np.pad(1 - bitmap, 1, constant_values=1), connectivity=4)
    return int(coco_mask.area(rle)), parts, background[0] - 2


def _areas(areas: Sequence[int]) -> dict[str, Any]:
    """Quantiles, and the share of each size."""
    if not areas:
        return {"area": None, **dict.fromkeys(SIZES)}
    sizes = Counter(map(size_of, areas))
    return {"area": _quantiles(areas), **{size: sizes[size] / len(areas) for size in SIZES}}


def _quantiles(values: Sequence[int]) -> dict[str, float]:
    if not values:
        return {}
    names = ("min", "q25", "median", "q75", "max")
    quantiles = np.quantile(values, (0, 0.25, 0.5, 0.75, 1))
    return {name: float(value) for name, value in zip(names, quantiles, strict=True)}
