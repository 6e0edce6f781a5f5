"""A mended copy of a data set: what can be decided safely is, the rest is left out or left alone."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from yolact.data import fields
from yolact.data.coco import to_rle
from yolact.data.doctor.check import Examination
from yolact.data.doctor.findings import Finding
from yolact.data.doctor.frames import Frame, find_frame
from yolact.data.doctor.geometry import (
    EDGE_SLACK,
    area_fits,
    as_edges,
    as_numbers,
    distance_outside,
    fits_mask,
    is_number,
    shape_of,
)
from yolact.data.doctor.pictures import reach_of_labels
from yolact.data.doctor.survey import Labelled, Picture, Survey, annotation_name
from yolact.data.doctor.writing import CocoSplit, free_name, write_coco
from yolact.errors import DataError
from yolact.files import refuse_existing


@dataclass(frozen=True)
class Change:
    """One thing that is other in the mended copy."""

    split: str
    text: str
    """One sentence."""
    file: str | None = None
    """The picture, as the labels call it."""


def mend(examination: Examination, out: Path) -> list[Change]:
    """Write a mended copy in COCO's form.

    Args:
        examination: Of the data set as it is.
        out: New or empty folder.

    Returns:
        Every change, split by split.

    Raises:
        UsageError: If ``out`` is there and not empty.
    """
    refuse_existing(out)
    changes: list[Change] = []
    categories = _unified_categories(examination, changes)
    splits: dict[str, CocoSplit] = {}
    elsewhere: dict[object, str] = {}
    # Later splits first: what is in two of them stays where it measures, not where it teaches.
    for survey in reversed(examination.surveys):
        mending = _Mending(survey, examination, changes)
        pictures = mending.pictures(elsewhere)
        elsewhere |= {mending.content(picture): survey.split for picture in pictures}
        splits[survey.split] = mending.written(pictures, *categories[survey.split])
    order = [survey.split for survey in examination.surveys]
    write_coco(out, {split: splits[split] for split in order})
    return sorted(changes, key=lambda change: order.index(change.split))


class _Mending:
    """One split while it is mended."""

    def __init__(self, survey: Survey, examination: Examination, changes: list[Change]) -> None:
        self._survey = survey
        self._photos = examination.photos
        self._changes = changes
        self._findings = [f for f in examination.findings if f.split == survey.split]
        self._frames: dict[int, Frame] = {}
        self._target: dict[int, int] = {}  # index of a picture -> that of the entry it is kept as
        self._objects: dict[int, list[Labelled]] = defaultdict(list)
        for labelled in survey.objects:
            self._objects[labelled.picture.index].append(labelled)

    def pictures(self, elsewhere: dict[object, str]) -> list[Picture]:
        """Those to keep, with ids of their own; those of splits in ``elsewhere`` stay there."""
        self._explain_unread()
        kept: list[Picture] = []
        first_of: dict[str, Picture] = {}
        reaches = reach_of_labels(self._survey)
        for picture in self._renumbered():
            where = picture.where
            if picture.file in first_of:
                self._target[picture.index] = first_of[picture.file].index
                self._say(f"{where} was joined with {first_of[picture.file].where}.", picture.file)
                continue
            photo = self._photos[picture.path]
            if photo.error is not None:
                self._drop(picture, photo.error.rstrip("."))
                continue
            if self.content(picture) in elsewhere:
                self._drop(picture, f"it is also in {elsewhere[self.content(picture)]}")
                continue
            frame = find_frame(
                picture.size, photo, reaches.get(picture.index, (0, 0)), self._rle_sizes(picture)
            )
            if frame is None:
                self._drop(picture, "its labels do not fit the picture, which needs a person")
                continue
            self._explain_frame(picture, frame)
            self._frames[picture.index] = frame
            self._target[picture.index] = picture.index
            first_of[picture.file] = picture
            kept.append(picture)
        return kept

    def content(self, picture: Picture) -> object:
        """What tells whether two pictures are the same file."""
        return self._photos[picture.path].digest or picture.path.resolve()

    def written(
        self, pictures: list[Picture], entries: list[dict[str, Any]], renumbered: dict[int, int]
    ) -> CocoSplit:
        """The document of the pictures kept, with every object that could be."""
        by_target: dict[int, list[Labelled]] = defaultdict(list)
        for index, objects in self._objects.items():
            if index in self._target:
                by_target[self._target[index]] += objects
        used = [i for o in self._survey.objects if type(i := o.entry.get("id")) is int]
        new_ids, taken_ids = count(max(used, default=0) + 1), set[int]()
        names: set[str] = set()
        images, annotations = [], []
        for picture in pictures:
            height, width = self._frames[picture.index].size
            images.append(
                picture.entry
                | {
                    "id": picture.image_id,
                    "file_name": free_name(picture.file, names),
                    "height": height,
                    "width": width,
                }
            )
            seen: dict[object, Labelled] = {}
            for labelled in sorted(by_target[picture.index], key=lambda o: o.index):
                entry = self._mended(labelled, self._frames[labelled.picture.index], seen)
                if entry is None:
                    continue
                if type(entry.get("id")) is not int or entry["id"] in taken_ids:
                    entry["id"] = next(new_ids)
                    self._say(f"{labelled.where} got the id {entry['id']}.", picture.file)
                taken_ids.add(entry["id"])
                entry["image_id"] = picture.image_id
                entry["category_id"] = renumbered[labelled.category_id]
                annotations.append(entry)
        document = self._survey.raw.document | {
            "images": images,
            "annotations": annotations,
            "categories": entries,
        }
        return CocoSplit(document, tuple(picture.path for picture in pictures))

    def _renumbered(self) -> list[Picture]:
        """All pictures whose objects are known, each id once but for entries of one file."""
        pictures = self._survey.pictures
        files_of: dict[int, dict[str, Picture]] = defaultdict(dict)
        for picture in pictures:
            files_of[picture.image_id].setdefault(picture.file, picture)
        new_ids = count(max((picture.image_id for picture in pictures), default=0) + 1)
        kept = []
        for picture in pictures:
            files = files_of[picture.image_id]
            first = next(iter(files.values()))
            if len(files) == 1 or (first.file == picture.file and not self._objects[first.index]):
                kept.append(picture)
            elif self._objects[first.index]:
                self._drop(
                    picture,
                    f"other pictures have its id {picture.image_id}, too, and nobody can tell whose "
                    "the objects are, which needs a person",
                )
            else:
                kept.append(replace(picture, image_id=next(new_ids)))
                self._say(f"{picture.where} got the id {kept[-1].image_id}.", picture.file)
        return kept

    def _mended(
        self, labelled: Labelled, frame: Frame, seen: dict[object, Labelled]
    ) -> dict[str, Any] | None:
        """A sound entry for the object; None if it had to be dropped."""
        where, file = labelled.where, labelled.picture.file
        entry = dict(labelled.entry)
        done: list[str] = []
        if isinstance(entry.get("segmentation"), list):
            sound = [polygon for polygon in entry["segmentation"] if _is_polygon(polygon)]
            if sound and len(sound) < len(entry["segmentation"]):
                done.append("lost what is no polygon")
                entry["segmentation"] = sound
        try:
            entry["segmentation"] = frame.map(fields.present(entry, "segmentation", "it"))
            rle = to_rle(entry["segmentation"], *frame.size)
        except (ValueError, DataError) as error:
            self._say(f"{where} was dropped: {str(error).rstrip('.')}.", file)
            return None
        here = replace(labelled, entry=entry, picture=replace(labelled.picture, size=frame.size))
        shape = shape_of(here, rle, None)
        if shape.bounds is None:
            self._say(f"{where} was dropped: its mask has no pixel in the picture.", file)
            return None
        key = (rle["counts"], labelled.category_id, labelled.is_crowd)
        if key in seen:
            self._say(f"{where} was dropped: it is the same object as {seen[key].where}.", file)
            return None
        seen[key] = labelled
        polygons = entry["segmentation"]
        if isinstance(polygons, list) and distance_outside(polygons, frame.size) > EDGE_SLACK:
            entry["segmentation"] = {"size": list(frame.size), "counts": _text(rle["counts"])}
            done.append("was clipped to the picture")
        bbox = entry.get("bbox")
        if bbox not in (None, []):
            numbers = as_numbers(bbox)
            edges = None if numbers is None else as_edges(numbers)
            if frame.changes_labels or edges is None or not fits_mask(edges, shape):
                if numbers is not None and not frame.changes_labels and fits_mask(numbers, shape):
                    x1, y1, x2, y2 = numbers
                    done.append("had its box turned from corners to x, y, width, height")
                else:
                    x1, y1, x2, y2 = shape.bounds
                    done.append("got its box from its mask")
                entry["bbox"] = [x1, y1, x2 - x1, y2 - y1]
        area = entry.get("area")
        if area is not None and not (is_number(area) and area_fits(area, shape)):
            entry["area"] = shape.area
            done.append("got its area from its mask")
        if entry.get("iscrowd") not in (None, 0, 1):
            entry["iscrowd"] = 0
            done.append("is no crowd")
        if done and not frame.changes_labels:
            self._say(f"{where} {', '.join(done)}.", file)
        return entry

    def _rle_sizes(self, picture: Picture) -> set[tuple[int, int]]:
        sizes = set()
        for labelled in self._objects[picture.index]:
            match labelled.entry.get("segmentation"):
                case {"size": [int(height), int(width)]}:
                    sizes.add((height, width))
        return sizes

    def _explain_frame(self, picture: Picture, frame: Frame) -> None:
        height, width = frame.size
        if frame.orientation != 1:
            text = f"the labels of {picture.where} were turned upright, to {width}x{height}."
        elif frame.changes_labels:
            text = f"the labels of {picture.where} were scaled to {width}x{height}."
        elif picture.size != frame.size:
            text = f"{picture.where} got the size of its picture, {width}x{height}."
        else:
            return
        self._say(text, picture.file)

    def _explain_unread(self) -> None:
        """What never became a picture or an object."""
        for finding in self._findings:
            if finding.code == "unreadable-labels":
                self._say(f"{finding.text.rstrip('.')}, so it is missing.")
        document = self._survey.raw.document
        read = {picture.index for picture in self._survey.pictures}
        objects = {labelled.index for labelled in self._survey.objects}
        for index in range(len(document["images"])):
            if index not in read:
                self._drop_unread(
                    f"images[{index}]", [f for f in self._findings if f.image == index]
                )
        for index, entry in enumerate(document["annotations"]):
            if index not in objects:
                reasons = [f for f in self._findings if f.annotation == index]
                self._drop_unread(annotation_name(index, entry), reasons)

    def _drop_unread(self, where: str, reasons: Iterable[Finding]) -> None:
        reason = next(iter(reasons)).text.removeprefix(where).strip().rstrip(".")
        self._say(f"{where} was dropped: it {reason}.")

    def _drop(self, picture: Picture, reason: str) -> None:
        lost = len(self._objects[picture.index])
        self._say(f"{picture.where} was dropped with {lost} objects: {reason}.", picture.file)

    def _say(self, text: str, file: str | None = None) -> None:
        self._changes.append(Change(self._survey.split, text, file))


def _unified_categories(
    examination: Examination, changes: list[Change]
) -> dict[str, tuple[list[dict[str, Any]], dict[int, int]]]:
    """For each split its category entries, and the new id of each old one.

    Splits that agree stay as they are. Otherwise classes are the same if their names are, and all
    splits get all classes under the ids of the first.
    """
    own = {survey.split: _entries(survey) for survey in examination.surveys}
    for finding in examination.findings:
        where, _, reason = finding.text.partition(" ")
        if where.startswith("categories["):
            text = f"{where} was dropped: it {reason}"
            changes.append(Change(finding.split, text))
    if not any(finding.code == "classes-differ" for finding in examination.findings):
        return {
            split: (entries, {e["id"]: e["id"] for e in entries}) for split, entries in own.items()
        }
    by_name: dict[str, dict[str, Any]] = {}
    used: set[int] = set()
    for entries in own.values():
        for entry in entries:
            if entry["name"] not in by_name:
                free = entry["id"] if entry["id"] not in used else max(used) + 1
                used.add(free)
                by_name[entry["name"]] = entry | {"id": free}
    unified = list(by_name.values())
    result = {}
    for split, entries in own.items():
        numbers = {entry["id"]: by_name[entry["name"]]["id"] for entry in entries}
        result[split] = (unified, numbers)
        if numbers != {entry["id"]: entry["id"] for entry in unified}:
            text = "the categories became those of all splits, numbered as in the first."
            changes.append(Change(split, text))
    return result


def _entries(survey: Survey) -> list[dict[str, Any]]:
    """The first category entry of each id."""
    entries: dict[int, dict[str, Any]] = {}
    for entry in survey.raw.document["categories"]:
        if not isinstance(entry, dict) or type(entry.get("id")) is not int:
            continue
        if survey.categories.get(entry["id"], entry) == entry.get("name"):
            entries.setdefault(entry["id"], entry)
    return list(entries.values())


def _is_polygon(polygon: Any) -> bool:
    return (
        isinstance(polygon, list)
        and len(polygon) >= 6
        and len(polygon) % 2 == 0
        and all(map(is_number, polygon))
    )


def _text(counts: str | bytes) -> str:
    return counts.decode("ascii") if isinstance(counts, bytes) else counts
