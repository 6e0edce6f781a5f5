"""Sharing pictures out to splits so that each has its part of every class.

Iterative stratification (Sechidis et al., "On the Stratification of Multi-label Data", 2011), counted
in objects: the rarest class is shared out first, since common ones can still be balanced later.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from yolact.data.doctor.merge import MergedImage
from yolact.errors import UsageError

_SLACK = 0.02  # of all pictures, by which a split may grow for the sake of its classes


@dataclass(frozen=True)
class _Group:
    """Pictures that stay together."""

    positions: tuple[int, ...]
    objects: Counter[int]
    """Number of objects of each category id; crowds do not count."""


def share_out(
    images: Sequence[MergedImage],
    shares: Mapping[str, float],
    *,
    group: str | None = None,
    seed: int = 0,
) -> dict[str, list[int]]:
    """Choose a split for every picture.

    Args:
        images: Of the whole data set.
        shares: Part of each split, each above 0, together 1.
        group: Pictures of one group stay together: a field of the image entries, or a regular
            expression whose first group (or whole match) in the file name tells them apart.
        seed: The same seed, the same result.

    Returns:
        Positions of the pictures of each split, ascending.

    Raises:
        UsageError: If the group names nothing, or there are fewer groups than splits.
    """
    groups = _groups(images, group)
    if len(groups) < len(shares):
        raise UsageError(
            f"{len(groups)} groups of pictures cannot be shared out to {len(shares)} splits."
        )
    rng = np.random.default_rng(seed)
    waiting = [groups[i] for i in rng.permutation(len(groups))]
    totals: Counter[int] = sum((g.objects for g in groups), Counter())
    wanted = {
        split: {category: share * number for category, number in totals.items()}
        for split, share in shares.items()
    }
    wanted_pictures = {split: share * len(images) for split, share in shares.items()}
    chosen: dict[str, list[int]] = {split: [] for split in shares}

    def give(one: _Group, category: int | None) -> None:
        split = max(
            shares,
            key=lambda s: (
                # Else classes of one object each could fill one split with all pictures.
                wanted_pictures[s] > -_SLACK * len(images),
                0.0 if category is None else round(wanted[s][category], 6),
                wanted_pictures[s],
            ),
        )
        chosen[split] += one.positions
        wanted_pictures[split] -= len(one.positions)
        for key, number in one.objects.items():
            wanted[split][key] -= number

    left = Counter(totals)
    while left:
        rarest = min(left, key=lambda category: (left[category], category))
        having = [one for one in waiting if one.objects[rarest]]
        for one in sorted(having, key=lambda one: -one.objects[rarest]):  # stable: chance decides
            give(one, rarest)
            left -= one.objects
        waiting = [one for one in waiting if not one.objects[rarest]]
        del left[rarest]
    for one in sorted(waiting, key=lambda one: -len(one.positions)):
        give(one, None)
    empty = [split for split, positions in chosen.items() if not positions]
    if empty:
        raise UsageError(f"there is nothing left for {empty[0]}: choose other shares.")
    return {split: sorted(positions) for split, positions in chosen.items()}


def _groups(images: Sequence[MergedImage], group: str | None) -> list[_Group]:
    members: dict[object, list[int]] = {}
    for position, key in enumerate(_keys(images, group)):
        members.setdefault(key, []).append(position)
    return [
        _Group(
            tuple(positions),
            Counter(
                annotation["category_id"]
                for position in positions
                for annotation in images[position].annotations
                if not annotation.get("iscrowd")
            ),
        )
        for positions in members.values()
    ]


def _keys(images: Sequence[MergedImage], group: str | None) -> list[object]:
    """What tells the groups apart, for each picture; one that has nothing is a group of its own."""
    if group is None:
        return list(range(len(images)))
    values: list[object] = [image.entry.get(group) for image in images]
    if all(value is None for value in values):
        try:
            found = [re.search(group, image.entry["file_name"]) for image in images]
        except re.error as error:
            raise UsageError(f"--group {group} is no regular expression: {error}.") from error
        values = [None if m is None else m.group(min(m.re.groups, 1)) for m in found]
    if all(value is None for value in values):
        raise UsageError(
            f"--group {group} is neither a field of the images nor found in any file name."
        )
    # A tuple cannot be mistaken for a value of the file.
    return [(i,) if value is None else str(value) for i, value in enumerate(values)]
