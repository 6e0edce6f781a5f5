"""Instance masks as pictures: ``images/a.jpg`` and ``masks/a.png``, where a value is an object.

Every value but 0 is one object, whatever its shape. Classes are folders, ``masks/cat/a.png``, so
that objects of different classes may overlap; ``classes.txt`` gives their names in order. Splits
are folders below ``images`` and ``masks``, or above them.
"""

from functools import partial
from pathlib import Path

import numpy as np

from yolact.data.coco import to_rle
from yolact.data.formats.label_map import read_label_map, write_label_map
from yolact.data.formats.raw import Draft, RawSplit, Reader
from yolact.data.formats.splits import picture_folder, split_folders
from yolact.data.formats.target import Picture
from yolact.data.images import IMAGE_SUFFIXES
from yolact.ops.rle import labels_to_rles, rle_to_crop

_CLASSES = "classes.txt"
_ONLY_CLASS = "object"


# --- Reading --------------------------------------------------------------------------------------


def find_splits(data: Path) -> dict[str, Reader]:
    """The splits below ``images`` and ``masks``, or around them; empty if there are none."""
    if not data.is_dir():
        return {}
    if (data / "images").is_dir() and (data / "masks").is_dir():
        return {
            split: partial(
                _read, data, folder, data / "masks" / folder.relative_to(data / "images")
            )
            for split, folder in split_folders(data / "images").items()
        }
    return {
        split: partial(_read, data, folder / "images", folder / "masks")
        for split, folder in split_folders(data).items()
        if (folder / "images").is_dir() and (folder / "masks").is_dir()
    }


def _read(data: Path, pictures: Path, masks: Path) -> RawSplit:
    draft = Draft(data)
    names, folders = _classes(data, masks)
    unused = set(masks.rglob("*.png"))
    files = (path for path in pictures.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    for picture in sorted(files):
        added = draft.add_image(picture, picture)
        for category_id, folder in folders.items():
            mask = folder / picture.relative_to(pictures).with_suffix(".png")
            if mask in unused:  # else a picture without objects of this class
                unused.remove(mask)
                if added is not None:
                    _read_mask(draft, mask, category_id, *added)
    for mask in sorted(unused):
        draft.add_problem(mask, f"there is no picture of this name in {pictures}, or no such class")
    return draft.finish(masks, enumerate(names, start=1))


def _classes(data: Path, masks: Path) -> tuple[list[str], dict[int, Path]]:
    """Names of the classes, and the folder of masks of each category id."""
    try:
        lines = (data / _CLASSES).read_text(encoding="utf-8-sig").splitlines()
        names = [line.strip() for line in lines if line.strip()]
    except FileNotFoundError:
        names = sorted(folder.name for folder in masks.glob("[!.]*/"))
    if len(names) <= 1 and not (names and (masks / names[0]).is_dir()):
        return names or [_ONLY_CLASS], {1: masks}
    return names, {number: masks / name for number, name in enumerate(names, start=1)}


def _read_mask(
    draft: Draft, path: Path, category_id: int, image_id: int, size: tuple[int, int]
) -> None:
    try:
        labels = read_label_map(path)
    except OSError as error:
        draft.add_problem(path, str(error))
        return
    if labels.shape != size:
        draft.add_problem(
            path,
            f"is {labels.shape[1]}x{labels.shape[0]} pixels, its picture {size[1]}x{size[0]}",
        )
        return
    for value, rle in labels_to_rles(labels).items():
        draft.add_object(image_id, category_id, dict(rle), f"{path}: value {value}")


# --- Writing --------------------------------------------------------------------------------------


def write(folder: Path, splits: dict[str, list[Picture]], names: tuple[str, ...]) -> int:
    """Write the masks; gives how many objects lose pixels to a smaller one of their class."""
    covered = 0
    for split, pictures in splits.items():
        masks = folder / picture_folder(split).replace("images", "masks", 1)
        for name in names:
            (masks / name).mkdir(parents=True)
        for picture in pictures:
            for label in sorted({annotation.label for annotation in picture.annotations}):
                path = (masks / names[label] / picture.name).with_suffix(".png")
                covered += _write_mask(path, picture, label)
    (folder / _CLASSES).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return covered


def _write_mask(path: Path, picture: Picture, label: int) -> int:
    """The objects of one class, the smaller ones in front; gives how many are partly hidden."""
    crops = [
        rle_to_crop(to_rle(annotation.segmentation, *picture.size))
        for annotation in picture.annotations
        if annotation.label == label
    ]
    areas = np.array([np.count_nonzero(crop.bitmap) for crop in crops])
    labels = np.zeros(picture.size, dtype=np.int64)
    for index in np.argsort(-areas, kind="stable"):
        crop = crops[index]
        rows, columns = crop.bitmap.shape
        window = labels[crop.y : crop.y + rows, crop.x : crop.x + columns]
        window[crop.bitmap] = index + 1
    shown = np.bincount(labels.ravel(), minlength=len(crops) + 1)[1:]
    write_label_map(path, labels)
    return int(np.count_nonzero(shown != areas))
