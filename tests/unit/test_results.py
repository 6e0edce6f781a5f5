import io
import json
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask as coco_mask
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pycocotools.coco import COCO
from torch.nn import functional as F

from oracles import masks as oracle
from yolact import results
from yolact.errors import UsageError
from yolact.ops.finished_masks import finish_masks
from yolact.ops.masks import CroppedMask, assemble_masks, crop_masks
from yolact.processing.preprocess import fit
from yolact.results import Masks, Polygon, Result
from yolact.structures import Detections

NAMES = ("person", "dog", "cat")
SIZE = (48, 64)


def detections(boxes: list[tuple[float, ...]], seed: int = 0, cells: int = 9) -> Detections:
    random = torch.Generator().manual_seed(seed)
    number = len(boxes)
    return Detections(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        scores=torch.linspace(0.9, 0.3, number) if number else torch.zeros(0),
        labels=torch.arange(number) % len(NAMES),
        coefficients=torch.rand((number, 4), generator=random) * 2 - 1,
        prototypes=torch.randn((4, cells, cells + 2), generator=random).relu(),
    )


THREE_BOXES = [(0.1, 0.1, 0.6, 0.7), (0.3, 0.2, 0.9, 0.9), (0.0, 0.5, 0.5, 1.0)]


def result_of_three(*, path: str | None = None, image: NDArray[np.uint8] | None = None) -> Result:
    return Result.from_detections(detections(THREE_BOXES), SIZE, NAMES, path=path, image=image)


def straightforward(found: Detections, size: tuple[int, int]) -> NDArray[np.float32]:
    """Full-size interpolation of everything, as the original does; the object is above 0.5."""
    if not len(found):
        return np.zeros((0, *size), dtype=np.float32)
    soft = crop_masks(assemble_masks(found.prototypes, found.coefficients), found.boxes)
    large = F.interpolate(soft[None], size, mode="bilinear", align_corners=False)[0]
    return large.numpy()


def assert_same_pixels(bitmaps: NDArray[np.bool_], soft: NDArray[np.float32]) -> None:
    assert bitmaps.shape == soft.shape
    # Where all prototypes are zero a probability is exactly 0.5, and the order of additions
    # decides on which side its interpolation ends.
    differs = (bitmaps != (soft > 0.5)) & (np.abs(soft - 0.5) > 1e-6)
    assert not differs.any()


def bitmap_of(*rows: str) -> NDArray[np.bool_]:
    return np.array([[letter == "#" for letter in row] for row in rows], dtype=np.bool_)


@pytest.fixture
def assembled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many masks each call made."""
    calls: list[int] = []

    def counting(prototypes: torch.Tensor, coefficients: torch.Tensor, *rest, **more):
        calls.append(len(coefficients))
        return finish_masks(prototypes, coefficients, *rest, **more)

    monkeypatch.setattr(results, "finish_masks", counting)
    return calls


class TestMasks:
    def test_nothing_is_assembled_before_it_is_read(self, assembled: list[int]) -> None:
        result = result_of_three()
        some = result[1:].filter(0.1)[[True, False]]
        assert (len(result.masks), len(some.masks)) == (3, 1)
        assert "2 person" not in repr(result)
        assert assembled == []

    def test_reading_one_assembles_one_once(self, assembled: list[int]) -> None:
        masks = result_of_three().masks
        np.testing.assert_array_equal(masks[-1], masks[2])
        assert assembled == [1]
        masks.numpy()
        masks.rle()
        assert assembled == [1, 2]

    def test_selecting_keeps_what_is_already_made(self, assembled: list[int]) -> None:
        result = result_of_three()
        result.masks.area()
        result[::-1].masks.area()
        assert assembled == [3]

    def test_what_is_kept_is_small(self) -> None:
        result = result_of_three()
        crops, runs = result.masks.crops(), result.masks.runs()
        assert sum(one.lengths.nbytes for one in runs) < sum(c.bitmap.nbytes for c in crops) / 5
        assert [(one.x, one.y) for one in runs] == [(crop.x, crop.y) for crop in crops]

    @settings(deadline=None, max_examples=60)
    @given(
        boxes=st.lists(st.tuples(*[st.floats(-0.5, 1.5, width=32)] * 4), max_size=3),
        height=st.integers(1, 70),
        width=st.integers(1, 70),
        cells=st.integers(1, 12),
        seed=st.integers(0, 3),
    )
    def test_same_pixels_as_the_straightforward_way(
        self,
        boxes: list[tuple[float, ...]],
        height: int,
        width: int,
        cells: int,
        seed: int,
    ) -> None:
        found = detections(boxes, seed, cells)
        masks = Masks(found, (height, width))
        bitmaps = masks.numpy()
        assert_same_pixels(bitmaps, straightforward(found, (height, width)))
        np.testing.assert_array_equal(masks.area(), bitmaps.sum(axis=(1, 2)))
        for index, rle in enumerate(masks.rle()):
            np.testing.assert_array_equal(coco_mask.decode(rle), bitmaps[index])
            np.testing.assert_array_equal(masks[index], bitmaps[index])

    def test_one_alone_has_the_same_pixels_as_among_all(self) -> None:
        for index, bitmap in enumerate(result_of_three().masks.numpy()):
            np.testing.assert_array_equal(result_of_three().masks[index], bitmap)

    def test_masks_without_a_crop_are_the_networks_own(self) -> None:
        found = replace(detections(THREE_BOXES), crop="none")
        soft = assemble_masks(found.prototypes, found.coefficients)
        large = F.interpolate(soft[None], SIZE, mode="bilinear", align_corners=False)[0].numpy()
        assert_same_pixels(Masks(found, SIZE).numpy(), large)
        assert_same_pixels(Masks(found, SIZE).select([2, 0]).numpy(), large[[2, 0]])

    def test_a_margin_lets_masks_grow(self) -> None:
        found = detections(THREE_BOXES)
        areas = [
            Masks(replace(found, crop=crop, crop_margin=margin), SIZE).area().sum()
            for crop, margin in [("hard", 0.0), ("soft", 0.3), ("hard", 0.3), ("none", 0.0)]
        ]
        assert areas == sorted(areas)
        assert len(set(areas)) == 4

    def test_crops_are_the_smallest_windows(self) -> None:
        bitmap = np.zeros((10, 12), dtype=np.bool_)
        bitmap[2:5, 3:9] = True
        masks = Masks.from_crops(
            [CroppedMask(1, 1, bitmap), CroppedMask(4, 4, np.zeros((2, 2), dtype=np.bool_))],
            (20, 20),
        )
        window, empty = masks.crops()
        assert (window.x, window.y, window.bitmap.shape) == (4, 3, (3, 6))
        assert empty.bitmap.shape == (0, 0)
        np.testing.assert_array_equal(masks.area(), [18, 0])
        assert masks.area().dtype == np.int64

    def test_no_objects(self) -> None:
        masks = Masks(detections([]), SIZE)
        assert masks.numpy().shape == (0, *SIZE)
        assert (len(masks), masks.rle(), masks.polygons(), list(masks.area())) == (0, [], [], [])

    def test_an_index_beyond_the_end_is_an_error(self) -> None:
        with pytest.raises(IndexError):
            result_of_three().masks[3]


class TestPolygons:
    def parts(self, bitmap: NDArray[np.bool_], holes: bool = True) -> list[Polygon]:
        masks = Masks.from_crops([CroppedMask(2, 3, bitmap)], (40, 40))
        return masks.polygons(holes)[0]

    def refilled(self, parts: list[Polygon]) -> NDArray[np.bool_]:
        canvas = np.zeros((40, 40), dtype=np.uint8)
        outlines = [
            line.astype(np.int32) for part in parts for line in (part.exterior, *part.holes)
        ]
        cv2.fillPoly(canvas, outlines, 1)
        return canvas.astype(np.bool_)

    def test_a_rectangle_runs_through_the_centres_of_its_corner_pixels(self) -> None:
        (part,) = self.parts(np.ones((4, 6), dtype=np.bool_))
        assert sorted(map(tuple, part.exterior.tolist())) == [(2, 3), (2, 6), (7, 3), (7, 6)]
        assert part.holes == ()

    def test_islands_and_holes(self) -> None:
        bitmap = bitmap_of(
            "#######...",
            "#.....#.##",
            "#.###.#.##",
            "#.###.#...",
            "#.....#...",
            "#######..#",
        )
        parts = self.parts(bitmap)
        assert sorted(len(part.holes) for part in parts) == [0, 0, 0, 1]
        assert all(not part.holes for part in self.parts(bitmap, holes=False))
        refilled = self.refilled(parts)
        np.testing.assert_array_equal(refilled[3:9, 2:12], bitmap)
        assert refilled.sum() == bitmap.sum()

    @settings(deadline=None)
    @given(seed=st.integers(0, 200), smoothing=st.sampled_from([0, 1, 3, 6]))
    def test_filling_them_gives_the_same_pixels(self, seed: int, smoothing: int) -> None:
        noise = np.random.default_rng(seed).standard_normal((30, 35)).astype(np.float32)
        if smoothing:
            noise = cv2.GaussianBlur(noise, (0, 0), smoothing)
        bitmap = noise > 0
        np.testing.assert_array_equal(self.refilled(self.parts(bitmap))[3:33, 2:37], bitmap)


class TestBoxes:
    def test_pixels_with_fractions_in_order_and_inside(self) -> None:
        found = detections(
            [(0.25, 0.5, 0.501, 0.75), (0.5, 0.75, 0.25, 0.5), (-0.1, 0.2, 0.5, 1.3)]
        )
        boxes = Result.from_detections(found, (100, 200), NAMES).boxes
        assert boxes.dtype == np.float32
        np.testing.assert_allclose(
            boxes, [(50, 50, 100.2, 75), (50, 50, 100, 75), (0, 20, 100, 100)], rtol=1e-6
        )

    def test_a_box_outside_is_empty_not_inverted(self) -> None:
        boxes = Result.from_detections(detections([(1.2, -0.5, 1.4, -0.2)]), (480, 640), NAMES)
        np.testing.assert_array_equal(boxes.boxes, [(640, 0, 640, 0)])

    def test_zero_detections(self) -> None:
        result = Result.from_detections(detections([]), SIZE, NAMES)
        assert (len(result), result.boxes.shape, result.scores.shape) == (0, (0, 4), (0,))
        assert result.to_coco() == result.to_dict()["objects"] == []
        assert len(result.to_supervision()) == len(result[[]]) == 0
        assert repr(result) == "Result(64x48: nothing found)"


class TestResult:
    def test_repr_says_what_is_in_the_picture(self) -> None:
        result = result_of_three(path="holiday/street.jpg")[[0, 0, 1]]
        assert repr(result) == "Result(street.jpg, 64x48: 2 person, 1 dog)"

    def test_indexing_keeps_everything_aligned(self) -> None:
        result = result_of_three()
        for key, kept in (
            (1, [1]),
            (-1, [2]),
            (slice(0, 2), [0, 1]),
            ([2, 0], [2, 0]),
            (np.array([False, True, True]), [1, 2]),
        ):
            some = result[key]
            np.testing.assert_array_equal(some.boxes, result.boxes[kept])
            np.testing.assert_array_equal(some.scores, result.scores[kept])
            np.testing.assert_array_equal(some.labels, result.labels[kept])
            np.testing.assert_array_equal(some.masks.numpy(), result.masks.numpy()[kept])

    def test_filter_keeps_the_scores_above_the_limit(self) -> None:
        assert [len(result_of_three().filter(score)) for score in (0, 0.59, 0.61, 1)] == [
            3,
            2,
            1,
            0,
        ]

    def test_dict_is_json(self) -> None:
        document = json.loads(json.dumps(result_of_three(path="a/b.jpg").to_dict()))
        assert document["path"] == str(Path("a/b.jpg"))
        assert document["image_size"] == [48, 64]
        first = document["objects"][0]
        assert (first["label"], first["name"], first["score"]) == (0, "person", 0.9)
        assert len(first["box"]) == 4
        np.testing.assert_array_equal(coco_mask.decode(first["mask"]), result_of_three().masks[0])

    def test_numbers_in_json_are_the_float32_numbers(self) -> None:
        result = result_of_three()
        boxes = [entry["box"] for entry in result.to_dict()["objects"]]
        np.testing.assert_array_equal(np.array(boxes, dtype=np.float32), result.boxes)

    @pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools with NumPy 2
    def test_coco_entries_are_read_by_pycocotools(self) -> None:
        result = result_of_three()
        entries = json.loads(json.dumps(result.to_coco(7, category_ids=[1, 18, 17])))
        with redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = {
                "images": [{"id": 7, "height": 48, "width": 64}],
                "categories": [{"id": id_} for id_ in (1, 18, 17)],
                "annotations": [],
            }
            truth.createIndex()
            read = truth.loadRes(entries)
        annotations = read.loadAnns(read.getAnnIds())
        assert [each["category_id"] for each in annotations] == [1, 18, 17]
        assert {each["image_id"] for each in annotations} == {7}
        for each, box, bitmap in zip(annotations, result.boxes, result.masks, strict=True):
            np.testing.assert_array_equal(coco_mask.decode(each["segmentation"]), bitmap)
            x, y, width, height = each["bbox"]
            np.testing.assert_allclose((x, y, x + width, y + height), box, rtol=1e-5)

    def test_coco_category_ids_count_from_one_by_default(self) -> None:
        assert [each["category_id"] for each in result_of_three().to_coco()] == [1, 2, 3]

    def test_supervision(self) -> None:
        result = result_of_three()
        found = result.to_supervision()
        np.testing.assert_array_equal(found.xyxy, result.boxes)
        np.testing.assert_array_equal(found.confidence, result.scores)
        np.testing.assert_array_equal(found.class_id, result.labels)
        np.testing.assert_array_equal(found.mask, result.masks.numpy())
        assert list(found.data["class_name"]) == ["person", "dog", "cat"]


class TestMaskScores:
    def result(self, image: NDArray[np.uint8] | None = None) -> Result:
        found = replace(detections(THREE_BOXES), mask_scores=torch.tensor([0.2, 0.0, 1.25]))
        return Result.from_detections(found, SIZE, NAMES, image=image)

    def test_plain_models_rank_masks_as_boxes(self) -> None:
        result = result_of_three()
        np.testing.assert_array_equal(result.mask_scores, result.scores)
        assert "mask_score" not in result.to_dict()["objects"][0]
        assert "mask_score" not in result.to_coco()[0]

    def test_both_scores_are_kept(self) -> None:
        result = self.result()
        np.testing.assert_array_equal(result.scores, result_of_three().scores)
        np.testing.assert_array_equal(result.mask_scores, np.float32([0.2, 0.0, 1.25]))
        for entries in (result.to_dict()["objects"], result.to_coco()):
            assert [entry["mask_score"] for entry in entries] == [0.2, 0.0, 1.25]
            assert [entry["score"] for entry in entries] == [0.9, 0.6, 0.3]

    def test_picking_keeps_them_aligned_and_filters_by_class_score(self) -> None:
        result = self.result()
        np.testing.assert_array_equal(result[[2, 0]].mask_scores, np.float32([1.25, 0.2]))
        assert result.filter(0.5).mask_scores.tolist() == pytest.approx([0.2, 0])
        some = result[1:]
        np.testing.assert_array_equal(some.masks.numpy(), result.masks.numpy()[1:])

    def test_pictures_show_them(self) -> None:
        image = np.full((*SIZE, 3), 90, dtype=np.uint8)
        rescored = self.result(image)
        expected = replace(rescored, scores=rescored.mask_scores).plot()
        np.testing.assert_array_equal(rescored.plot(), expected)
        assert (rescored.plot() != result_of_three(image=image).plot()).any()


class TestDrawing:
    def picture(self) -> NDArray[np.uint8]:
        return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)

    def test_plot_leaves_the_picture_as_it_is(self) -> None:
        image = self.picture()
        drawn = result_of_three(image=image).plot()
        assert (drawn.shape, drawn.dtype) == (image.shape, np.uint8)
        assert (drawn != image).any()
        np.testing.assert_array_equal(image, self.picture())

    def test_without_its_picture_it_cannot_be_drawn(self) -> None:
        with pytest.raises(UsageError, match="without its picture"):
            result_of_three().plot()

    @pytest.mark.parametrize("name", ["out.png", "new/out.jpg", "out.JPEG"])
    def test_save(self, tmp_path: Path, name: str) -> None:
        result = result_of_three(image=self.picture())
        result.save(tmp_path / name)
        with Image.open(tmp_path / name) as written:
            assert (written.size, written.mode) == ((64, 48), "RGB")
            if name.endswith("png"):
                np.testing.assert_array_equal(np.asarray(written), result.plot())
        assert [each.name for each in (tmp_path / name).parent.iterdir()] == [Path(name).name]

    @pytest.mark.parametrize("name", ["out.gif", "out"])
    def test_save_knows_two_formats(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(UsageError, match=r"use \.png, \.jpg, \.jpeg"):
            result_of_three(image=self.picture()).save(tmp_path / name)
        assert not list(tmp_path.iterdir())

    def test_a_failed_save_leaves_the_old_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def failing(self: Image.Image, path: Path, **_: object) -> None:
            path.write_bytes(b"half a pict")
            raise OSError("disk full")

        target = tmp_path / "out.png"
        target.write_bytes(b"old")
        monkeypatch.setattr(Image.Image, "save", failing)
        with pytest.raises(OSError, match="disk full"):
            result_of_three(image=self.picture()).save(target)
        assert target.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [target]


class TestLetterbox:
    """The network saw the picture in a part of its input only."""

    @settings(deadline=None, max_examples=60)
    @given(
        # Of few digits: adding a cell in float32 and in float64 must not differ.
        boxes=st.lists(
            st.tuples(*[st.integers(-512, 1536).map(lambda n: n / 1024)] * 4),
            min_size=1,
            max_size=3,
        ),
        picture=st.tuples(st.integers(1, 40), st.integers(1, 40)),
        network=st.sampled_from([(64, 64), (192, 320), (97, 65)]),
        seed=st.integers(0, 3),
    )
    def test_each_pixel_is_looked_up_where_it_lies_in_the_input(
        self,
        boxes: list[tuple[float, float, float, float]],
        picture: tuple[int, int],
        network: tuple[int, int],
        seed: int,
    ) -> None:
        found, region = detections(boxes, seed), fit(picture, network).region
        result = Result.from_detections(found, picture, NAMES, region=region)
        soft = assemble_masks(found.prototypes, found.coefficients).tolist()
        cropped = [oracle.crop(mask, box) for mask, box in zip(soft, boxes, strict=True)]
        expected = [oracle.resize(mask, picture, region) for mask in cropped]
        assert_same_pixels(result.masks.numpy(), np.array(expected, dtype=np.float32))

    @settings(deadline=None)
    @given(
        corners=st.tuples(*[st.floats(0, 1)] * 4),
        picture=st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
        network=st.sampled_from([(64, 64), (192, 320), (550, 550), (97, 65)]),
    )
    def test_boxes_come_back_from_where_they_were_put(
        self,
        corners: tuple[float, ...],
        picture: tuple[int, int],
        network: tuple[int, int],
    ) -> None:
        place = fit(picture, network)
        x1, x2 = sorted(corners[:2])
        y1, y2 = sorted(corners[2:])
        there = [
            (
                (place.left + x * place.width) / network[1],
                (place.top + y * place.height) / network[0],
            )
            for x, y in ((x1, y1), (x2, y2))
        ]
        found = detections([(*there[0], *there[1])])
        result = Result.from_detections(found, picture, NAMES, region=place.region)
        height, width = picture
        expected = [[x1 * width, y1 * height, x2 * width, y2 * height]]
        # A picture one pixel wide in the input magnifies the rounding of float32.
        accuracy = 1e-6 * max(network) / min(place.width, place.height) * max(picture)
        np.testing.assert_allclose(result.boxes, expected, atol=accuracy)

    def test_what_lies_in_the_bars_is_empty_and_does_no_harm(self) -> None:
        region = fit((48, 96), (96, 96)).region  # a quarter above, a quarter below
        boxes = [(0.1, 0.0, 0.6, 0.1), (0.2, 0.1, 0.8, 0.9), (0.0, 0.9, 1.0, 1.0)]
        found = detections(boxes)
        everywhere = replace(found, prototypes=torch.ones(4, 9, 11), coefficients=torch.ones(3, 4))
        image = np.full((48, 96, 3), 100, dtype=np.uint8)
        result = Result.from_detections(everywhere, (48, 96), NAMES, region=region, image=image)
        np.testing.assert_allclose(
            result.boxes,
            [(9.6, 0, 57.6, 0), (19.2, 0, 76.8, 48), (0, 48, 96, 48)],
            atol=1e-4,
        )
        np.testing.assert_array_equal(result.masks.area() > 0, [False, True, False])
        assert [len(parts) for parts in result.masks.polygons()] == [0, 1, 0]
        assert result.plot().shape == image.shape
        assert len(result.to_dict()["objects"]) == len(result.to_coco()) == 3

    def test_a_selection_lies_in_the_same_place(self) -> None:
        region = fit(SIZE, (96, 96)).region
        result = Result.from_detections(detections(THREE_BOXES), SIZE, NAMES, region=region)
        again = Result.from_detections(detections(THREE_BOXES), SIZE, NAMES, region=region)
        np.testing.assert_array_equal(result[[2, 0]].masks.numpy(), again.masks.numpy()[[2, 0]])


@pytest.mark.parametrize(
    ("key", "size"), [("image_640x480_score0", (480, 640)), ("image_333x500_score0.15", (500, 333))]
)
def test_the_originals_answer(golden: Path, key: str, size: tuple[int, int]) -> None:
    with np.load(golden / "detection.npz") as file:
        values = dict(file)
    prototypes = torch.from_numpy(values["proto"].astype(np.float32)).permute(2, 0, 1)
    found = Detections(
        *(
            torch.from_numpy(values[f"fast_{part}"])
            for part in ("boxes", "scores", "classes", "coefficients")
        ),
        prototypes=prototypes,
    )
    result = Result.from_detections(found, size, [str(label) for label in range(80)])
    np.testing.assert_array_equal(result.boxes.astype(np.int64), values[f"{key}_boxes"])
    np.testing.assert_array_equal(result.labels, values[f"{key}_classes"])
    np.testing.assert_allclose(result.scores, values[f"{key}_scores"])
    packed = values[f"{key}_masks_packed"]
    expected = np.unpackbits(packed, axis=-1, count=size[1]).astype(np.bool_)
    # Interpolation in another order of additions may tip a pixel that is 0.5 to the last bit.
    assert np.count_nonzero(result.masks.numpy() != expected) <= expected.size / 100_000
