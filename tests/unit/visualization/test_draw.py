import numpy as np
import pytest
from numpy.typing import NDArray

from yolact.ops.masks import CroppedMask
from yolact.visualization import draw
from yolact.visualization.draw import draw_instances

NAMES = ("person", "potted plant", "Straßenschild", "кошка")


def scene(
    size: tuple[int, int], boxes: list[tuple[int, int, int, int]], labels: list[int] | None = None
) -> NDArray[np.uint8]:
    """A grey picture with filled rectangles as objects, best first."""
    crops = [
        CroppedMask(x1, y1, np.ones((y2 - y1, x2 - x1), dtype=np.bool_)) for x1, y1, x2, y2 in boxes
    ]
    return draw_instances(
        np.full((*size, 3), 100, dtype=np.uint8),
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array(labels or [0] * len(boxes), dtype=np.int64),
        np.linspace(0.9, 0.5, len(boxes), dtype=np.float32),
        NAMES,
        crops,
    )


def changed(drawn: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray((drawn != 100).any(axis=2))


def test_fills_the_mask_and_nothing_far_from_it() -> None:
    drawn = changed(scene((300, 400), [(100, 100, 200, 200)]))
    assert drawn[100:200, 100:200].all()
    assert not drawn[210:, :].any()
    assert not drawn[:, 220:].any()
    assert not drawn[:70, :].any()


def test_no_objects_change_nothing() -> None:
    assert not changed(scene((20, 30), [])).any()


def test_a_hole_stays_visible_and_gets_its_outline() -> None:
    bitmap = np.ones((100, 100), dtype=np.bool_)
    bitmap[30:70, 30:70] = False
    image = np.full((300, 300, 3), 100, dtype=np.uint8)
    drawn = draw_instances(
        image,
        np.array([(100, 100, 200, 200)], dtype=np.float32),
        np.zeros(1, dtype=np.int64),
        np.ones(1, dtype=np.float32),
        NAMES,
        [CroppedMask(100, 100, bitmap)],
    )
    assert not changed(drawn)[135:165, 135:165].any()
    fill, outline = drawn[115, 115], drawn[129, 150]
    assert np.abs(outline.astype(int) - 100).sum() > np.abs(fill.astype(int) - 100).sum()
    assert (image == 100).all()


def test_an_object_without_mask_shows_its_box() -> None:
    drawn = draw_instances(
        np.full((300, 300, 3), 100, dtype=np.uint8),
        np.array([(100, 100, 200, 200)], dtype=np.float32),
        np.zeros(1, dtype=np.int64),
        np.ones(1, dtype=np.float32),
        NAMES,
        [CroppedMask(0, 0, np.zeros((0, 0), dtype=np.bool_))],
    )
    seen = changed(drawn)
    assert seen[199, 100:200].all()
    assert seen[100:200, 199].all()
    assert not seen[150, 110:190].any()


def test_the_best_is_drawn_on_top() -> None:
    alone = scene((300, 300), [(50, 100, 150, 200)])
    # Same place, worse, other colour: the outline seen is the better one's.
    both = scene((300, 300), [(50, 100, 150, 200), (50, 100, 150, 200)], [0, 1])
    np.testing.assert_array_equal(both[199, 60:140], alone[199, 60:140])


def test_a_class_keeps_its_hue_and_neighbours_differ() -> None:
    boxes = np.array([(x, 0, x + 9, 9) for x in (50, 10, 30, 70, 90)], dtype=np.float32)
    colours = draw._instance_colours(np.zeros(5, dtype=np.int64), boxes)
    assert len(set(colours)) == 5
    blue_is_strongest = [np.argmax(colour) == 2 for colour in colours]
    assert all(blue_is_strongest)
    nearest = min(
        np.abs(np.subtract(one, other)).sum()
        for one, other in ((colours[1], colours[2]), (colours[2], colours[0]))
    )
    assert nearest > 40


def test_eighty_classes_have_eighty_colours() -> None:
    assert len({draw._colour(label, 0) for label in range(80)}) == 80


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 300), (300, 1), (12, 12), (64, 64), (480, 640), (3000, 4000)]
)
def test_every_size_can_be_drawn(size: tuple[int, int]) -> None:
    height, width = size
    boxes = [(0, 0, width, height), (width // 2, height // 2, width, height)]
    drawn = scene(size, boxes, [1, 2])
    assert drawn.shape == (*size, 3)
    assert changed(drawn).any()


def test_labels_stay_inside_and_off_each_other() -> None:
    boxes = np.array([(5, 5, 60, 60), (8, 8, 70, 70), (580, 2, 640, 50), (2, 440, 30, 480)])
    crops = [
        CroppedMask(x1, y1, np.ones((y2 - y1, x2 - x1), dtype=np.bool_)) for x1, y1, x2, y2 in boxes
    ]
    scores = np.array([0.9, 0.8, 0.7, 0.6], dtype=np.float32)
    chips = draw._arrange_chips(
        (480, 640),
        boxes.astype(np.float32),
        np.array([0, 1, 2, 3]),
        scores,
        NAMES,
        crops,
        draw._scale((480, 640)),
    )
    assert [index for index, _ in chips] == [3, 2, 1, 0]
    count = np.zeros((480, 640), dtype=np.int64)
    for _, chip in chips:
        height, width = chip.coverage.shape
        assert 0 <= chip.x <= 640 - width
        assert 0 <= chip.y <= 480 - height
        count[chip.y : chip.y + height, chip.x : chip.x + width] += 1
    assert count.max() == 1


def test_many_labels_leave_most_of_the_picture_visible() -> None:
    boxes = [(x, y, x + 40, y + 40) for x in range(0, 280, 20) for y in range(0, 200, 20)]
    crops = [CroppedMask(0, 0, np.zeros((0, 0), dtype=np.bool_))] * len(boxes)
    chips = draw._arrange_chips(
        (240, 320),
        np.array(boxes, dtype=np.float32),
        np.zeros(len(boxes), dtype=np.int64),
        np.linspace(1, 0, len(boxes), dtype=np.float32),
        NAMES,
        crops,
        draw._scale((240, 320)),
    )
    assert 10 < len(chips) < len(boxes)
    assert sum(chip.coverage.size for _, chip in chips) <= 240 * 320 / 3


def test_long_names_are_shortened() -> None:
    scale = draw._scale((64, 64))
    assert draw._shortened("dog", 0.873, 64, scale) == "dog 0.87"
    assert draw._shortened("person", 1.0, 50, scale) == "person"
    shortened = draw._shortened("potted plant", 0.5, 50, scale)
    assert shortened.endswith("…")
    assert shortened.startswith("pot")
    assert draw._shortened("dog", 0.5, 3, scale) == ""
