import dataclasses

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from yolact.config.model import ModelConfig
from yolact.data.coco import Annotation, CocoInstances, ImageRecord, decode_mask
from yolact.data.dataset import TrainingSamples, collate
from yolact.data.images import read_image
from yolact.errors import DataError, ImageError
from yolact.processing.preprocess import Preprocessor

SIZE = (64, 96)  # of the network's input
MASKS = (32, 48)
HEIGHT, WIDTH = 60, 80  # of the pictures
CONFIG = ModelConfig(class_names=("dark", "bright", "other"), image_size=SIZE)


def rectangle(x1, y1, x2, y2, label=0):
    return Annotation(label, (x1, y1, x2, y2), [[x1, y1, x2, y1, x2, y2, x1, y2]], is_crowd=False)


def crowd(x1, y1, x2, y2):
    return dataclasses.replace(rectangle(x1, y1, x2, y2, label=2), is_crowd=True)


ANNOTATIONS = (
    (rectangle(10, 5, 40, 35), rectangle(30, 30, 75, 55, label=1)),
    (),
    (crowd(8, 8, 60, 50),),
    (rectangle(20, 20, 22, 50), rectangle(40, 30, 70, 32)),  # three pixels at most, shown whole
    (rectangle(0, 0, 30, 25), crowd(10, 20, 70, 58), rectangle(50, 10, 50, 40)),
)
OBJECTS, EMPTY, CROWD, TINY, MIXED = range(5)


@pytest.fixture(scope="module")
def instances(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    records = []
    for i, annotations in enumerate(ANNOTATIONS):
        path = folder / f"{i}.png"
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(cv2.resize(coarse, (WIDTH, HEIGHT))).save(path)
        records.append(ImageRecord(100 + i, path, HEIGHT, WIDTH, annotations))
    return CocoInstances(folder / "x.json", CONFIG.class_names, (1, 2, 3), tuple(records), {})


@pytest.fixture
def make(instances):
    def make(augmentation="original", seed=0, data=instances):
        return TrainingSamples(
            data, Preprocessor(CONFIG), MASKS, augmentation=augmentation, seed=seed
        )

    return make


def is_same(one, other):
    fields = [f.name for f in dataclasses.fields(one.target)]
    return (
        one.image_id == other.image_id
        and torch.equal(one.image, other.image)
        and all(torch.equal(getattr(one.target, f), getattr(other.target, f)) for f in fields)
    )


def test_length(make):
    assert len(make()) == 5


def test_a_sample_depends_on_seed_and_index_alone(make):
    indices = [(epoch, position) for epoch in range(3) for position in range(5)]
    first, again = make(seed=4), make(seed=4)
    forwards = {index: first[index] for index in indices}
    backwards = {index: again[index] for index in reversed(indices)}
    assert all(is_same(forwards[index], backwards[index]) for index in indices)
    assert not any(is_same(forwards[0, p], forwards[1, p]) for p in range(5))
    assert not any(is_same(forwards[0, p], make(seed=5)[0, p]) for p in range(5))


def test_every_picture_of_an_epoch_has_chances_of_its_own(make, instances):
    samples = make(data=dataclasses.replace(instances, records=(instances.records[OBJECTS],) * 6))
    images = [samples[0, position].image for position in range(6)]
    assert not any(torch.equal(images[0], image) for image in images[1:])


@pytest.mark.parametrize("augmentation", ["original", "flip", "none"])
def test_shapes_types_and_ranges(make, augmentation):
    samples = make(augmentation)
    num_objects = 0
    for epoch in range(20):
        for position in range(5):
            sample = samples[epoch, position]
            target, count = sample.target, len(sample.target.labels)
            num_objects += count
            assert sample.image_id == 100 + position
            assert (sample.image.dtype, sample.image.shape) == (torch.float32, (3, *SIZE))
            assert sample.image.isfinite().all()
            assert (target.boxes.dtype, target.boxes.shape) == (torch.float32, (count, 4))
            assert (target.masks.dtype, target.masks.shape) == (torch.uint8, (count, *MASKS))
            assert (target.labels.dtype, target.is_crowd.dtype) == (torch.int64, torch.bool)
            assert target.is_crowd.shape == (count,)
            assert ((target.masks == 0) | (target.masks == 1)).all()
            assert ((target.boxes >= 0) & (target.boxes <= 1)).all()
            sides = (target.boxes[:, 2:] - target.boxes[:, :2]) * torch.tensor([96.0, 64.0])
            assert (sides >= 4 - 1e-4).all()
            assert not target.masks[target.is_crowd].any()
    assert num_objects > 50


@pytest.mark.parametrize("augmentation", ["original", "flip", "none"])
def test_the_box_of_a_mask_is_the_box(make, augmentation):
    samples = make(augmentation)
    for epoch in range(40):
        target = samples[epoch, OBJECTS].target
        for box, mask in zip(target.boxes.numpy(), target.masks.numpy(), strict=True):
            rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
            found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            np.testing.assert_allclose(found, box * (48, 32, 48, 32), atol=1)


def test_pictures_without_objects(make):
    for augmentation in ("original", "flip", "none"):
        for epoch in range(5):
            target = make(augmentation)[epoch, EMPTY].target
            assert target.boxes.shape == (0, 4)
            assert target.masks.shape == (0, *MASKS)
            assert target.labels.shape == target.is_crowd.shape == (0,)


def test_pictures_with_a_crowd_only(make):
    target = make("none")[0, CROWD].target
    assert target.is_crowd.tolist() == [True]
    np.testing.assert_allclose(target.boxes, [[0.1, 8 / 60, 0.75, 50 / 60]], atol=1e-6)
    counts = {len(make()[epoch, CROWD].target.labels) for epoch in range(40)}
    assert counts == {0, 1}  # no crop is held to show a crowd


def test_objects_too_small_to_learn_are_dropped(make):
    target = make("none")[0, TINY].target
    assert target.boxes.shape == (0, 4)
    assert target.masks.shape == (0, *MASKS)


def test_objects_too_small_become_large_enough_in_a_crop(make):
    assert {len(make()[epoch, TINY].target.labels) for epoch in range(60)} >= {0, 1}


def test_labels_and_crowds_stay_with_their_boxes(make):
    target = make("none")[0, MIXED].target  # the third object has no width
    assert target.labels.tolist() == [0, 2]
    assert target.is_crowd.tolist() == [False, True]
    expected = [[0, 0, 30 / 80, 25 / 60], [10 / 80, 20 / 60, 70 / 80, 58 / 60]]
    np.testing.assert_allclose(target.boxes, expected, atol=1e-6)


def test_none_shows_what_the_preprocessor_makes(make, instances):
    samples = make("none")
    for position, record in enumerate(instances.records):
        expected = Preprocessor(CONFIG)([read_image(record.path)])[0]
        for epoch in range(2):
            assert torch.equal(samples[epoch, position].image, expected)


def test_flip_turns_picture_and_truth_together(make):
    samples, plain = make("flip"), make("none")[0, OBJECTS]
    mirrored_boxes = plain.target.boxes[:, [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1.0])
    mirrored_boxes += torch.tensor([1, 0, 1, 0.0])
    num_flipped = 0
    for epoch in range(60):
        sample = samples[epoch, OBJECTS]
        if torch.equal(sample.image, plain.image):
            assert is_same(sample, plain)
            continue
        num_flipped += 1
        assert torch.equal(sample.image, plain.image.flip(2))
        torch.testing.assert_close(sample.target.boxes, mirrored_boxes)
        assert torch.equal(sample.target.masks, plain.target.masks.flip(2))
        assert torch.equal(sample.target.labels, plain.target.labels)
    assert 15 < num_flipped < 45


def test_augmented_masks_lie_on_their_objects(make, tmp_path):
    """A bright disc on black: whatever the view and the colours, it is bright inside its mask."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    outline = np.stack([45 + 16 * np.cos(angles), 28 + 16 * np.sin(angles)], axis=1)
    crop = decode_mask([outline.ravel().tolist()], HEIGHT, WIDTH)
    rows, columns = crop.bitmap.shape
    picture = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    picture[crop.y : crop.y + rows, crop.x : crop.x + columns][crop.bitmap] = (255, 250, 240)
    Image.fromarray(picture).save(tmp_path / "disc.png")
    disc = Annotation(1, (29.0, 12.0, 61.0, 44.0), [outline.ravel().tolist()], is_crowd=False)
    record = ImageRecord(1, tmp_path / "disc.png", HEIGHT, WIDTH, (disc,))
    data = CocoInstances(tmp_path / "x.json", CONFIG.class_names, (1, 2, 3), (record,), {})
    samples = make(data=data)
    seen = 0
    for epoch in range(80):
        sample = samples[epoch, 0]
        if not len(sample.target.labels):
            continue
        brightness = sample.image.mean(dim=0).numpy()
        mask = np.kron(sample.target.masks[0].numpy(), np.ones((2, 2), dtype=np.uint8))
        inside = cv2.erode(mask, np.ones((5, 5))) > 0
        x1, y1, x2, y2 = sample.target.boxes[0].numpy() * (96, 64, 96, 64)
        in_box = np.zeros(SIZE, dtype=bool)
        in_box[round(y1) : round(y2), round(x1) : round(x2)] = True
        around = in_box & (cv2.dilate(mask, np.ones((5, 5))) == 0)
        if inside.any() and around.any():
            seen += 1
            assert brightness[inside].min() > brightness[around].max()
    assert seen > 40


def test_the_canvas_around_an_expanded_picture_is_the_mean_colour(make):
    """After normalising that is zero, and so says nothing."""
    shares = [
        (make()[epoch, EMPTY].image == 0).all(dim=0).float().mean().item() for epoch in range(60)
    ]
    assert min(shares) < 0.01
    assert max(shares) > 0.5


def test_unreadable_pictures_are_named(make, instances, tmp_path):
    record = dataclasses.replace(instances.records[0], path=tmp_path / "gone.png")
    samples = make(data=dataclasses.replace(instances, records=(record,)))
    with pytest.raises(ImageError, match=r"gone\.png"):
        samples[0, 0]


def test_masks_that_cannot_be_decoded_are_named(make, instances):
    broken = dataclasses.replace(
        ANNOTATIONS[OBJECTS][0], segmentation={"size": [HEIGHT, WIDTH], "counts": "0o"}
    )
    record = dataclasses.replace(instances.records[0], annotations=(broken,))
    samples = make("none", data=dataclasses.replace(instances, records=(record,)))
    with pytest.raises(DataError, match=r"a mask of .*0\.png \(image 100\) cannot be decoded"):
        samples[0, 0]


def test_collate(make):
    samples = [make()[0, position] for position in range(5)]
    batch = collate(samples)
    assert batch.images.shape == (5, 3, *SIZE)
    assert torch.equal(batch.images[3], samples[3].image)
    assert batch.targets == tuple(sample.target for sample in samples)
    assert batch.image_ids == (100, 101, 102, 103, 104)
