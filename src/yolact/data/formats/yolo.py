"""YOLO's polygons: one text file per picture, one object per line, and a ``data.yaml``.

A line is the number of the class and then x and y of each corner, as fractions of the picture. A
line holds one polygon only; parts and holes are tied together by bridges without width, as
:func:`yolact.ops.outlines.join_loops` makes them, which COCO's rasteriser and this project do not
see. supervision writes the outer outline of each part as a line of its own, so its export is not
used.
"""

from functools import partial
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from yolact.data.coco import to_rle
from yolact.data.formats.raw import Draft, RawSplit, Reader
from yolact.data.formats.splits import (
    UNNAMED,
    in_order,
    is_split_name,
    picture_folder,
    split_called,
    split_folders,
)
from yolact.data.formats.target import Picture
from yolact.data.images import IMAGE_SUFFIXES
from yolact.errors import DataError
from yolact.ops.outlines import Loop, join_loops, trace_outlines
from yolact.ops.rle import rle_to_crop

# Digits of a coordinate in pixels that are read: enough for any label, too few for the error of
# dividing by the picture's side and multiplying again.
_DIGITS = 6


# --- Reading --------------------------------------------------------------------------------------


def find_splits(data: Path) -> dict[str, Reader]:
    """What a ``data.yaml`` names, in the folder or given itself; empty if there is none.

    Without one, ``classes.txt`` beside ``images/`` and ``labels/``, as Label Studio exports.
    """
    found = _find_yaml(data)
    if found is not None:
        path, content = found
        names = _names(content["names"], path)
        places = _places(content, path)
        return {
            split: partial(_read, path, [_resolved(path, content, text) for text in texts], names)
            for split, texts in places.items()
        }
    listed = data / "classes.txt"
    if listed.is_file() and (data / "images").is_dir() and (data / "labels").is_dir():
        lines = listed.read_text(encoding="utf-8-sig").splitlines()
        names = dict(enumerate(line.strip() for line in lines if line.strip()))
        return {
            split: partial(_read, listed, [folder], names)
            for split, folder in split_folders(data / "images").items()
        }
    return {}


def _find_yaml(data: Path) -> tuple[Path, dict[str, Any]] | None:
    """The file that names classes and splits, and what it holds."""
    if data.is_file():
        candidates = [data] if data.suffix in (".yaml", ".yml") else []
    else:
        candidates = sorted(
            (path for suffix in ("yaml", "yml") for path in data.glob(f"*.{suffix}")),
            key=lambda path: (path.stem != "data", path.name),
        )
    for path in candidates:
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            if path.stem == "data":
                reason = " ".join(str(error).split())
                raise DataError(f"{path} is not readable YAML: {reason}.") from error
            continue
        if isinstance(content, dict) and "names" in content and _places(content, path):
            return path, content
    return None


def _places(content: dict[str, Any], path: Path) -> dict[str, list[str]]:
    """The folders or lists of each split, as the file has them."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        if key in ("path", "names", "download") or not value:
            continue
        texts = value if isinstance(value, list) else [value]
        if not all(isinstance(text, str) for text in texts):
            continue
        # Other keys mean anything; they are splits if they lead somewhere.
        is_known = is_split_name(str(key)) or split_called(str(key)) == UNNAMED
        if is_known or all(_resolved(path, content, text).exists() for text in texts):
            found.setdefault(split_called(str(key)), texts)
    return in_order(found)


def _resolved(path: Path, content: dict[str, Any], text: str) -> Path:
    """Where a split is, though the file may have moved since its paths were written.

    Roboflow's ``../train/images`` means a folder beside the file, and ``/content/x/train/images``
    is a path of another machine; the end of both is true here.
    """
    base = path.parent / str(content.get("path") or ".")
    wanted = PurePath(text)
    for root in (base, path.parent):
        if (found := root / wanted).exists():
            return found
    for first in range(1, len(wanted.parts) - 1):
        if (found := path.parent.joinpath(*wanted.parts[first:])).exists():
            return found
    return base / wanted


def _names(names: Any, path: Path) -> dict[int, str]:
    """Class number -> name."""
    listed = dict(enumerate(names)) if isinstance(names, list) else names
    if (
        not isinstance(listed, dict)
        or not listed
        or not all(isinstance(number, int) for number in listed)
    ):
        raise DataError(f"{path}: names is no list of class names and no table of them by number.")
    return {number: str(name) for number, name in listed.items()}


def _read(source: Path, places: list[Path], names: dict[int, str]) -> RawSplit:
    draft = Draft(source.parent)
    for place in places:
        if not place.exists():
            raise DataError(f"{source} speaks of {place}, which is not there.")
        for picture in _pictures(place, source.parent):
            added = draft.add_image(picture, picture)
            if added is not None:
                _read_labels(draft, _labels_of(picture), *added)
    return draft.finish(source, sorted(names.items()))


def _pictures(place: Path, root: Path) -> list[Path]:
    """The pictures in a folder and below it, or those that a text file lists."""
    if place.is_dir():
        return sorted(path for path in place.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    lines = filter(None, map(str.strip, place.read_text(encoding="utf-8-sig").splitlines()))
    found = []
    for line in lines:
        beside, below = place.parent / line, root / line
        found.append(beside if beside.exists() or not below.exists() else below)
    return found


def _labels_of(picture: Path) -> Path:
    """``…/labels/a.txt`` of ``…/images/a.jpg``; beside the picture if it is in no such folder."""
    parts = list(picture.parts)
    last = max((i for i, part in enumerate(parts[:-1]) if part == "images"), default=None)
    if last is not None:
        parts[last] = "labels"
    return Path(*parts).with_suffix(".txt")


def _read_labels(draft: Draft, path: Path, image_id: int, size: tuple[int, int]) -> None:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return  # a picture without objects
    except (OSError, UnicodeDecodeError) as error:
        draft.add_problem(path, f"cannot be read: {error}")
        return
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        origin = f"{path}:{number}"
        try:
            label, *values = map(float, words)
            category_id = int(label)
        except (ValueError, OverflowError):
            draft.add_problem(origin, "holds something that is no number")
            continue
        if category_id != label:
            draft.add_problem(origin, f"begins with {words[0]}, which is no number of a class")
        elif len(values) == 4:
            draft.add_problem(origin, "holds a box, not the outline of an object")
        elif len(values) < 6 or len(values) % 2:
            draft.add_problem(
                origin, f"has {len(values)} coordinates, which are not three or more x, y pairs"
            )
        else:
            draft.add_object(image_id, category_id, [_in_pixels(values, size)], origin)


def _in_pixels(values: list[float], size: tuple[int, int]) -> list[float]:
    height, width = size
    xs = [round(value * width, _DIGITS) for value in values[0::2]]
    ys = [round(value * height, _DIGITS) for value in values[1::2]]
    return [value for point in zip(xs, ys, strict=True) for value in point]


# --- Writing --------------------------------------------------------------------------------------


def write(folder: Path, splits: dict[str, list[Picture]], names: tuple[str, ...]) -> None:
    """Write labels and ``data.yaml``; every object exactly."""
    for split, pictures in splits.items():
        labels = folder / picture_folder(split).replace("images", "labels", 1)
        for picture in pictures:
            path = (labels / picture.name).with_suffix(".txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_lines(picture), encoding="utf-8")
    content: dict[str, Any] = {split: picture_folder(split) for split in splits}
    content |= {"nc": len(names), "names": dict(enumerate(names))}
    (folder / "data.yaml").write_text(
        yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )


def _lines(picture: Picture) -> str:
    lines = []
    for annotation in picture.annotations:
        fractions = _fractions(annotation.segmentation, picture.size)
        lines.append(" ".join([str(annotation.label), *(f"{v:.12g}" for v in fractions)]) + "\n")
    return "".join(lines)


def _fractions(segmentation: Any, size: tuple[int, int]) -> list[float]:
    """One polygon that is read back as the same pixels."""
    mask = to_rle(segmentation, *size)
    if isinstance(segmentation, list):
        # As it is, if that works: not if parts overlap, or it goes beyond the picture.
        own = [np.array(polygon, dtype=np.float64).reshape(-1, 2) for polygon in segmentation]
        fractions = _scaled(join_loops(own), size)
        if to_rle([_in_pixels(fractions, size)], *size)["counts"] == mask["counts"]:
            return fractions
    outlines = trace_outlines(rle_to_crop(mask))
    loops: list[Loop] = [loop for part in outlines for loop in (part.exterior, *part.holes)]
    return _scaled(join_loops(loops), size)


def _scaled(polygon: NDArray[np.float64], size: tuple[int, int]) -> list[float]:
    """Fractions in [0, 1], because other readers drop a picture that has one outside."""
    scaled = np.clip(polygon / (size[1], size[0]), 0, 1)
    return [float(f"{value:.12g}") for value in scaled.ravel().tolist()]
