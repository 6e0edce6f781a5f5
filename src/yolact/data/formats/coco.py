"""COCO's files: where a data set has them, also as Roboflow and Label Studio write them."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from faster_coco_eval.core import mask as coco_mask

from yolact.data.coco import CocoInstances, read_document, to_rle
from yolact.data.formats.raw import RawSplit, Reader, find_picture, is_file
from yolact.data.formats.splits import UNNAMED, in_order, split_called, split_folders
from yolact.data.formats.target import Picture
from yolact.errors import DataError
from yolact.files import write_text

_ROBOFLOW = "_annotations.coco.json"
_LABEL_STUDIO = "result.json"


# --- Reading --------------------------------------------------------------------------------------


def find_splits(data: Path) -> dict[str, Reader]:
    """What is labelled in COCO's form; empty if nothing is.

    Looks at ``annotations/instances_*.json``; then for Roboflow's ``<split>/_annotations.coco.json``,
    then for Label Studio's ``result.json`` beside ``images/``. A file is one split without name.
    """
    if data.is_file():
        return {UNNAMED: partial(_read_file, data)} if data.suffix == ".json" else {}
    found: dict[str, Path] = {}
    for path in sorted((data / "annotations").glob("instances_*.json")):
        found.setdefault(split_called(split_name(path)), path)
    if found:
        return {
            name: partial(_read_beside, data, path, name) for name, path in in_order(found).items()
        }
    exports = {split: folder / _ROBOFLOW for split, folder in split_folders(data).items()}
    readers: dict[str, Reader] = {
        split: partial(_read_roboflow, path) for split, path in exports.items() if path.is_file()
    }
    if not readers and (data / _LABEL_STUDIO).is_file() and (data / "images").is_dir():
        readers = {UNNAMED: partial(_read_label_studio, data / _LABEL_STUDIO)}
    return readers


def find_named(data: Path, split: str) -> Reader | None:
    """The split of exactly this name, as ``val2017``, or one without labels, as ``test-dev``."""
    if any(True for _ in _annotation_files(data, split)):
        return lambda: _read(*find_split(data, split))
    return None


def find_split(data: Path, split: str) -> tuple[Path, Path]:
    """Folder of pictures and annotation file of one split of ``data``.

    Looks for ``annotations/instances_<split>.json`` (also with a year, as COCO has it), with the
    pictures in ``images/``, ``<split>/`` or ``<split><year>/``; then for ``image_info_…`` in the
    same way, as of COCO's test sets. The pictures of ``test-dev2017`` are those of ``test2017``.

    Raises:
        DataError: If either is missing; the message says what was looked for.
    """
    if not data.is_dir():
        raise DataError(f"there is no data folder {data}.")
    annotations = next(_annotation_files(data, split), None)
    if annotations is None:
        raise DataError(f"{data} has no annotations/instances_{split}.json.")
    return _pictures(data, annotations, split), annotations


def split_name(annotations: Path) -> str:
    """What an annotation file calls its split: ``val2017`` of ``instances_val2017.json``."""
    return annotations.stem.removeprefix("instances_").removeprefix("image_info_")


def _annotation_files(data: Path, split: str) -> Iterator[Path]:
    folder = data / "annotations"
    for kind in ("instances", "image_info"):
        for path in (
            folder / f"{kind}_{split}.json",
            *sorted(folder.glob(f"{kind}_{split}20*.json")),
        ):
            if path.is_file():
                yield path


def _pictures(data: Path, annotations: Path, split: str) -> Path:
    name = split_name(annotations)
    names = (name, f"images/{name}", f"images/{split}", name.replace("-dev", ""), "images")
    images = next((data / folder for folder in names if (data / folder).is_dir()), None)
    if images is None:
        raise DataError(f"{data} has neither a folder {name} nor one called images.")
    return images


def _read(images: Path, annotations: Path) -> RawSplit:
    return RawSplit(annotations, images, read_document(annotations))


def _read_beside(data: Path, annotations: Path, split: str) -> RawSplit:
    return _read(_pictures(data, annotations, split), annotations)


def _read_file(path: Path) -> RawSplit:
    """A file given alone: its pictures are where the first of them is."""
    if path.name == _ROBOFLOW:
        return _read_roboflow(path)
    document = read_document(path)
    name, above = split_name(path), path.parent.parent
    folders = [
        path.parent,
        path.parent / "images",
        *(above / folder for folder in (name, f"images/{name}", "images", ".")),
    ]
    first = next(iter(_file_names(document)), "")
    for folder in folders:
        if first and is_file(folder / first):
            return RawSplit(path, folder, document)
    return _with_found_pictures(path, document)


def _read_roboflow(path: Path) -> RawSplit:
    """Without the category that Roboflow puts before all others, which is no class."""
    document = read_document(path)
    categories, annotations = document.get("categories"), document.get("annotations")
    if isinstance(categories, list) and isinstance(annotations, list) and len(categories) > 1:
        first, *others = (entry if isinstance(entry, dict) else {} for entry in categories)
        used = {entry.get("category_id") for entry in annotations if isinstance(entry, dict)}
        if (
            first.get("supercategory") == "none"
            and first.get("id") not in used
            and all(entry.get("supercategory") == first.get("name") for entry in others)
        ):
            document["categories"] = categories[1:]
    return RawSplit(path, path.parent, document)


def _read_label_studio(path: Path) -> RawSplit:
    return _with_found_pictures(path, read_document(path))


def _with_found_pictures(path: Path, document: dict[str, Any]) -> RawSplit:
    """File names as Label Studio writes them, with its own folders and quoted, made true."""
    root = path.parent
    folders = (root, root / "images")
    images = document.get("images")
    for image in images if isinstance(images, list) else ():
        if not isinstance(image, dict) or not isinstance(name := image.get("file_name"), str):
            continue
        readings = (name, unquote(name), unquote(name.rpartition("?d=")[2]))
        found = next(filter(None, (find_picture(text, folders) for text in readings)), None)
        if found is not None:
            image["file_name"] = found.relative_to(root).as_posix()
    return RawSplit(path, root, document)


def _file_names(document: dict[str, Any]) -> Iterator[str]:
    images = document.get("images")
    for image in images if isinstance(images, list) else ():
        if isinstance(image, dict) and isinstance(image.get("file_name"), str):
            yield image["file_name"]


# --- Writing --------------------------------------------------------------------------------------


def write(
    folder: Path,
    split: str,
    instances: CocoInstances,
    pictures: Sequence[Picture],
    *,
    has_origin: bool,
) -> None:
    """Write the document as it was read, with what COCO's own tools need to have.

    Args:
        folder: Of the data set.
        split: Name of the split.
        instances: The split.
        pictures: Its pictures under their names here.
        has_origin: Whether a reader added places in files that are not these.
    """
    document = instances.ground_truth
    dropped = {"origin"} if has_origin else set()
    images = [
        {key: value for key, value in image.items() if key not in dropped}
        | {"file_name": picture.name}
        for image, picture in zip(document["images"], pictures, strict=True)
    ]
    sizes = {record.image_id: (record.height, record.width) for record in instances.records}
    annotations = []
    for number, annotation in enumerate(document["annotations"], start=1):
        mask = to_rle(annotation["segmentation"], *sizes[annotation["image_id"]])
        whole = {"id": number, "iscrowd": 0, "area": None, "bbox": None} | {
            key: value for key, value in annotation.items() if key not in dropped
        }
        if whole["area"] is None:
            whole["area"] = int(coco_mask.area(mask))
        if not whole["bbox"]:
            whole["bbox"] = coco_mask.toBbox(mask).tolist()
        annotations.append(whole)
    text = json.dumps(document | {"images": images, "annotations": annotations})
    write_text(folder / "annotations" / f"instances_{split}.json", text)
