"""Data sets from one format to another: every split, pictures byte by byte, masks pixel by pixel."""

import re
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from faster_coco_eval.core import mask as coco_mask
from PIL import Image

from yolact.data.coco import CocoInstances, check_document, to_rle
from yolact.data.formats import coco, labelme, png, yolo
from yolact.data.formats.read import recognise
from yolact.data.formats.splits import UNNAMED, is_split_name, picture_folder
from yolact.data.formats.target import Picture
from yolact.data.images import IMAGE_SUFFIXES, opened_picture
from yolact.errors import DataError, UsageError
from yolact.files import new_folder

TARGETS = ("coco", "yolo", "labelme", "png")

_EMPTY = "objects without a single pixel"
_CROWDS = "crowd regions, which the format cannot mark"
_COVERED = "objects that lose the pixels they share with a smaller one of their class"

_SUFFIXES = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "BMP": ".bmp",
    "WEBP": ".webp",
    "TIFF": ".tif",
    "PPM": ".ppm",
}
_NO_CLASSES = frozenset({"", "__ignore__", "_background_"})  # what LabelMe takes for none


@dataclass(frozen=True)
class Conversion:
    """What came of it."""

    source_format: str
    splits: dict[str, tuple[int, int]]
    """Number of pictures and of objects, crowds included, that each split has in the source."""
    not_expressed: dict[str, int]
    """What the target cannot say exactly, and how many objects it concerns."""
    renamed: dict[str, str]
    """Classes whose names the target cannot hold, and what they are called there."""


def convert(data: Path, out: Path, to: str) -> Conversion:
    """Write a data set once more in another format; ``out`` appears when it is complete.

    Args:
        data: In any format that :func:`yolact.data.formats.read.read_split` reads.
        out: New or empty folder.
        to: One of ``TARGETS``.

    Raises:
        UsageError: If ``out`` is not empty or lies in ``data``, or there is no such format.
        DataError: If the data cannot be used, or the splits disagree on the classes and the format
            has one list for all.
    """
    if to not in TARGETS:
        raise UsageError(f"labels cannot be written as {to!r}: use {', '.join(TARGETS)}.")
    if out.resolve().is_relative_to(data.resolve()):
        raise UsageError(f"{out} lies inside {data}, where it would become part of the data.")
    name, readers = recognise(data)
    with new_folder(out) as folder:
        splits = {split: check_document(reader()) for split, reader in readers.items()}
        lost: Counter[str] = Counter()
        renamed: dict[str, str] = {}
        pictures = {split: _pictures(instances, split) for split, instances in splits.items()}
        for split, some in pictures.items():
            place = labelme.picture_folder(split) if to == "labelme" else picture_folder(split)
            _copy(some, folder / place, must_be_known=to in ("yolo", "png"))
        if to == "coco":
            for split, instances in splits.items():
                coco.write(folder, split, instances, pictures[split], has_origin=name != "COCO")
        else:
            classes = _common_classes(splits)
            names = _writable(classes, as_folders=to == "png")
            renamed = {old: new for old, new in zip(classes, names, strict=True) if old != new}
            expressible = {
                split: [_expressible(picture, to == "labelme", lost) for picture in some]
                for split, some in pictures.items()
            }
            match to:
                case "yolo":
                    yolo.write(folder, expressible, names)
                case "labelme":
                    labelme.write(folder, expressible, names)
                case "png":
                    lost[_COVERED] = png.write(folder, expressible, names)
    counts = {
        split: (len(instances.records), len(instances.ground_truth["annotations"]))
        for split, instances in splits.items()
    }
    return Conversion(name, counts, dict(+lost), renamed)


def _common_classes(splits: dict[str, CocoInstances]) -> tuple[str, ...]:
    (first, one), *others = splits.items()
    for split, other in others:
        if (other.category_ids, other.class_names) != (one.category_ids, one.class_names):
            raise DataError(
                f"{other.source} and {one.source} disagree on the classes, and the format has one "
                f"list for {first} and {split}."
            )
    return one.class_names


def _writable(names: Sequence[str], *, as_folders: bool) -> tuple[str, ...]:
    """Names that a line of text, or a folder, can hold, each once."""
    taken = set(_NO_CLASSES)
    found = []
    for number, name in enumerate(names, start=1):
        plain = "".join(c for c in " ".join(name.split()) if c.isprintable())
        if as_folders:
            plain = re.sub(r'[\\/:*?"<>|]', "_", plain).strip(". ")[:80]
        plain = plain.strip()
        if plain.casefold() in taken:
            plain = f"{plain} ({number})".strip()
        taken.add(plain.casefold())
        found.append(plain)
    return tuple(found)


def _pictures(instances: CocoInstances, split: str) -> list[Picture]:
    """The pictures of a split under names that are free of folders above and differ by their stem."""
    attributes: dict[int, list[dict[str, object]]] = {}
    for annotation in instances.ground_truth["annotations"]:
        stated = annotation.get("attributes")
        attributes.setdefault(annotation["image_id"], []).append(
            stated if isinstance(stated, dict) else {}
        )
    taken: set[str] = set()
    return [
        Picture(
            name=_free_name(image["file_name"], record.path, split, taken),
            source=record.path,
            size=(record.height, record.width),
            annotations=record.annotations,
            attributes=tuple(attributes.get(record.image_id, ())),
        )
        for image, record in zip(instances.ground_truth["images"], instances.records, strict=True)
    ]


def _expressible(picture: Picture, has_crowds: bool, lost: Counter[str]) -> Picture:
    """The picture without the objects that a format cannot hold, which are counted."""
    kept = []
    for index, annotation in enumerate(picture.annotations):
        if annotation.is_crowd and not has_crowds:
            lost[_CROWDS] += 1
        elif coco_mask.area(to_rle(annotation.segmentation, *picture.size)) == 0:
            lost[_EMPTY] += 1
        else:
            kept.append(index)
    return replace(
        picture,
        annotations=tuple(picture.annotations[index] for index in kept),
        attributes=tuple(picture.attributes[index] for index in kept),
    )


def _free_name(file_name: str, source: Path, split: str, taken: set[str]) -> str:
    path = PurePosixPath(file_name.replace("\\", "/"))
    parts = list(path.parts)
    if path.is_absolute() or ".." in parts:
        parts = parts[-1:]
    # A folder of this name would mean something to a reader.
    parts = [part for part in parts[:-1] if part not in ("images", "labels", "masks")] + parts[-1:]
    while split == UNNAMED and len(parts) > 1 and is_split_name(parts[0]):
        del parts[0]
    path = PurePosixPath(*parts)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        with opened_picture(source) as file, Image.open(file) as image:
            path = path.with_suffix(_SUFFIXES.get(image.format or "", path.suffix))
    stem, number = path.with_suffix(""), 2
    while str(path.with_suffix("")).casefold() in taken:
        path = stem.with_name(f"{stem.name}-{number}{path.suffix}")
        number += 1
    taken.add(str(path.with_suffix("")).casefold())
    return path.as_posix()


def _copy(pictures: Iterable[Picture], folder: Path, *, must_be_known: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        path = folder / picture.name
        if must_be_known and path.suffix.lower() not in IMAGE_SUFFIXES:
            raise DataError(
                f"{picture.source} is of a kind that readers of this format do not look for: "
                "save it as PNG."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened_picture(picture.source) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)
