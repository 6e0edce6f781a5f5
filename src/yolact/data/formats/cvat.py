"""CVAT for images 1.1: one XML file for all pictures.

A polygon, a mask, a rectangle and an ellipse are objects; what shares label and group is one
object. A rectangle in a group with outlines is only their box.
"""

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from yolact.data.formats.raw import Draft, RawSplit, Reader, find_picture
from yolact.data.formats.shapes import bitmap, ellipse, rectangle, union
from yolact.data.formats.splits import UNNAMED, in_order, split_called
from yolact.errors import DataError
from yolact.ops.masks import CroppedMask

_SHAPES = ("polygon", "mask", "box", "ellipse")
_WITHOUT_AREA = ("polyline", "points", "skeleton", "cuboid")


def find_splits(data: Path) -> dict[str, Reader]:
    """The subsets in CVAT's XML, in the folder or given itself; empty if there is none."""
    files = [data] if data.is_file() else sorted(data.glob("*.xml"))
    path = next((file for file in files if file.suffix == ".xml" and _is_cvat(file)), None)
    if path is None:
        return {}
    try:
        subsets = {image.get("subset") for _, image in _images(path)}
    except ET.ParseError as error:
        raise DataError(f"{path} is not readable XML: {error}.") from error
    names = in_order({split_called(subset or UNNAMED): path for subset in subsets or {None}})
    return {name: partial(_read, path, name) for name in names}


def _is_cvat(path: Path) -> bool:
    """Whether the outermost element is CVAT's; that of Pascal VOC is called annotation."""
    try:
        with path.open("rb") as file:
            _, outermost = next(iter(ET.iterparse(file, events=("start",))))
        return bool(outermost.tag == "annotations")
    except ET.ParseError:
        return False


def _elements(path: Path) -> Iterator[ET.Element]:
    """Every element when it is complete. The file is closed whatever becomes of the reading."""
    with path.open("rb") as file:
        for _, element in ET.iterparse(file):
            yield element


def _images(path: Path) -> Iterator[tuple[int, ET.Element]]:
    """Every picture with its number in the file; one at a time is in memory."""
    number = 0
    for element in _elements(path):
        if element.tag == "image":
            yield number, element
            number += 1
            element.clear()


def _label_names(path: Path) -> list[str]:
    """All classes of the task, in its order."""
    names: dict[str, None] = {}
    for element in _elements(path):
        if element.tag == "label":
            name = element.findtext("name")
            if name is not None and element.find("parent") is None:  # no joint of a skeleton
                names[name] = None
        elif element.tag == "image":
            for shape in element:
                if shape.tag in _SHAPES:
                    names.setdefault(shape.get("label", ""))
            element.clear()
    return list(names)


def _read(path: Path, split: str) -> RawSplit:
    root = path.parent
    draft = Draft(root)
    ids = {name: number for number, name in enumerate(_label_names(path), start=1)}
    for number, image in _images(path):
        subset = image.get("subset") or UNNAMED
        if split_called(subset) != split:
            continue
        origin = f"{path}: image[{number}] ({image.get('name')})"
        folders = [root / "images", root, root / "images" / subset, root / subset]
        name = image.get("name", "")
        try:
            size = int(image.attrib["height"]), int(image.attrib["width"])
        except (KeyError, ValueError):
            draft.add_problem(origin, "has no height and width")
            continue
        picture = find_picture(name, folders) or root / "images" / name
        added = draft.add_image(picture, origin, size)
        assert added is not None
        _read_shapes(draft, image, origin, ids, *added)
    return draft.finish(path, ((number, name) for name, number in ids.items()))


def _read_shapes(
    draft: Draft,
    image: ET.Element,
    place: str,
    ids: dict[str, int],
    image_id: int,
    size: tuple[int, int],
) -> None:
    """Objects in the order of their first shapes."""
    objects: dict[Any, list[tuple[str, ET.Element, Any]]] = {}
    for index, shape in enumerate(image):
        origin = f"{place}: {shape.tag} {index}"
        if shape.tag in _WITHOUT_AREA:
            draft.add_problem(origin, "has no area")
        if shape.tag not in _SHAPES:
            continue
        try:
            part = _segmentation(shape, size)
        except (KeyError, ValueError) as error:
            reason = f"has no {error}" if isinstance(error, KeyError) else str(error)
            draft.add_problem(origin, reason)
            continue
        group = shape.get("group_id")
        key = index if group in (None, "0") else (shape.get("label"), group)
        objects.setdefault(key, []).append((origin, shape, part))
    for parts in objects.values():
        outlined = [part for part in parts if part[1].tag != "box"] or parts
        origin, first, _ = outlined[0]
        try:
            segmentation = union([part for _, _, part in outlined], size)
        except ValueError as error:
            draft.add_problem(origin, str(error))
            continue
        attributes: dict[str, Any] = {
            attribute.get("name", ""): attribute.text for attribute in first.iter("attribute")
        }
        attributes |= {"occluded": first.get("occluded") == "1"}
        category_id = ids[first.get("label", "")]
        draft.add_object(image_id, category_id, segmentation, origin, attributes=attributes)


def _segmentation(shape: ET.Element, size: tuple[int, int]) -> Any:
    """The shape in COCO's form.

    Raises:
        KeyError: If it lacks an attribute.
        ValueError: If an attribute cannot be read.
    """

    def number(name: str) -> float:
        value = float(shape.attrib[name])
        if not math.isfinite(value):
            raise ValueError(f"{name} is no number")
        return value

    if shape.tag == "polygon":
        pairs = (pair.split(",") for pair in shape.attrib["points"].split(";"))
        return [[float(value) for x, y in pairs for value in (x, y)]]
    degrees = float(shape.get("rotation", 0))
    if shape.tag == "box":
        return [rectangle(number("xtl"), number("ytl"), number("xbr"), number("ybr"), degrees)]
    if shape.tag == "ellipse":
        return [ellipse(number("cx"), number("cy"), number("rx"), number("ry"), degrees)]
    rows, columns = int(number("height")), int(number("width"))
    counts = [int(count) for count in shape.attrib["rle"].split(",")]
    if min(counts) < 0 or sum(counts) != rows * columns:
        raise ValueError("the rle does not add up to the mask's width and height")
    pixels = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(rows, columns)
    return bitmap(CroppedMask(int(number("left")), int(number("top")), pixels), size)
