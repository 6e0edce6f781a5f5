"""LabelMe's files: one JSON per picture, beside it.

Polygons are COCO's own, so they go there and back as they are; shapes of one label and ``group_id``
are the parts of one object; what has holes is a shape of type "mask". supervision has no reader or
writer for these files.
"""

import base64
import io
import json
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from yolact.data.coco import read_document
from yolact.data.formats.raw import Draft, RawSplit, Reader, find_picture
from yolact.data.formats.shapes import bitmap, ellipse, rectangle, union
from yolact.data.formats.splits import UNNAMED, split_folders
from yolact.data.formats.target import Picture
from yolact.data.images import IMAGE_SUFFIXES
from yolact.errors import DataError
from yolact.ops.masks import CroppedMask
from yolact.ops.outlines import trace_outlines
from yolact.ops.rle import rle_to_crop

_LABELS = "labels.txt"
_NOT_CLASSES = ("__ignore__", "_background_")
_CROWD = "iscrowd"
_VERSION = "5.5.0"
_LOOKED_AT = 5  # files of a folder, before it is none of LabelMe's


# --- Reading --------------------------------------------------------------------------------------


def find_splits(data: Path) -> dict[str, Reader]:
    """The folders with LabelMe's JSON in or below them; empty if there are none."""
    if not data.is_dir():
        return {}
    return {
        split: partial(_read, data, folder)
        for split, folder in split_folders(data).items()
        if any(_is_labelme(path) for path in islice(_files(folder), _LOOKED_AT))
    }


def _files(folder: Path) -> Iterator[Path]:
    return iter(sorted(folder.rglob("*.json")))


def _is_labelme(path: Path) -> bool:
    try:
        # First without parsing it, which takes long for a COCO file of hundreds of megabytes.
        return b'"shapes"' in path.read_bytes() and "shapes" in read_document(path)
    except (DataError, OSError):
        return False


def _read(data: Path, folder: Path) -> RawSplit:
    """Classes are those of ``labels.txt``, if there is one, in its order; else by name.

    They are the classes of all splits, so that every split has the same.
    """
    draft = Draft(data)
    names = _listed_names(data)
    if names is None:
        everywhere = {shape["label"] for path in _files(data) for shape in _shapes_or_none(path)}
        names = sorted(everywhere - set(_NOT_CLASSES))
    ids = {name: number for number, name in enumerate(names, start=1)}
    for path in _files(folder):
        try:
            document = read_document(path)
        except DataError as error:
            draft.add_problem(path, f"{error}".removeprefix(f"{path} ").rstrip("."))
            continue
        if not isinstance(document.get("shapes"), list):
            draft.add_problem(path, "is no file of LabelMe: it has no list of shapes")
            continue
        added = draft.add_image(_picture(path, document), path, _size(document))
        if added is not None:
            _read_shapes(draft, path, document["shapes"], ids, *added)
    return draft.finish(folder, ((number, name) for name, number in ids.items()))


def _listed_names(data: Path) -> list[str] | None:
    try:
        lines = (data / _LABELS).read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return None
    names = (line.strip() for line in lines)
    return [name for name in dict.fromkeys(names) if name and name not in _NOT_CLASSES]


def _shapes_or_none(path: Path) -> Iterator[dict[str, Any]]:
    """The shapes that have a label; what is wrong elsewhere is said where it is read."""
    try:
        shapes = read_document(path).get("shapes")
    except DataError:
        return
    for shape in shapes if isinstance(shapes, list) else ():
        if isinstance(shape, dict) and isinstance(shape.get("label"), str):
            yield shape


def _picture(path: Path, document: dict[str, Any]) -> Path:
    """The picture of a file: as it says, else the sibling of its name, else inside the file."""
    name = document.get("imagePath")
    siblings = (path.with_suffix(suffix) for suffix in sorted(IMAGE_SUFFIXES))
    found = find_picture(name, [path.parent]) if isinstance(name, str) else None
    found = found or next((sibling for sibling in siblings if sibling.is_file()), None)
    if found is None and document.get("imageData"):
        return path
    return found or path.parent / str(name)


def _size(document: dict[str, Any]) -> tuple[int, int] | None:
    size = document.get("imageHeight"), document.get("imageWidth")
    return size if all(isinstance(side, int) for side in size) else None  # type: ignore[return-value]


def _read_shapes(
    draft: Draft,
    path: Path,
    shapes: list[Any],
    ids: dict[str, int],
    image_id: int,
    size: tuple[int, int],
) -> None:
    """Objects in the order of their first shapes."""
    objects: dict[Any, list[tuple[int, dict[str, Any], Any]]] = {}
    for index, shape in enumerate(shapes):
        origin = f"{path}: shapes[{index}]"
        label = shape.get("label") if isinstance(shape, dict) else None
        if label in _NOT_CLASSES:
            continue
        if label not in ids:
            draft.add_problem(origin, f"has the label {label!r}, which {_LABELS} does not list")
            continue
        try:
            part = _segmentation(shape, size)
        except (ValueError, TypeError, KeyError, OSError) as error:
            draft.add_problem(origin, str(error) or "cannot be read")
            continue
        group = shape.get("group_id")
        key = index if group is None else (label, str(group))
        objects.setdefault(key, []).append((index, shape, part))
    for parts in objects.values():
        index, first, _ = parts[0]
        origin = f"{path}: shapes[{index}]"
        try:
            segmentation = union([part for _, _, part in parts], size)
        except ValueError as error:
            draft.add_problem(origin, str(error))
            continue
        flags = first.get("flags")
        attributes = dict(flags) if isinstance(flags, dict) else {}
        is_crowd = bool(attributes.pop(_CROWD, False))
        draft.add_object(image_id, ids[first["label"]], segmentation, origin, is_crowd, attributes)


def _segmentation(shape: dict[str, Any], size: tuple[int, int]) -> Any:
    """The shape in COCO's form.

    Raises:
        ValueError, TypeError, KeyError, OSError: If it is no area, or cannot be read.
    """
    kind = shape.get("shape_type") or "polygon"
    points = [(float(x), float(y)) for x, y in shape["points"]]
    if kind == "mask":
        picture = Image.open(io.BytesIO(base64.b64decode(shape["mask"])))
        window = np.asarray(picture).astype(np.bool_)
        return bitmap(CroppedMask(int(points[0][0]), int(points[0][1]), window), size)
    if kind == "rectangle" and len(points) == 2:
        return [rectangle(*points[0], *points[1])]
    if kind == "circle" and len(points) == 2:
        (x, y), (to_x, to_y) = points
        radius = float(np.hypot(to_x - x, to_y - y))
        return [ellipse(x, y, radius, radius)]
    if kind in ("polygon", "rectangle", "rotation"):
        return [[value for point in points for value in point]]
    raise ValueError(f"is a {kind}, which has no area")


# --- Writing --------------------------------------------------------------------------------------


def picture_folder(split: str) -> str:
    """Where the pictures of a split go."""
    return "" if split == UNNAMED else split


def write(folder: Path, splits: dict[str, list[Picture]], names: tuple[str, ...]) -> None:
    """Write a file beside each picture; every object exactly."""
    for split, pictures in splits.items():
        for picture in pictures:
            path = folder / picture_folder(split) / picture.name
            shapes = list(_shapes(picture, names))
            document: dict[str, Any] = {
                "version": _VERSION,
                "flags": {},
                "shapes": shapes,
                "imagePath": path.name,
                "imageData": None,
                "imageHeight": picture.size[0],
                "imageWidth": picture.size[1],
            }
            path.with_suffix(".json").write_text(json.dumps(document, indent=2), encoding="utf-8")
    lines = (*_NOT_CLASSES, *names)
    (folder / _LABELS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _shapes(picture: Picture, names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for group, (annotation, attributes) in enumerate(
        zip(picture.annotations, picture.attributes, strict=True)
    ):
        flags = {name: value for name, value in attributes.items() if isinstance(value, bool)}
        if annotation.is_crowd:
            flags[_CROWD] = True
        pieces = _pieces(annotation.segmentation)
        for piece in pieces:
            yield {
                "label": names[annotation.label],
                **piece,
                "group_id": group if len(pieces) > 1 else None,
                "description": "",
                "flags": flags,
            }


def _pieces(segmentation: Any) -> list[dict[str, Any]]:
    """The shapes that make up one object."""
    if isinstance(segmentation, list):
        return [_polygon(np.array(polygon).reshape(-1, 2).tolist()) for polygon in segmentation]
    crop = rle_to_crop(segmentation)
    parts = trace_outlines(crop)
    if not any(part.holes for part in parts):
        return [_polygon(part.exterior.tolist()) for part in parts]
    rows, columns = crop.bitmap.shape
    png = io.BytesIO()
    Image.fromarray(crop.bitmap.astype(np.uint8)).save(png, "png")
    corners = [[crop.x, crop.y], [crop.x + columns - 1, crop.y + rows - 1]]
    mask = base64.b64encode(png.getvalue()).decode("ascii")
    return [{"shape_type": "mask", "points": corners, "mask": mask}]


def _polygon(points: list[list[float]]) -> dict[str, Any]:
    return {"shape_type": "polygon", "points": points, "mask": None}
