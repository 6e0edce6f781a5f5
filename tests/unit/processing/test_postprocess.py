from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import nms as oracle
from yolact.config.detection import DetectionConfig
from yolact.ops.anchors import generate_anchors
from yolact.ops.box_coding import decode_boxes
from yolact.ops.masks import assemble_masks, crop_masks
from yolact.processing import reference
from yolact.processing.postprocess import postprocess, select_detections
from yolact.structures import Predictions

ANCHORS = generate_anchors([(6, 6), (3, 3)], [[16], [32]], (1, 0.5, 2), (64, 64))
CONFIG = DetectionConfig()


def random_predictions(images, seed=0, confidence=3.0):
    random = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=random)

    return Predictions(
        box_offsets=normal(images, len(ANCHORS), 4),
        class_logits=normal(images, len(ANCHORS), 5) * confidence,
        coefficients=normal(images, len(ANCHORS), 4).tanh(),
        prototypes=normal(images, 4, 16, 16).abs(),
    )


def nothing_found(images):
    """Background everywhere."""
    predictions = random_predictions(images)
    predictions.class_logits[..., 0] = 50
    return predictions


def assert_equal(one, other):
    for name, value in vars(one).items():
        same = getattr(other, name)
        assert torch.equal(value, same) if isinstance(value, torch.Tensor) else value == same, name


def share_of_the_picture(masks):
    """A judge whose verdict can be computed by hand: mean of the mask, times label + 1."""
    return masks.mean(dim=(1, 2))[:, None] * torch.arange(1, 5)


def test_a_batch_equals_its_pictures_one_by_one():
    predictions = random_predictions(3)
    predictions.class_logits[1, :, 0] = 50  # the second holds nothing
    together = postprocess(predictions, ANCHORS, CONFIG)
    assert [len(found) > 0 for found in together] == [True, False, True]
    for i, found in enumerate(together):
        alone = {k: v if v is None else v[i : i + 1] for k, v in vars(predictions).items()}
        assert_equal(postprocess(Predictions(**alone), ANCHORS, CONFIG)[0], found)


def test_inputs_are_left_alone_and_results_repeat():
    predictions, anchors = random_predictions(2), ANCHORS.clone()
    before = {k: v.clone() for k, v in vars(predictions).items() if v is not None}
    first = postprocess(predictions, anchors, CONFIG)
    second = postprocess(predictions, anchors, CONFIG)
    for name, tensor in before.items():
        assert torch.equal(getattr(predictions, name), tensor), name
    assert torch.equal(anchors, ANCHORS)
    for one, other in zip(first, second, strict=True):
        assert_equal(one, other)


def test_semantic_logits_do_not_matter():
    predictions = random_predictions(1)
    with_semantics = replace(predictions, semantic_logits=torch.zeros(1, 4, 8, 8))
    assert_equal(
        postprocess(with_semantics, ANCHORS, CONFIG)[0],
        postprocess(predictions, ANCHORS, CONFIG)[0],
    )


def test_nothing_found():
    for found in postprocess(nothing_found(2), ANCHORS, CONFIG):
        assert len(found) == 0
        assert found.boxes.shape == (0, 4)
        assert found.labels.shape == found.scores.shape == (0,)
        assert found.labels.dtype == torch.int64
        assert found.coefficients.shape == (0, 4)
        assert found.prototypes.shape == (4, 16, 16)


def test_an_empty_batch():
    empty = Predictions(
        box_offsets=torch.zeros(0, len(ANCHORS), 4),
        class_logits=torch.zeros(0, len(ANCHORS), 5),
        coefficients=torch.zeros(0, len(ANCHORS), 4),
        prototypes=torch.zeros(0, 4, 16, 16),
    )
    assert postprocess(empty, ANCHORS, CONFIG) == []


@pytest.mark.parametrize("confidence", [0.5, 3.0])
def test_equals_the_steps_of_the_specification(confidence):
    predictions = random_predictions(1, seed=4, confidence=confidence)
    config = DetectionConfig(score_threshold=0.3, top_k=20, max_detections=40)
    found = postprocess(predictions, ANCHORS, config)[0]

    scores = predictions.class_logits[0].softmax(-1)[:, 1:]
    candidates = [a for a in range(len(ANCHORS)) if scores[a].max() > 0.3]
    boxes = decode_boxes(predictions.box_offsets[0], ANCHORS)
    expected = oracle.fast_nms(
        [tuple(boxes[a].tolist()) for a in candidates],
        [[scores[a, c].item() for a in candidates] for c in range(4)],
        iou_threshold=0.5,
        top_k=20,
    )[:40]
    assert 0 < len(candidates) < len(ANCHORS)
    assert len(found) == len(expected)
    for i, (candidate, label, score) in enumerate(expected):
        anchor = candidates[candidate]
        assert found.labels[i] == label
        assert found.scores[i].item() == pytest.approx(score)
        assert torch.equal(found.boxes[i], boxes[anchor])
        assert torch.equal(found.coefficients[i], predictions.coefficients[0, anchor])


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 2**31),
    st.sampled_from([0.3, 1.0, 3.0, 30.0]),
    st.sampled_from([0.0, 0.05, 0.2, 0.5, 0.9, 0.999999, 1.0]),
    st.sampled_from(["fast", "cross-class", "greedy"]),
    st.sampled_from([None, (1,), (0, 3)]),
    st.integers(1, 30),
    st.sampled_from([3, 200]),
    st.sampled_from([None, share_of_the_picture]),
)
def test_equals_the_plain_path(seed, confidence, threshold, nms, labels, most, top_k, scorer):
    predictions = random_predictions(2, seed, confidence)
    config = DetectionConfig(
        score_threshold=threshold, nms=nms, labels=labels, max_detections=most, top_k=top_k
    )
    found = postprocess(predictions, ANCHORS, config, scorer)
    expected = reference.detect(predictions, ANCHORS, config, scorer)
    for one, other in zip(found, expected, strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize("threshold", [0.001, 0.05, 0.5, 0.99])
def test_no_candidate_is_overlooked(threshold):
    # One class against the background, and a score as near to the threshold as can be.
    exactly = torch.tensor(threshold, dtype=torch.float64).logit().float()
    logits = torch.full((41, 5), -200.0)
    logits[:, 0] = 0
    steps = torch.arange(-20, 21) * exactly.abs().clamp(min=1) * 2.0**-23
    logits[:, 2] = exactly + steps
    scores = logits.softmax(dim=1)[:, 1:]
    assert 0 < (scores.amax(dim=1) > threshold).sum() < 41
    apart = torch.tensor([[0.5 + i, 0.5, 0.5, 0.5] for i in range(41)])
    predictions = Predictions(
        box_offsets=torch.zeros(1, 41, 4),
        class_logits=logits[None],
        coefficients=torch.arange(41.0)[None, :, None],
        prototypes=torch.zeros(1, 1, 2, 2),
    )
    config = DetectionConfig(score_threshold=threshold, nms="cross-class", max_detections=100)
    (found,) = postprocess(predictions, apart, config)
    expected = (scores.amax(dim=1) > threshold).nonzero()[:, 0]
    assert sorted(found.coefficients[:, 0].tolist()) == expected.tolist()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_logits_of_a_network_that_diverged(bad):
    predictions = random_predictions(1)
    predictions.class_logits[0, ::3, 2] = bad
    predictions.class_logits[0, ::5, 0] = bad
    (found,) = postprocess(predictions, ANCHORS, CONFIG)
    (expected,) = reference.detect(predictions, ANCHORS, CONFIG)
    assert_equal(found, expected)


def test_scores_descend():
    for found in postprocess(random_predictions(2), ANCHORS, CONFIG):
        assert (found.scores.diff() <= 0).all()
        assert len(found) <= 100


def select(scores, config=CONFIG, anchors=None):
    number = len(scores)
    if anchors is None:  # in a row, apart
        anchors = torch.tensor([[0.5 + i, 0.5, 0.5, 0.5] for i in range(number)])
    return select_detections(
        torch.zeros(number, 4),
        torch.tensor(scores),
        torch.arange(float(number))[:, None],
        torch.zeros(1, 2, 2),
        anchors,
        config,
    )


def test_the_threshold_is_exclusive_and_on_the_best_class():
    # 1/16 is exact; only the last candidate is above it, and then with all of its classes.
    found = select(
        [[0.0625, 0.0], [0.0, 0.0625], [0.125, 1e-6]], DetectionConfig(score_threshold=0.0625)
    )
    assert found.labels.tolist() == [0, 1]
    assert found.coefficients[:, 0].tolist() == [2, 2]
    assert found.scores.tolist() == pytest.approx([0.125, 1e-6])


def test_coefficients_belong_to_their_boxes():
    found = select([[0.01], [0.5], [0.01], [0.75]])
    assert found.coefficients[:, 0].tolist() == [3, 1]
    assert found.boxes[:, 0].tolist() == [3.25, 1.25]


def test_the_most_detections():
    found = select([[0.5], [0.75], [0.625]], DetectionConfig(max_detections=2))
    assert found.scores.tolist() == [0.75, 0.625]


def test_more_detections_than_usually_take_part():
    scores = [[0.25 + i / 1024] for i in range(250)]  # of one class
    assert len(select(scores, DetectionConfig(max_detections=300))) == 250
    assert len(select(scores, DetectionConfig(max_detections=100))) == 100


TWO_CLASSES = [[0.75, 0.25], [0.5, 0.625], [0.125, 0.375]]


@pytest.mark.parametrize("nms", ["fast", "greedy"])
def test_only_some_classes_and_they_have_all_the_places(nms):
    everything = select(TWO_CLASSES, DetectionConfig(nms=nms))
    assert everything.labels.tolist() == [0, 1, 0, 1, 1, 0]
    found = select(TWO_CLASSES, DetectionConfig(nms=nms, labels=(1,), max_detections=2))
    assert found.labels.tolist() == [1, 1]
    assert found.scores.tolist() == [0.625, 0.375]
    assert found.coefficients[:, 0].tolist() == [1, 2]


def test_other_classes_still_suppress_across_classes():
    same_place = torch.tensor([[0.5, 0.5, 0.5, 0.5]] * 2)
    config = DetectionConfig(nms="cross-class", labels=(1,))
    assert len(select(TWO_CLASSES[:2], config, same_place)) == 0
    assert len(select(TWO_CLASSES[:2], config)) == 1


@pytest.mark.parametrize(("nms", "kept"), [("fast", [2]), ("greedy", [2, 0]), ("cross-class", [2])])
def test_the_choice_of_nms(nms, kept):
    # In a row, each over the next by an IoU of 0.6, the outer two by 1/3.
    row = torch.tensor([[2.0 + i, 0.5, 4.0, 1.0] for i in range(3)])
    found = select([[0.5], [0.625], [0.75]], DetectionConfig(nms=nms), row)
    assert found.coefficients[:, 0].tolist() == kept


def test_detections_know_where_their_masks_end():
    found = select([[0.5]], DetectionConfig(crop="soft", crop_margin=0.25))
    assert (found.crop, found.crop_margin) == ("soft", 0.25)


def test_undefined_scores_are_no_detections():
    assert len(select([[float("nan")], [0.5]])) == 1


def test_half_precision_is_computed_in_single():
    predictions = random_predictions(1)
    half = Predictions(**{k: v if v is None else v.half() for k, v in vars(predictions).items()})
    single = Predictions(**{k: v if v is None else v.float() for k, v in vars(half).items()})
    assert_equal(postprocess(half, ANCHORS, CONFIG)[0], postprocess(single, ANCHORS, CONFIG)[0])


def test_masks_are_scored_after_the_crop_by_their_own_class():
    predictions = random_predictions(2)
    plain = postprocess(predictions, ANCHORS, CONFIG)
    for before, after in zip(
        plain, postprocess(predictions, ANCHORS, CONFIG, share_of_the_picture), strict=True
    ):
        assert before.mask_scores is None
        assert_equal(replace(after, mask_scores=None), before)  # neither order nor scores change
        assert len(after) > 10
        for i in range(len(after)):
            soft = assemble_masks(after.prototypes, after.coefficients[i : i + 1])
            mean = crop_masks(soft, after.boxes[i : i + 1]).mean()
            expected = after.scores[i] * mean * (after.labels[i] + 1)
            torch.testing.assert_close(after.mask_scores[i], expected)


def test_there_may_be_no_masks_to_score():
    (found,) = postprocess(nothing_found(1), ANCHORS, CONFIG, share_of_the_picture)
    assert found.mask_scores.shape == (0,)
