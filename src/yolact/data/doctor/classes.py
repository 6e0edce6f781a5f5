"""Classes: names, numbers in each split, crowds, and pictures without anything."""

from collections import Counter
from collections.abc import Sequence

from yolact.data.doctor.findings import Finding
from yolact.data.doctor.survey import Survey

_IMBALANCE = 20  # times
_MOSTLY = 0.5  # share of crowds


def check_classes(survey: Survey) -> list[Finding]:
    """Names and counts of one split."""
    split, findings = survey.split, _similar_names(survey)
    objects = [labelled for labelled in survey.objects if not labelled.is_crowd]
    num_crowds = len(survey.objects) - len(objects)
    if num_crowds > _MOSTLY * len(survey.objects):
        text = f"{num_crowds} of {len(survey.objects)} annotations are marked iscrowd."
        findings.append(Finding("mostly-crowds", split, text))
    counts = Counter(labelled.category_id for labelled in objects)
    present = {i: counts[i] for i in survey.categories if counts[i]}
    if present:
        most, least = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
        if present[most] >= _IMBALANCE * present[least]:
            text = (
                f"there are {present[most]} objects of {survey.categories[most]}, and "
                f"{present[least]} of {survey.categories[least]}."
            )
            findings.append(Finding("class-imbalance", split, text))
    labelled_pictures = {labelled.picture.image_id for labelled in survey.objects}
    findings += [
        Finding("no-objects", split, f"{p.where} has no objects.", p.file, p.index)
        for p in survey.pictures
        if p.image_id not in labelled_pictures
    ]
    return findings


def compare_classes(surveys: Sequence[Survey]) -> list[Finding]:
    """Classes of all splits; the first is the one to train on."""
    first, *others = surveys
    counts = {
        survey.split: Counter(
            survey.categories[labelled.category_id]
            for labelled in survey.objects
            if not labelled.is_crowd
        )
        for survey in surveys
    }
    findings = []
    for name in dict.fromkeys(name for s in surveys for name in s.categories.values()):
        there = [survey.split for survey in surveys if counts[survey.split][name]]
        if not there:
            text = f"there is no object of {name}."
            findings.append(Finding("class-without-objects", first.split, text))
        elif first.split not in there:
            text = (
                f"there are objects of {name} in {' and '.join(there)}, but none in {first.split}."
            )
            findings.append(Finding("class-only-in-validation", first.split, text))
        else:
            findings += [
                Finding("class-not-validated", other.split, f"there is no object of {name}.")
                for other in others
                if other.split not in there
            ]
    for other in others:
        for category_id, name in other.categories.items():
            if first.categories.get(category_id) != name:
                text = (
                    f"{other.split} has category {category_id} {name!r}, which in {first.split} is "
                    f"{first.categories.get(category_id, 'missing')!r}."
                )
                findings.append(Finding("classes-differ", other.split, text))
    return findings


def _similar_names(survey: Survey) -> list[Finding]:
    first_of: dict[str, str] = {}
    findings = []
    for category_id, name in survey.categories.items():
        plain = "".join(name.casefold().split())
        if plain in first_of:
            text = (
                f"category {category_id} is called {name!r}, and another one {first_of[plain]!r}."
            )
            findings.append(Finding("similar-class-names", survey.split, text))
        first_of.setdefault(plain, name)
    return findings
