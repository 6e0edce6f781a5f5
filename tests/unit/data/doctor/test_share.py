from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolact.data.doctor.merge import MergedImage
from yolact.data.doctor.share import share_out
from yolact.errors import UsageError


def image(position, classes, **fields):
    annotations = tuple({"category_id": c, "iscrowd": 0} for c in classes)
    entry = {"id": position, "file_name": f"shot{position // 4}_frame{position}.jpg", **fields}
    return MergedImage(entry, Path("x"), annotations)


def counts(images, positions):
    return Counter(a["category_id"] for i in positions for a in images[i].annotations)


def many(number=300):
    """A common, a rare and a very rare class."""
    rng = np.random.default_rng(0)
    return [
        image(i, [1] * rng.integers(0, 5) + [2] * int(rng.random() < 0.1) + [3] * (i % 60 == 0))
        for i in range(number)
    ]


def test_every_class_is_shared_out_by_its_objects():
    images = many()
    chosen = share_out(images, {"train": 0.7, "val": 0.2, "test": 0.1})
    assert sorted(chain(*chosen.values())) == list(range(300))
    total = counts(images, range(300))
    for split, share in (("train", 0.7), ("val", 0.2), ("test", 0.1)):
        assert len(chosen[split]) == pytest.approx(300 * share, abs=6)
        found = counts(images, chosen[split])
        for category in total:
            assert found[category] == pytest.approx(total[category] * share, rel=0.01, abs=1.01)


def test_groups_stay_together_by_name_or_field():
    images = many()
    for group in (r"(shot\d+)_", r"^shot\d+"):
        chosen = share_out(images, {"train": 0.8, "val": 0.2}, group=group)
        assert not {i // 4 for i in chosen["train"]} & {i // 4 for i in chosen["val"]}
    images = [image(i, [1], video_id=i % 7) for i in range(70)]
    chosen = share_out(images, {"train": 0.8, "val": 0.2}, group="video_id")
    assert not {i % 7 for i in chosen["train"]} & {i % 7 for i in chosen["val"]}


def test_the_seed_decides():
    images = many()
    first = share_out(images, {"train": 0.8, "val": 0.2}, seed=1)
    assert first == share_out(images, {"train": 0.8, "val": 0.2}, seed=1)
    assert first != share_out(images, {"train": 0.8, "val": 0.2}, seed=2)


@given(
    objects=st.lists(st.lists(st.integers(1, 4), max_size=4), min_size=12, max_size=40),
    group=st.sampled_from([None, r"(shot\d+)"]),
    seed=st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_every_picture_is_in_exactly_one_split(objects, group, seed):
    images = [image(i, classes) for i, classes in enumerate(objects)]
    chosen = share_out(images, {"train": 0.6, "val": 0.4}, group=group, seed=seed)
    assert sorted(chain(*chosen.values())) == list(range(len(images)))
    assert all(chosen.values())


@pytest.mark.parametrize(
    ("number", "group", "said"),
    [
        (10, "camera", "neither a field of the images nor found in any file name"),
        (10, "(shot", "is no regular expression"),
        (1, None, "1 groups of pictures cannot be shared out to 2 splits"),
        (4, r"(shot\d)", "1 groups of pictures cannot be shared out to 2 splits"),
    ],
)
def test_mistakes(number, group, said):
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        share_out(many(number), {"train": 0.8, "val": 0.2}, group=group)
