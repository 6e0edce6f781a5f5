"""Pascal VOC's instance masks, and SBD's: label maps of objects and of classes.

VOC's are pictures, where 255 is the border around objects that belongs to nobody; CVAT and others
write the same folders with their own classes in ``labelmap.txt``. SBD's are files of MATLAB.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolact.data.formats.label_map import read_label_map
from yolact.data.formats.raw import Draft, RawSplit, Reader
from yolact.data.formats.splits import UNNAMED, in_order, split_called
from yolact.data.images import IMAGE_SUFFIXES
from yolact.errors import DataError
from yolact.ops.rle import labels_to_rles

CLASS_NAMES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
"""The classes of Pascal VOC, from category id 1."""

_VOID = 255
_VOID_COLOUR = 224 * 65536 + 224 * 256 + 192

_Maps = Callable[[str], tuple[NDArray[np.integer[Any]], dict[int, int]]]
"""Name of a picture -> its objects' numbers, and the category id of each; OSError if unreadable."""


def find_splits(data: Path) -> dict[str, Reader]:
    """The lists of a VOC or SBD folder, or of one that holds it; empty if it is none."""
    if not data.is_dir():
        return {}
    candidates = [data, *sorted(data.glob("VOC20*/")), *sorted(data.glob("VOCdevkit/VOC20*/"))]
    for root in candidates:
        if (root / "SegmentationObject").is_dir():
            lists = sorted((root / "ImageSets" / "Segmentation").glob("*.txt"))
            return _readers(lists, partial(_read_voc, root), root / "SegmentationObject")
    for root in (data, data / "dataset", data / "benchmark_RELEASE" / "dataset"):
        if any((root / "inst").glob("*.mat")):
            return _readers(sorted(root.glob("*.txt")), partial(_read_sbd, root), root / "inst")
    return {}


def _readers(
    lists: list[Path], read: Callable[[Path, list[str]], RawSplit], folder: Path
) -> dict[str, Reader]:
    """One for each list of names; the whole folder, if there is none."""
    found = in_order({split_called(path.stem): path for path in lists})
    if {"train", "val"} <= set(found):
        found.pop("trainval", None)  # both once more
    if not found:
        return {UNNAMED: lambda: read(folder, sorted(path.stem for path in folder.iterdir()))}
    return {split: partial(_read_list, path, read) for split, path in found.items()}


def _read_list(path: Path, read: Callable[[Path, list[str]], RawSplit]) -> RawSplit:
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return read(path, [line.split()[0] for line in lines if line.strip()])


def _read_voc(root: Path, source: Path, names: list[str]) -> RawSplit:
    classes, ids = _classes(root)

    def maps(name: str) -> tuple[NDArray[np.integer[Any]], dict[int, int]]:
        objects = read_label_map(root / "SegmentationObject" / f"{name}.png")
        is_coloured = bool((objects > _VOID).any())
        objects[objects == (_VOID_COLOUR if is_coloured else _VOID)] = 0
        kinds = read_label_map(root / "SegmentationClass" / f"{name}.png", palette=True)
        if kinds.shape != objects.shape:
            raise OSError("its SegmentationClass has another size")
        return objects, {
            number: ids.get(_most(kinds[objects == number]), 0)
            for number in np.unique(objects[objects != 0]).tolist()
        }

    return _read(root / "JPEGImages", root / "SegmentationObject", source, names, classes, maps)


def _most(values: NDArray[np.integer[Any]]) -> int:
    """The colour of a class that an object's pixels have, its border aside."""
    colours, counts = np.unique(
        values[(values != 0) & (values != _VOID_COLOUR)], return_counts=True
    )
    return int(colours[counts.argmax()]) if len(colours) else 0


def _read_sbd(root: Path, source: Path, names: list[str]) -> RawSplit:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DataError(
            f"{root / 'inst'} holds files of MATLAB: 'pip install scipy' to read them."
        ) from error

    def maps(name: str) -> tuple[NDArray[np.integer[Any]], dict[int, int]]:
        path = root / "inst" / f"{name}.mat"
        if not path.is_file():
            raise OSError("is not there")
        try:
            truth: Any = loadmat(path)["GTinst"][0, 0]
            objects = np.asarray(truth["Segmentation"]).astype(np.int64)
            kinds = np.asarray(truth["Categories"]).ravel().tolist()
        except Exception as error:  # a damaged file makes the reader raise almost anything
            raise OSError(f"cannot be read: {error}") from error
        return objects, dict(enumerate(map(int, kinds), start=1))

    classes = dict(enumerate(CLASS_NAMES, start=1))
    return _read(root / "img", root / "inst", source, names, classes, maps)


def _read(
    pictures: Path,
    labels: Path,
    source: Path,
    names: list[str],
    classes: dict[int, str],
    maps: _Maps,
) -> RawSplit:
    draft = Draft(pictures)
    suffix_of = {
        path.stem: path.suffix
        for path in (sorted(pictures.iterdir()) if pictures.is_dir() else ())
        if path.suffix.lower() in IMAGE_SUFFIXES
    }
    for name in names:
        origin = labels / name
        added = draft.add_image(pictures / f"{name}{suffix_of.get(name, '.jpg')}", origin)
        if added is None:
            continue
        image_id, size = added
        try:
            objects, kinds = maps(name)
        except OSError as error:
            draft.add_problem(origin, str(error))
            continue
        if objects.shape != size:
            shape = f"{objects.shape[1]}x{objects.shape[0]}"
            draft.add_problem(origin, f"is {shape} pixels, its picture {size[1]}x{size[0]}")
            continue
        for number, rle in labels_to_rles(objects).items():
            where = f"{origin}: object {number}"
            if kinds.get(number) not in classes:
                draft.add_problem(where, "has no class")
            else:
                draft.add_object(image_id, kinds[number], dict(rle), where)
    return draft.finish(source, classes.items())


def _classes(root: Path) -> tuple[dict[int, str], dict[int, int]]:
    """Category id -> name, and colour in the pictures -> category id."""
    try:
        lines = (root / "labelmap.txt").read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        ids = range(1, len(CLASS_NAMES) + 1)
        return dict(zip(ids, CLASS_NAMES, strict=True)), {_colour(number): number for number in ids}
    classes: dict[int, str] = {}
    id_of: dict[int, int] = {}
    for number, line in enumerate(lines, start=1):
        name, _, rest = line.partition(":")
        if not name.strip() or name.startswith("#"):
            continue
        try:
            red, green, blue = map(int, rest.split(":")[0].split(","))
        except ValueError as error:
            raise DataError(f"{root / 'labelmap.txt'}:{number} has no colour.") from error
        packed = red * 65536 + green * 256 + blue
        if packed != 0:  # the background
            classes[len(classes) + 1] = name
            id_of[packed] = len(classes)
    return classes, id_of


def _colour(number: int) -> int:
    """VOC's colour of a class: its bits are dealt to red, green and blue, highest first."""
    channels = [0, 0, 0]
    for bit in range(8):
        channels[bit % 3] |= (number >> bit & 1) << 7 - bit // 3
    return channels[0] * 65536 + channels[1] * 256 + channels[2]
