import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_mask
from hypothesis import HealthCheck, given, settings

from strategies import coco_documents, write_coco
from yolact.data.coco import to_rle
from yolact.data.formats.convert import TARGETS, convert
from yolact.data.formats.read import list_splits, load_split
from yolact.data.images import opened_picture


def labels(data, split="train"):
    """Bytes of each picture -> its objects: label, crowd or not, pixels."""
    found = {}
    for record in load_split(data, split).records:
        with opened_picture(record.path) as file:
            content = file.read()
        found[content] = Counter(
            (
                annotation.label,
                annotation.is_crowd,
                coco_mask.decode(
                    to_rle(annotation.segmentation, record.height, record.width)
                ).tobytes(),
            )
            for annotation in record.annotations
        )
    return found


def expected(before, target):
    """What the target can say of them, how often it cannot, and whether objects share pixels."""
    after, lost, is_overlapping = {}, 0, False
    for content, objects in before.items():
        after[content] = Counter()
        seen = set()
        for (label, is_crowd, pixels), count in objects.items():
            if target != "coco" and (not any(pixels) or (is_crowd and target != "labelme")):
                lost += count
                continue
            after[content][label, is_crowd, pixels] = count
            mine = {(label, int(index)) for index in np.flatnonzero(np.frombuffer(pixels, "u1"))}
            is_overlapping |= count > 1 or bool(seen & mine)
            seen |= mine
    return after, lost, is_overlapping


@pytest.mark.parametrize("target", TARGETS)
@given(document=coco_documents().filter(lambda document: document["images"]))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_valid_coco_file_survives(target, document):
    """There and back again: pixels, classes and crowds where the target has them; losses counted."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = write_coco(folder / "data", train=document, val=document | {"annotations": []})
        done = convert(data, folder / "there", target)
        convert(folder / "there", folder / "back", "coco")
        assert list_splits(folder / "there") == list_splits(folder / "back") == ("train", "val")
        assert done.splits["train"] == (len(document["images"]), len(document["annotations"]))
        assert not any(labels(folder / "back", "val").values())
        after, lost, is_overlapping = expected(labels(data), target)
        if target == "png" and is_overlapping:
            assert sum(done.not_expressed.values()) > lost
        else:
            assert labels(folder / "there") == labels(folder / "back") == after
            assert sum(done.not_expressed.values()) == lost
