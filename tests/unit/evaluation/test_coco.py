"""Our AP against pycocotools' own, on real ground truth and on made-up cases."""

import contextlib
import copy
import io
import json
import re

import numpy as np
import pytest
from faster_coco_eval.core import mask as rle_api
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yolact.errors import DataError, UsageError
from yolact.evaluation.coco import CocoEvaluator, Metrics, evaluate_results, load_results

EXACT = 1e-9


# The oracle ---------------------------------------------------------------------------------------


def oracle(results, ground_truth, max_detections):
    """Every number of ``Metrics``, by pycocotools. Results need a mask and a box each."""
    shapes = {"mask": ("segm", "segmentation"), "box": ("bbox", "bbox")}
    names = {c["id"]: c["name"] for c in ground_truth["categories"]}
    numbers = {"per_class": {name: {} for name in names.values()}}
    for shape, (iou_type, key) in shapes.items():
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = copy.deepcopy(ground_truth)
            truth.createIndex()
            # pycocotools sizes by the box wherever it sees one, so each shape comes alone.
            kept = ("image_id", "category_id", "score", key)
            found = truth.loadRes([{k: copy.deepcopy(r[k]) for k in kept} for r in results])
            evaluation = COCOeval(truth, found, iou_type)
            evaluation.params.maxDets = [1, min(10, max_detections), max_detections]
            evaluation.evaluate()
            evaluation.accumulate()
        numbers[shape] = summary(evaluation, slice(None))
        for k, category_id in enumerate(evaluation.params.catIds):
            per_class = numbers["per_class"][names[category_id]]
            per_class[shape] = summary(evaluation, slice(k, k + 1))
    for category_id, name in names.items():
        numbers["per_class"][name]["num_objects"] = sum(
            a["category_id"] == category_id and not a.get("iscrowd", 0)
            for a in ground_truth["annotations"]
        )
    return numbers


def summary(evaluation, classes):
    precision = evaluation.eval["precision"][:, :, classes, :, -1]
    recall = evaluation.eval["recall"][:, classes, :, -1]
    thresholds = evaluation.params.iouThrs

    def mean(values):
        return float(np.mean(values[values > -1])) if (values > -1).any() else None

    numbers = {
        "ap": mean(precision[..., 0]),
        "ap50": mean(precision[np.isclose(thresholds, 0.5)][..., 0]),
        "ap75": mean(precision[np.isclose(thresholds, 0.75)][..., 0]),
        "ar": mean(recall[..., 0]),
    }
    for i, name in enumerate(evaluation.params.areaRngLbl):
        if name != "all":
            numbers[f"ap_{name}"] = mean(precision[..., i])
            numbers[f"ar_{name}"] = mean(recall[..., i])
    return numbers


def flat(numbers, path=()):
    if isinstance(numbers, dict):
        return {k: v for key, item in numbers.items() for k, v in flat(item, (*path, key)).items()}
    return {path: numbers}


def assert_equals_oracle(metrics, results, ground_truth, max_detections):
    ours = flat(metrics.to_dict())
    theirs = flat(oracle(results, ground_truth, max_detections))
    assert ours.keys() - theirs.keys() == {
        ("num_images",),
        ("num_detections",),
        ("max_detections",),
    }
    for path, expected in theirs.items():
        if expected is None:
            assert ours[path] is None, path
        else:
            assert ours[path] == pytest.approx(expected, abs=EXACT, rel=0), path


# Making detections --------------------------------------------------------------------------------


def encode(mask):
    rle = rle_api.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(n) for n in rle["size"]], "counts": rle["counts"].decode()}


def to_mask(segmentation, image):
    size = image["height"], image["width"]
    if isinstance(segmentation, list):
        return rle_api.decode(rle_api.merge(rle_api.frPyObjects(segmentation, *size)))
    if isinstance(segmentation["counts"], list):
        return rle_api.decode(rle_api.frPyObjects(segmentation, *size))
    return rle_api.decode(segmentation)


def shifted(mask, dy, dx):
    height, width = mask.shape
    moved = np.zeros_like(mask)
    moved[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)] = mask[
        max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)
    ]
    return moved


def jittered(ground_truth, seed):
    """Detections as a middling model makes them; no two scores are equal."""
    rng = np.random.default_rng(seed)
    images = {image["id"]: image for image in ground_truth["images"]}
    categories = [category["id"] for category in ground_truth["categories"]]
    results = []

    def add(image_id, category_id, mask):
        rle = encode(mask)
        box = np.maximum(rle_api.toBbox(rle) + rng.normal(0, 1.5, 4), 0.5)
        results.append(
            {
                "image_id": image_id,
                "category_id": int(category_id),
                "segmentation": rle,
                "bbox": box.tolist(),
            }
        )

    for annotation in ground_truth["annotations"]:
        image = images[annotation["image_id"]]
        mask = to_mask(annotation["segmentation"], image)
        reach = 1 + int(np.sqrt(mask.sum()) / 12)
        for _ in range(rng.choice([0, 1, 2], p=[0.15, 0.7, 0.15])):
            dy, dx = rng.integers(-reach, reach + 1, 2)
            wrong = rng.random() < 0.1
            category = rng.choice(categories) if wrong else annotation["category_id"]
            add(image["id"], category, shifted(mask, dy, dx))
    for image in ground_truth["images"]:
        for _ in range(rng.integers(0, 6)):
            mask = np.zeros((image["height"], image["width"]), np.uint8)
            y, x = rng.integers(0, image["height"] - 4), rng.integers(0, image["width"] - 4)
            mask[y : y + rng.integers(1, 120), x : x + rng.integers(1, 120)] = 1
            add(image["id"], rng.choice(categories), mask)
    for result, score in zip(results, rng.permutation(len(results)), strict=True):
        result["score"] = (int(score) + 1) / (len(results) + 1)
    return results


def update_all(evaluator, results, image_ids):
    """Give results to an evaluator the way a model does."""
    for image_id in image_ids:
        items = [r for r in results if r["image_id"] == image_id]
        boxes = np.array([r["bbox"] for r in items]).reshape(-1, 4)
        evaluator.update(
            image_id,
            np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]),
            np.array([r["score"] for r in items]),
            np.array([r["category_id"] for r in items], dtype=np.int64),
            [r["segmentation"] for r in items],
        )


@pytest.fixture(scope="module")
def real_truth(real_data):
    """``real_truth(name, images)``: validation ground truth, cut to the fullest images."""

    def load(name, images=None):
        path = real_data / name / "annotations" / "instances_val.json"
        truth = json.loads(path.read_text(encoding="utf-8"))
        number = {image["id"]: 0 for image in truth["images"]}
        for annotation in truth["annotations"]:
            number[annotation["image_id"]] += 1
        kept = set(sorted(number, key=number.__getitem__, reverse=True)[:images])
        return {
            "categories": truth["categories"],
            "images": [i for i in truth["images"] if i["id"] in kept],
            "annotations": [a for a in truth["annotations"] if a["image_id"] in kept],
        }

    return load


# Real ground truth --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "images", "max_detections"),
    [
        ("coco_cc", None, 100),
        ("coco_cc", None, 300),
        ("coco_cc", None, 3),
        ("nuclei", 10, 100),
        ("nuclei", 5, 300),
    ],
)
def test_equals_pycocotools_on_real_ground_truth(real_truth, name, images, max_detections):
    truth = real_truth(name, images)
    results = jittered(truth, seed=len(name) + max_detections)

    metrics = evaluate_results(results, truth, max_detections=max_detections)

    assert 0.05 < metrics.mask.ap < 0.95
    assert 0.05 < metrics.box.ap < 0.95
    assert_equals_oracle(metrics, results, truth, max_detections)


def test_order_of_updates_does_not_matter(real_truth):
    truth = real_truth("coco_cc")
    results = jittered(truth, seed=1)
    for result in results:
        result["score"] = round(result["score"], 1)  # many ties, within and across images
    image_ids = [image["id"] for image in truth["images"]]
    whole = evaluate_results(results, truth).to_dict()

    for seed in range(3):
        evaluator = CocoEvaluator(truth)
        update_all(evaluator, results, np.random.default_rng(seed).permutation(image_ids).tolist())

        # Corners instead of sizes cost the last bit of a box.
        ours, theirs = flat(evaluator.compute().to_dict()), flat(whole)
        assert ours == {path: pytest.approx(value, abs=EXACT) for path, value in theirs.items()}


def test_perfect_results_give_one(real_truth):
    truth = real_truth("coco_cc")
    perfect = [
        {**{k: a[k] for k in ("image_id", "category_id", "segmentation", "bbox")}, "score": 1}
        for a in truth["annotations"]
        if not a["iscrowd"]
    ]

    metrics = evaluate_results(perfect, truth)

    for shape in (metrics.mask, metrics.box):
        assert min(vars(shape).values()) == pytest.approx(1)


def test_nothing_is_changed_and_computing_twice_gives_the_same(real_truth):
    truth = real_truth("coco_cc", 10)
    results = jittered(truth, seed=2)
    before = copy.deepcopy((results, truth))
    evaluator = CocoEvaluator(truth)
    update_all(evaluator, results, [image["id"] for image in truth["images"]])

    assert evaluator.compute() == evaluator.compute()
    evaluate_results(results, truth)
    assert (results, truth) == before


def test_library_stays_silent(real_truth, capsys, caplog):
    truth = real_truth("coco_cc", 5)
    with caplog.at_level(0):
        evaluate_results(jittered(truth, seed=3), truth)

    assert capsys.readouterr() == ("", "")
    assert not caplog.records


# Small cases --------------------------------------------------------------------------------------


def square(y, x, side, size=(64, 64)):
    mask = np.zeros(size, np.uint8)
    mask[y : y + side, x : x + side] = 1
    return encode(mask)


def small_truth(*objects, images=1, categories=("cat",)):
    """Objects are (image, category, mask, iscrowd); ids of images and categories start at 1."""
    return {
        "images": [{"id": i + 1, "height": 64, "width": 64} for i in range(images)],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(categories)],
        "annotations": [
            {
                "id": i + 1,
                "image_id": image,
                "category_id": category,
                "segmentation": mask,
                "bbox": rle_api.toBbox(mask).tolist(),
                "area": int(rle_api.area(mask)),
                "iscrowd": crowd,
            }
            for i, (image, category, mask, crowd) in enumerate(objects)
        ],
    }


def result(image, category, mask, score):
    return {
        "image_id": image,
        "category_id": category,
        "score": score,
        "segmentation": mask,
        "bbox": rle_api.toBbox(mask).tolist(),
    }


def test_crowd_excuses_detections_and_is_not_an_object():
    truth = small_truth((1, 1, square(0, 0, 10), 0), (1, 1, square(20, 20, 40), 1))
    inside = [result(1, 1, square(22 + 9 * i, 30, 8), 0.9 - i / 100) for i in range(3)]
    results = [*inside, result(1, 1, square(0, 0, 10), 0.5)]

    metrics = evaluate_results(results, truth)

    assert metrics.mask.ap == pytest.approx(1)
    assert metrics.box.ap == pytest.approx(1)
    assert metrics.per_class["cat"].num_objects == 1
    assert_equals_oracle(metrics, results, truth, 100)


def test_class_without_objects_is_left_out_of_the_mean():
    truth = small_truth((1, 1, square(0, 0, 10), 0), categories=("cat", "dog"))
    results = [result(1, 1, square(0, 0, 10), 0.9), result(1, 2, square(30, 30, 9), 0.9)]

    metrics = evaluate_results(results, truth)

    assert metrics.mask.ap == pytest.approx(1)
    assert metrics.mask.ap_large is None
    dog = metrics.per_class["dog"]
    assert (dog.mask.ap, dog.box.ap, dog.num_objects) == (None, None, 0)
    assert_equals_oracle(metrics, results, truth, 100)


def test_class_with_only_a_crowd_is_left_out_of_the_mean():
    truth = small_truth((1, 1, square(0, 0, 40), 1))

    assert evaluate_results([result(1, 1, square(0, 0, 9), 0.9)], truth).mask.ap is None


def test_false_positive_on_an_image_without_objects_hurts():
    truth = small_truth((1, 1, square(0, 0, 10), 0), images=2)
    results = [result(1, 1, square(0, 0, 10), 0.5), result(2, 1, square(0, 0, 10), 0.9)]

    metrics = evaluate_results(results, truth)

    assert metrics.mask.ap == pytest.approx(0.5)
    assert (metrics.num_images, metrics.num_detections) == (2, 2)
    assert_equals_oracle(metrics, results, truth, 100)


@pytest.mark.parametrize(("max_detections", "ap"), [(100, 0.0), (121, 1 / 121)])
def test_only_the_best_detections_of_an_image_and_class_count(max_detections, ap):
    truth = small_truth((1, 1, square(0, 0, 10), 0), categories=("cat", "dog"))
    wrong = [result(1, 1, square(i % 8, 20 + i // 4, 9), 0.9 - i / 1000) for i in range(120)]
    right = result(1, 1, square(0, 0, 10), 0.1)

    metrics = evaluate_results([right, *wrong], truth, max_detections=max_detections)

    assert metrics.mask.ap == pytest.approx(ap)
    assert metrics.num_detections == 121
    assert metrics.max_detections == max_detections
    assert_equals_oracle(metrics, [right, *wrong], truth, max_detections)


def test_masks_may_rank_by_scores_of_their_own():
    """Two objects and a wrong detection between, before or behind them."""
    truth = small_truth((1, 1, square(0, 0, 10), 0), (1, 1, square(30, 30, 20), 0))
    results = [
        {**result(1, 1, square(0, 0, 10), 0.9), "mask_score": 0.3},
        {**result(1, 1, square(30, 30, 20), 0.8), "mask_score": 0.5},
        {**result(1, 1, square(50, 0, 12), 0.7), "mask_score": 1.4},
    ]

    metrics = evaluate_results(results, truth)

    assert metrics.box.ap == pytest.approx(1)
    assert metrics.mask.ap == pytest.approx(2 / 3)
    by_mask = [{**entry, "score": entry["mask_score"]} for entry in results]
    assert metrics.box == evaluate_results([{**r, "mask_score": 0.1} for r in results], truth).box
    assert metrics.mask.ap == pytest.approx(oracle(by_mask, truth, 100)["mask"]["ap"], abs=EXACT)
    evaluator = CocoEvaluator(truth)
    corners = [(x, y, x + w, y + h) for x, y, w, h in (entry["bbox"] for entry in results)]
    evaluator.update(
        1,
        corners,
        [entry["score"] for entry in results],
        [1, 1, 1],
        [entry["segmentation"] for entry in results],
        [entry["mask_score"] for entry in results],
    )
    assert evaluator.compute() == metrics
    # The best few count by each ranking of its own.
    two = evaluate_results(results, truth, max_detections=2)
    assert (two.box.ap, two.mask.ap) == (pytest.approx(1), pytest.approx(0.252475, abs=1e-6))


def test_no_detections_give_zero():
    truth = small_truth((1, 1, square(0, 0, 10), 0), (1, 1, square(0, 20, 40), 0))
    evaluator = CocoEvaluator(truth)
    evaluator.update(1, np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=np.int64), [])

    for metrics in (
        evaluator.compute(),
        CocoEvaluator(truth).compute(),
        evaluate_results([], truth),
    ):
        assert (metrics.mask.ap, metrics.mask.ar, metrics.box.ap50) == (0, 0, 0)
        assert (metrics.mask.ap_small, metrics.mask.ap_large) == (0, None)
        assert metrics.num_detections == 0


@pytest.mark.parametrize("images", [0, 1])
def test_no_objects_at_all_give_none(images):
    truth = small_truth(images=images)
    results = [result(1, 1, square(0, 0, 10), 0.9)] * images

    metrics = evaluate_results(results, truth)

    assert set(vars(metrics.mask).values()) | set(vars(metrics.box).values()) == {None}
    assert metrics.per_class["cat"].num_objects == 0


def test_missing_area_box_and_crowd_flag_follow_from_the_mask():
    full = small_truth((1, 1, square(0, 0, 20), 0), (1, 1, square(10, 10, 50), 0))
    bare = copy.deepcopy(full)
    for i, annotation in enumerate(bare["annotations"]):
        for key in ("area", "bbox", "iscrowd"):
            del annotation[key]
        annotation["id"] = i  # an id of 0 must not look like "not matched"
    results = [result(1, 1, square(0, 1, 20), 0.9), result(1, 1, square(10, 12, 50), 0.8)]

    metrics = evaluate_results(results, bare)

    assert metrics.mask.ap_medium > 0.8
    assert metrics == evaluate_results(results, full)
    assert_equals_oracle(metrics, results, full, 100)


def test_every_form_of_segmentation_is_understood():
    mask = np.zeros((64, 64), np.uint8)
    mask[4:24, 8:38] = 1
    polygon = [[8, 4, 38, 4, 38, 24, 8, 24]]
    runs = {"size": [64, 64], "counts": [8 * 64 + 4, *[20, 44] * 29, 20, 26 * 64 + 40]}
    np.testing.assert_array_equal(to_mask(runs, {"height": 64, "width": 64}), mask)
    forms = [
        polygon,
        runs,
        encode(mask),
        {**encode(mask), "counts": encode(mask)["counts"].encode()},
    ]

    for form in forms:
        truth = small_truth((1, 1, encode(mask), 0))
        truth["annotations"][0]["segmentation"] = form
        for other in forms:
            item = {"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": other}
            metrics = evaluate_results([item], truth)
            assert (metrics.mask.ap, metrics.box.ap) == (pytest.approx(1), pytest.approx(1))


def test_results_without_masks_have_box_metrics_only():
    truth = small_truth((1, 1, square(0, 0, 10), 0))
    item = result(1, 1, square(0, 0, 10), 0.5)
    del item["segmentation"]

    metrics = evaluate_results([item], truth)

    assert metrics.box.ap == pytest.approx(1)
    assert set(vars(metrics.mask).values()) == {None}
    assert metrics.per_class["cat"].mask.ap is None
    assert metrics.per_class["cat"].box.ap == pytest.approx(1)


def test_empty_mask_is_a_false_positive():
    truth = small_truth((1, 1, square(0, 0, 10), 0))
    results = [result(1, 1, square(0, 0, 0), 0.9), result(1, 1, square(0, 0, 10), 0.5)]

    metrics = evaluate_results(results, truth)

    assert metrics.mask.ap == pytest.approx(0.5)
    assert_equals_oracle(metrics, results, truth, 100)


def test_categories_of_one_name_are_told_apart():
    metrics = CocoEvaluator(small_truth(categories=("cat", "dog", "cat"))).compute()

    assert list(metrics.per_class) == ["cat (1)", "dog", "cat (3)"]


def test_to_dict_is_json_of_the_same_names():
    truth = small_truth((1, 1, square(0, 0, 10), 0))
    metrics = evaluate_results([], truth)
    numbers = json.loads(json.dumps(metrics.to_dict(), allow_nan=False))

    assert Metrics.from_dict(numbers) == metrics
    assert numbers["mask"]["ap"] == 0
    assert numbers["box"]["ap_large"] is None
    assert numbers["per_class"]["cat"]["mask"]["ap75"] == 0
    assert numbers["per_class"]["cat"]["num_objects"] == 1
    assert numbers["max_detections"] == 100


# Equality on anything -----------------------------------------------------------------------------

squares = st.builds(square, st.integers(0, 40), st.integers(0, 40), st.integers(1, 45))
ids = st.integers(1, 2)
objects = st.lists(st.tuples(ids, ids, squares, st.integers(0, 1)), min_size=1, max_size=5)
scores = st.integers(1, 5).map(lambda tenths: tenths / 10)
sides = st.integers(0, 50)
boxes = st.fixed_dictionaries({"bbox": st.tuples(sides, sides, sides, sides).map(list)})
results_like = st.builds(result, ids, ids, squares, scores)
found = st.lists(st.builds(dict.__or__, results_like, boxes), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(objects, found, st.sampled_from([1, 2, 100]))
def test_equals_pycocotools_on_anything(objects, results, max_detections):
    truth = small_truth(*objects, images=2, categories=("cat", "dog"))

    metrics = evaluate_results(results, truth, max_detections=max_detections)

    assert_equals_oracle(metrics, results, truth, max_detections)


# Lies ---------------------------------------------------------------------------------------------

GOOD = {"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [0, 0, 9, 9]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "{path} is not JSON: Expecting property name enclosed"),
        ('{"a": 1}', "{path} must hold a list of detections, not a dict."),
        (b"\xff\xfe", "{path} is not JSON: 'utf-8' codec can't decode"),
    ],
)
def test_file_that_is_no_results_list(tmp_path, text, message):
    path = tmp_path / "results.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(DataError, match=re.escape(message.format(path=path))):
        load_results(path)


def test_file_that_is_missing(tmp_path):
    path = tmp_path / "results.json"

    with pytest.raises(DataError, match=re.escape(f"{path} cannot be read: No such file")):
        load_results(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": None}, "has no image_id."),
        ({"category_id": None}, "has no category_id."),
        ({"score": None}, "has no score."),
        ({"bbox": []}, "has neither segmentation nor bbox."),
        ({"image_id": "7"}, "has the image_id '7', not a whole number."),
        ({"category_id": 1.5}, "has the category_id 1.5, not a whole number."),
        ({"score": float("nan")}, "has the score nan, not a finite number."),
        ({"mask_score": None}, "has the mask_score None, not a finite number."),
        ({"score": "high"}, "has the score 'high', not a finite number."),
        ({"bbox": [0, 0, 9]}, "has the bbox [0, 0, 9], not four finite numbers."),
        ({"bbox": [0, 0, 9, -1]}, "has the bbox [0, 0, 9, -1], whose width or height is negative."),
    ],
)
def test_entry_that_lies(tmp_path, change, message):
    path = tmp_path / "results.json"
    results = [GOOD, {**GOOD, **change}]
    path.write_text(json.dumps(results))
    truth = small_truth((1, 1, square(0, 0, 9), 0))

    with pytest.raises(DataError, match=f"^{re.escape(f'Entry 1 of {path} {message}')}$"):
        load_results(path)
    with pytest.raises(DataError, match=f"^{re.escape(f'Entry 1 of the results {message}')}$"):
        evaluate_results(results, truth)


def test_entry_that_is_no_object(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("[3]")

    with pytest.raises(DataError, match=r"Entry 0 of .* is not an object with keys\."):
        load_results(path)


def test_good_file_comes_back(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([GOOD]))

    assert load_results(path) == [GOOD]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 7}, "Entry 1 of the results is about image 7, which does not exist."),
        ({"category_id": 7}, "Entry 1 of the results has category 7, which does not exist."),
        ({"segmentation": None}, "Entry 1 of the results has no segmentation, though others have"),
        ({"segmentation": square(0, 0, 9, (32, 64))}, "Entry 1 of the results has a mask that"),
        ({"segmentation": [[1, 2, 3, 4]]}, "Entry 1 of the results has a mask that cannot be read"),
        (
            {"segmentation": {"size": [64, 64], "counts": [5]}},
            "Entry 1 of the results has a mask that cannot be read",
        ),
        (
            {"segmentation": {"size": [64, 64], "counts": "oooo"}},
            "Entry 1 of the results has a mask that cannot be read: RLE",
        ),
    ],
)
def test_entry_that_contradicts_the_ground_truth(change, message):
    truth = small_truth((1, 1, square(0, 0, 9), 0))
    good = {**GOOD, "segmentation": square(0, 0, 9)}

    with pytest.raises(DataError, match=f"^{re.escape(message)}"):
        evaluate_results([good, {**good, **change}], truth)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("images", {"height": None}, "Image 0 of the ground truth has no height."),
        ("images", {"id": "1"}, "Image 0 of the ground truth has the id '1', not a whole number."),
        ("categories", {"name": None}, "Category 0 of the ground truth has no name."),
        (
            "annotations",
            {"segmentation": []},
            "Annotation 0 of the ground truth has no segmentation.",
        ),
        (
            "annotations",
            {"image_id": 5},
            "Annotation 0 of the ground truth is about image 5, which",
        ),
        (
            "annotations",
            {"category_id": 5},
            "Annotation 0 of the ground truth has category 5, which",
        ),
        (
            "annotations",
            {"bbox": [1]},
            "Annotation 0 of the ground truth has the bbox [1], not four",
        ),
        (
            "annotations",
            {"segmentation": square(0, 0, 9, (32, 64))},
            "Annotation 0 of the ground truth has a mask that cannot be read",
        ),
    ],
)
def test_ground_truth_that_lies(part, change, message):
    truth = small_truth((1, 1, square(0, 0, 9), 0))
    truth[part][0] |= change

    with pytest.raises(DataError, match=f"^{re.escape(message)}"):
        CocoEvaluator(truth)


@pytest.mark.parametrize("part", ["images", "annotations", "categories"])
def test_ground_truth_that_lacks_a_part(part):
    truth = small_truth()
    del truth[part]

    with pytest.raises(DataError, match=rf"^The ground truth has no list of {part}\.$"):
        CocoEvaluator(truth)


@pytest.mark.parametrize(("part", "kind"), [("images", "image"), ("categories", "category")])
def test_ground_truth_that_repeats_an_id(part, kind):
    truth = small_truth()
    truth[part] *= 2

    with pytest.raises(DataError, match=f"uses an id for more than one {kind}"):
        CocoEvaluator(truth)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 9}, "The ground truth has no image 9."),
        ({"category_ids": [9]}, "A detection of image 1 has category 9, which does not exist."),
        ({"scores": [np.nan]}, "A detection of image 1 has a box or score that is not finite."),
        (
            {"mask_scores": [np.inf]},
            "A detection of image 1 has a box or score that is not finite.",
        ),
        ({"mask_scores": [1, 2]}, "A detection of image 1 is incomplete: "),
        ({"boxes": [[0, 0, np.inf, 1]]}, "A detection of image 1 has a box or score that is not"),
        (
            {"masks": []},
            "A detection of image 1 is incomplete: boxes, scores, categories, masks and mask",
        ),
        (
            {"masks": [square(0, 0, 9, (32, 64))]},
            "A detection of image 1 has a mask of height and width [32, 64], its image [64, 64].",
        ),
        (
            {"masks": [{"size": [64, 64], "counts": "oooo"}]},
            "A detection of image 1 has a mask that cannot be read: RLE",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_update_that_lies(change, message):
    evaluator = CocoEvaluator(small_truth((1, 1, square(0, 0, 9), 0)))
    good = {
        "image_id": 1,
        "boxes": [[0, 0, 9, 9]],
        "scores": [0.5],
        "category_ids": [1],
        "masks": [square(0, 0, 9)],
    }

    with pytest.raises(DataError, match=f"^{re.escape(message)}"):
        evaluator.update(**{**good, **change})
    evaluator.update(**good)  # the bad one left nothing behind
    assert evaluator.compute().mask.ap == pytest.approx(1)
    with pytest.raises(DataError, match=r"^The detections of image 1 came twice\.$"):
        evaluator.update(**good)


def test_max_detections_must_be_positive():
    with pytest.raises(UsageError, match=r"^max_detections must be at least 1, not 0\.$"):
        CocoEvaluator(small_truth(), max_detections=0)
