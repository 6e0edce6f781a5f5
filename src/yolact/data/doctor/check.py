"""The whole examination of a data set: every check, on every split, in one pass over the pictures."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from yolact.config.presets import Recipe
from yolact.data.doctor.anchors import AnchorReport, check_anchors
from yolact.data.doctor.classes import check_classes, compare_classes
from yolact.data.doctor.findings import KINDS, Finding
from yolact.data.doctor.geometry import (
    Shape,
    check_areas,
    check_boxes,
    check_outlines,
    check_twins,
    measure,
)
from yolact.data.doctor.pictures import Photo, check_pictures, check_repeats, look_at_all
from yolact.data.doctor.survey import Survey, survey_split
from yolact.data.formats.raw import RawSplit


@dataclass(frozen=True)
class Examination:
    """All that was found, and what it was found in."""

    surveys: tuple[Survey, ...]
    """The split to train on is the first."""
    photos: dict[Path, Photo] = field(repr=False)
    shapes: dict[str, list[Shape]] = field(repr=False)
    """The objects of each split whose masks can be read."""
    findings: tuple[Finding, ...]
    """Grave ones first, then in the order of the table of kinds."""
    anchors: AnchorReport | None
    """None if no object could be matched."""

    def count(self, severity: str) -> int:
        """Findings of one severity."""
        return sum(finding.kind.severity == severity for finding in self.findings)

    def by_code(self) -> dict[str, list[Finding]]:
        """Findings of each code, in order."""
        groups: dict[str, list[Finding]] = {}
        for finding in self.findings:
            groups.setdefault(finding.code, []).append(finding)
        return groups


def examine(
    splits: Mapping[str, RawSplit],
    recipe: Callable[[tuple[str, ...]], Recipe],
    model: str,
    *,
    quick: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Examination:
    """Check a data set.

    Args:
        splits: Its splits by name, the one to train on first.
        recipe: Of the model to train, for these class names.
        model: What to call it.
        quick: Do not decode pictures: truncated and repeated ones are not found.
        progress: Called with the number of pictures read so far.

    Raises:
        DataError: If a document lacks one of its lists.
    """
    surveys = tuple(survey_split(split, raw) for split, raw in splits.items())
    photos = look_at_all(
        (picture.path for survey in surveys for picture in survey.pictures),
        quick=quick,
        progress=progress,
    )
    findings: list[Finding] = [finding for survey in surveys for finding in survey.findings]
    shapes: dict[str, list[Shape]] = {}
    anchors: AnchorReport | None = None
    names = tuple(surveys[0].categories.values())
    for survey in surveys:
        split = survey.split
        findings += check_pictures(survey, photos)
        measured = shapes[split] = measure(survey, findings)
        findings += check_boxes(split, measured)
        findings += check_areas(split, measured)
        findings += check_outlines(split, measured)
        findings += check_twins(split, measured)
        findings += check_classes(survey)
        report, found = check_anchors(
            split, measured, recipe(names), model, is_training=survey is surveys[0]
        )
        anchors = report or anchors
        findings += found
    findings += check_repeats(surveys, photos)
    findings += compare_classes(surveys)
    rank = {code: number for number, code in enumerate(KINDS)}
    grave = {"error": 0, "warning": 1, "info": 2}
    findings.sort(key=lambda finding: (grave[finding.kind.severity], rank[finding.code]))
    return Examination(surveys, photos, shapes, tuple(findings), anchors)


def totals(examination: Examination) -> dict[str, int]:
    """Number of findings of each code."""
    return dict(Counter(finding.code for finding in examination.findings))
