"""Pictures: missing, broken, of another size, turned, or there more than once."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path

from yolact.data import fields
from yolact.data.doctor.findings import Finding
from yolact.data.doctor.geometry import polygon_reach
from yolact.data.doctor.likeness import Look, alike, look_of
from yolact.data.doctor.survey import Picture, Survey, collecting
from yolact.data.images import image_sizes, read_image, read_orientation
from yolact.errors import ImageError
from yolact.files import sha256_of

_SLACK = 2.0  # pixels by which a label may leave its picture before that means anything


@dataclass(frozen=True)
class Photo:
    """What a picture file holds. Everything but ``error`` is missing if it cannot be read."""

    error: str | None = None
    is_missing: bool = False
    upright: tuple[int, int] = (0, 0)
    """(height, width) once turned as EXIF says."""
    stored: tuple[int, int] = (0, 0)
    orientation: int = 1
    """1 … 8 as EXIF counts; 1 is upright."""
    digest: str | None = None
    """SHA-256 of the file; None if only its header was read."""
    look: Look | None = None


def look_at_all(
    paths: Iterable[Path], *, quick: bool = False, progress: Callable[[int], None] = lambda _: None
) -> dict[Path, Photo]:
    """Read every picture once, several at a time.

    Args:
        paths: Of the files; each is read once, however often it is named.
        quick: Read headers only: what is truncated, or there twice, stays unknown.
        progress: Called with the number of pictures read so far.
    """
    unique = list(dict.fromkeys(paths))
    photos: dict[Path, Photo] = {}
    with ThreadPoolExecutor(cpu_count() or 1) as pool:  # decoding releases Python's lock
        looks = pool.map(lambda path: look_at(path, quick=quick), unique)
        for path, photo in zip(unique, looks, strict=True):
            photos[path] = photo
            progress(len(photos))
    return photos


def look_at(path: Path, *, quick: bool = False) -> Photo:
    """Read one picture."""
    if not path.is_file():
        return Photo(f"there is no picture {path}.", is_missing=True)
    try:
        upright, stored = image_sizes(path)
        orientation = read_orientation(path)
        if quick:
            return Photo(upright=upright, stored=stored, orientation=orientation)
        look = look_of(read_image(path))
    except ImageError as error:
        return Photo(str(error))
    return Photo(None, False, upright, stored, orientation, sha256_of(path), look)


def check_pictures(survey: Survey, photos: dict[Path, Photo]) -> list[Finding]:
    """Files and sizes of one split, picture by picture."""
    findings: list[Finding] = []
    reaches = reach_of_labels(survey)
    for picture in survey.pictures:
        photo = photos[picture.path]
        base = Finding("", survey.split, "", picture.file, picture.index)
        if photo.error is not None:
            code = "missing-picture" if photo.is_missing else "unreadable-picture"
            findings.append(_named(base, code, f"{picture.where}: {photo.error}"))
        elif picture.size is not None:
            reach = reaches.get(picture.index, (0.0, 0.0))
            findings += _size_findings(picture, picture.size, photo, reach, base)
    return findings


def reach_of_labels(survey: Survey) -> dict[int, tuple[float, float]]:
    """Largest (y, x) of any polygon of each picture, by its index; (0, 0) without polygons."""
    reaches: dict[int, tuple[float, float]] = {}
    for labelled in survey.objects:
        y, x = polygon_reach(labelled.entry.get("segmentation"))
        before = reaches.get(labelled.picture.index, (0.0, 0.0))
        reaches[labelled.picture.index] = max(y, before[0]), max(x, before[1])
    return reaches


def fits(reach: tuple[float, float], size: tuple[int, int]) -> bool:
    """Whether labels that reach to (y, x) lie in a picture of (height, width)."""
    return reach[0] <= size[0] + _SLACK and reach[1] <= size[1] + _SLACK


def only_fits_unturned(size: tuple[int, int], photo: Photo, reach: tuple[float, float]) -> bool:
    """Whether labels were made on the picture as stored, though its EXIF orientation says turn."""
    if photo.upright == photo.stored:
        return False
    return size == photo.stored or (
        size == photo.upright and not fits(reach, photo.upright) and fits(reach, photo.stored)
    )


def check_repeats(surveys: Sequence[Survey], photos: dict[Path, Photo]) -> list[Finding]:
    """Pictures that are there more than once, exactly or nearly, in one split or in several."""
    places = [(survey.split, picture) for survey in surveys for picture in survey.pictures]
    findings: list[Finding] = []
    first_of: dict[str, list[tuple[str, Picture]]] = {}
    for split, picture in places:
        digest = photos[picture.path].digest
        if digest is None:
            continue
        known = first_of.setdefault(digest, [])
        if any(one == split and other.file == picture.file for one, other in known):
            continue  # said as repeated-file
        for one, other in known[:1]:
            code = "duplicate-picture" if one == split else "picture-in-two-splits"
            findings.append(_repeat(code, split, picture, "is the same file as", one, other))
        known.append((split, picture))
    originals = [
        (known[0], look)
        for known in first_of.values()
        if (look := photos[known[0][1].path].look) is not None
    ]
    told: set[int] = set()
    for i, j in alike([look for _, look in originals]):
        if j in told:
            continue
        told.add(j)
        (one, other), (split, picture) = originals[i][0], originals[j][0]
        code = "near-duplicate-picture" if one == split else "near-duplicate-across-splits"
        findings.append(_repeat(code, split, picture, "looks like", one, other))
    return findings


def _size_findings(
    picture: Picture,
    size: tuple[int, int],
    photo: Photo,
    reach: tuple[float, float],
    base: Finding,
) -> list[Finding]:
    findings: list[Finding] = []
    turned = only_fits_unturned(size, photo, reach)
    mismatch = _named(base, "exif-rotation" if turned else "size-mismatch", "")
    with collecting(findings, mismatch):
        fields.check_size(picture.path, size, photo.upright, photo.stored, picture.where)
    if findings:
        return findings
    if turned:
        height, width = photo.upright
        text = (
            f"{picture.where} has polygons that leave the upright picture of {width}x{height}, and "
            f"fit the unturned one: its EXIF orientation says turn."
        )
        return [_named(base, "exif-rotation", text)]
    if photo.orientation != 1 and photo.upright == photo.stored and max(reach) > 0:
        text = (
            f"{picture.where} has the EXIF orientation {photo.orientation}, and its size is the same "
            "either way."
        )
        return [_named(base, "exif-undecided", text)]
    return []


def _named(base: Finding, code: str, text: str) -> Finding:
    return Finding(code, base.split, text, base.file, base.image)


def _repeat(
    code: str, split: str, picture: Picture, verb: str, one: str, other: Picture
) -> Finding:
    whose = other.file if one == split else f"{other.file} of {one}"
    return Finding(
        code,
        split,
        f"{picture.where} {verb} {whose}.",
        picture.file,
        picture.index,
        other=other.path,
    )
