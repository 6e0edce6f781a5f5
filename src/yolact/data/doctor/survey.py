"""Ids and fields: what a document says, as far as it says something, and what it says wrongly."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yolact.data import fields
from yolact.data.doctor.findings import Finding
from yolact.data.formats.raw import RawSplit
from yolact.errors import DataError


@dataclass(frozen=True)
class Picture:
    """An image entry with an id and a file name."""

    index: int
    entry: dict[str, Any]
    image_id: int
    file: str
    path: Path
    size: tuple[int, int] | None
    """(height, width) as the labels have it; None if they have none."""

    @property
    def where(self) -> str:
        """For sentences."""
        return f"images[{self.index}]"


@dataclass(frozen=True)
class Labelled:
    """An annotation of a known class on a known picture."""

    index: int
    entry: dict[str, Any]
    picture: Picture
    category_id: int
    is_crowd: bool

    @property
    def where(self) -> str:
        """For sentences."""
        return annotation_name(self.index, self.entry)

    def finding(self, code: str, split: str, text: str) -> Finding:
        """Something that is wrong with it."""
        picture = self.picture
        return Finding(
            code, split, text, picture.file, picture.index, self.index, self.entry.get("id")
        )


@dataclass(frozen=True)
class Survey:
    """One split, read as far as possible."""

    split: str
    raw: RawSplit
    pictures: tuple[Picture, ...]
    """All with an id and a file name, repeated ids included."""
    objects: tuple[Labelled, ...]
    """Those of a repeated image id belong to the first such picture."""
    categories: dict[int, str]
    """Name of each category id, in the order of the file; the first of repeated ids."""
    findings: tuple[Finding, ...]


def survey_split(split: str, raw: RawSplit) -> Survey:
    """Read all entries of a document.

    Raises:
        DataError: If it lacks one of its three lists, or has no category.
    """
    for key in ("images", "annotations", "categories"):
        fields.check_list(raw.document, key, raw.source)
    findings = [Finding("unreadable-labels", split, f"{problem}.") for problem in raw.problems]
    categories = _categories(split, raw.document["categories"], findings)
    if not categories:
        raise DataError(f"{raw.source} names no categories.")
    pictures = _pictures(split, raw, findings)
    objects = _objects(split, raw.document["annotations"], pictures, categories, findings)
    return Survey(split, raw, tuple(pictures), tuple(objects), categories, tuple(findings))


def annotation_name(index: int, entry: Any) -> str:
    """How sentences call an annotation."""
    if not isinstance(entry, dict):
        return f"annotations[{index}]"
    return f"annotations[{index}] (id {fields.shown(entry.get('id'))})"


@contextmanager
def collecting(findings: list[Finding], finding: Finding) -> Iterator[None]:
    """Turn a refusal inside the block into a finding with its sentence."""
    try:
        yield
    except DataError as error:
        findings.append(replace(finding, text=str(error)))


def _categories(split: str, entries: list[Any], findings: list[Finding]) -> dict[int, str]:
    names: dict[int, str] = {}
    for index, entry in enumerate(entries):
        where = f"categories[{index}]"
        with collecting(findings, Finding("bad-field", split, "")):
            fields.check_entry(entry, where)
            category_id, name = fields.whole(entry, "id", where), fields.text(entry, "name", where)
            if category_id in names:
                text = f"{where} repeats the id {category_id}."
                findings.append(Finding("duplicate-category-id", split, text))
            names.setdefault(category_id, name)
    return names


def _pictures(split: str, raw: RawSplit, findings: list[Finding]) -> list[Picture]:
    pictures: list[Picture] = []
    ids: set[int] = set()
    files: dict[str, int] = {}
    for index, entry in enumerate(raw.document["images"]):
        where = f"images[{index}]"
        bad = Finding("bad-field", split, "", image=index)
        file = size = None
        with collecting(findings, bad):
            fields.check_entry(entry, where)
            image_id = fields.whole(entry, "id", where)
            file = fields.text(entry, "file_name", where)
        if file is None:
            continue
        named = replace(bad, file=file)
        with collecting(findings, named):
            size = fields.size(entry, where)
        pictures.append(Picture(index, entry, image_id, file, raw.images / file, size))
        if image_id in ids:
            text = f"{where} repeats the id {image_id}."
            findings.append(replace(named, code="duplicate-image-id", text=text))
        elif file in files:
            text = f"{where} lists the same picture as images[{files[file]}]."
            findings.append(replace(named, code="repeated-file", text=text))
        ids.add(image_id)
        files.setdefault(file, index)
    return pictures


def _objects(
    split: str,
    entries: list[Any],
    pictures: list[Picture],
    categories: dict[int, str],
    findings: list[Finding],
) -> list[Labelled]:
    picture_of: dict[int, Picture] = {}
    for picture in pictures:
        picture_of.setdefault(picture.image_id, picture)
    objects: list[Labelled] = []
    for index, entry in enumerate(entries):
        where = annotation_name(index, entry)
        bad = Finding("bad-field", split, "", annotation=index)
        category_id = None
        with collecting(findings, bad):
            fields.check_entry(entry, where)
            image_id = fields.whole(entry, "image_id", where)
            category_id = fields.whole(entry, "category_id", where)
        if category_id is None:
            continue
        found = picture_of.get(image_id)
        named = replace(bad, annotation_id=entry.get("id"))
        if found is None:
            text = f"{where} belongs to image {image_id}, which is not in the file."
            findings.append(replace(named, code="unknown-image", text=text))
            continue
        named = replace(named, file=found.file, image=found.index)
        if category_id not in categories:
            text = f"{where} has category {category_id}, which is not in the file."
            findings.append(replace(named, code="unknown-category", text=text))
            continue
        is_crowd = False
        with collecting(findings, named):
            is_crowd = fields.is_crowd(entry, where)
        objects.append(Labelled(index, entry, found, category_id, is_crowd))
    seen: set[object] = set()
    for labelled in objects:
        key = _id_of(labelled)
        if key is not None and key in seen:
            text = f"{labelled.where} repeats the id {labelled.entry['id']}."
            findings.append(labelled.finding("duplicate-annotation-id", split, text))
        seen.add(key)
    return objects


def _id_of(labelled: Labelled) -> object:
    """The annotation's id if it can be compared."""
    value = labelled.entry.get("id")
    return value if isinstance(value, int | str) else None
