from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import losses as oracle
from oracles import matching as matching_oracle
from yolact.config.training import LossConfig
from yolact.losses.criterion import YolactCriterion
from yolact.ops.anchors import generate_anchors
from yolact.ops.masks import assemble_masks, crop_masks
from yolact.structures import Predictions, Target

CLASSES = 3
ANCHORS = generate_anchors([(4, 4), (2, 2)], [[12], [24]], (1, 0.5), (32, 32)).double()
NOTHING = Target(
    boxes=torch.zeros(0, 4).double(),
    labels=torch.zeros(0, dtype=torch.int64),
    masks=torch.zeros(0, 16, 16, dtype=torch.uint8),
    is_crowd=torch.zeros(0, dtype=torch.bool),
)


def random_predictions(images, seed=0, anchors=ANCHORS):
    random = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    leaves = Predictions(
        box_offsets=normal(images, len(anchors), 4),
        class_logits=normal(images, len(anchors), CLASSES + 1) * 2,
        coefficients=normal(images, len(anchors), 2).tanh(),
        prototypes=normal(images, 2, 8, 8).abs(),
        semantic_logits=normal(images, CLASSES, 4, 4),
    )
    for tensor in vars(leaves).values():
        tensor.requires_grad_()
    return leaves


def rectangle(x1, y1, x2, y2):
    """Mask of a box in sixteenths, without its top left pixel."""
    mask = torch.zeros(16, 16, dtype=torch.uint8)
    mask[y1:y2, x1:x2] = 1
    mask[y1, x1] = 0
    return mask


def target(*objects):
    """Objects are (x1, y1, x2, y2 in sixteenths, label, is crowd)."""
    boxes = [box for box, _, _ in objects]
    return Target(
        boxes=torch.tensor(boxes).double() / 16,
        labels=torch.tensor([label for _, label, _ in objects]),
        masks=torch.stack([rectangle(*box) for box in boxes]),
        is_crowd=torch.tensor([crowd for _, _, crowd in objects]),
    )


TWO = target(((1, 1, 7, 6), 2, False), ((8, 3, 15, 15), 0, False))
ONE_AND_CROWD = target(((2, 9, 9, 15), 1, False), ((0, 0, 16, 8), -1, True))
CROWD_FIRST = target(((0, 0, 16, 8), -1, True), ((2, 9, 9, 15), 1, False))
CROWD_ONLY = target(((0, 0, 16, 8), -1, True))


def expected_losses(predictions, targets):
    """Specification 5.4 by loops; images without positives get three negatives."""
    box = classes = mask = semantic = 0.0
    num_positives = 0
    for i, truth in enumerate(targets):
        own = [m for m in range(len(truth.boxes)) if not truth.is_crowd[m]]
        boxes = truth.boxes.tolist()
        crowds = [boxes[m] for m in range(len(boxes)) if m not in own]
        anchors = ANCHORS.tolist()
        matched = matching_oracle.match(anchors, [boxes[m] for m in own], crowds)
        positive, neutral = [m >= 0 for m in matched], [m == -2 for m in matched]
        num_positives += sum(positive)
        logits = predictions.class_logits[i].tolist()
        prototypes = predictions.prototypes[i].tolist()
        size = (len(prototypes[0]), len(prototypes[0][0]))
        for a, m in enumerate(matched):
            if m < 0:
                continue
            truth_box = boxes[own[m]]
            offsets = predictions.box_offsets[i, a].tolist()
            box += oracle.smooth_l1(offsets, oracle.encode(truth_box, anchors[a]))
            classes += oracle.cross_entropy(logits[a], int(truth.labels[own[m]]) + 1)
            small = oracle.downscale(truth.masks[own[m]].tolist(), size)
            coefficients = predictions.coefficients[i, a].tolist()
            mask += oracle.mask_term(prototypes, coefficients, truth_box, small)
        for a in oracle.hard_negatives(logits, positive, neutral, 3):
            classes += oracle.cross_entropy(logits[a], 0)
        semantic += oracle.semantic_term(
            predictions.semantic_logits[i].tolist(),
            [int(truth.labels[m]) for m in own],
            [truth.masks[m].tolist() for m in own],
        )
    divisor = max(num_positives, 1)
    return {
        "box": 1.5 * box / divisor,
        "class": classes / divisor,
        "mask": 6.125 * mask / divisor,
        "semantic": semantic / len(targets),
    }


BATCHES = {
    "objects": (TWO,),
    "two images": (TWO, ONE_AND_CROWD),
    "crowd first": (CROWD_FIRST,),
    "one without objects": (NOTHING, TWO),
    "one with a crowd only": (TWO, CROWD_ONLY),
    "no objects": (NOTHING, NOTHING),
    "crowds only": (CROWD_ONLY,),
}


@pytest.mark.parametrize("name", BATCHES)
def test_equals_the_oracle(name):
    targets = BATCHES[name]
    predictions = random_predictions(len(targets))
    losses = YolactCriterion(LossConfig())(predictions, targets, ANCHORS)
    expected = expected_losses(predictions, targets)
    assert list(losses) == ["box", "class", "mask", "semantic"]
    for term, loss in losses.items():
        assert loss.item() == pytest.approx(expected[term]), term


@pytest.mark.parametrize("name", BATCHES)
def test_every_prediction_gets_a_finite_gradient(name):
    targets = BATCHES[name]
    predictions = random_predictions(len(targets))
    sum(YolactCriterion(LossConfig())(predictions, targets, ANCHORS).values()).backward()
    for part, tensor in vars(predictions).items():
        assert tensor.grad.isfinite().all(), part


@pytest.mark.parametrize("targets", [(NOTHING,), (CROWD_ONLY,)])
def test_without_objects_only_background_is_learnt(targets):
    losses = YolactCriterion(LossConfig())(random_predictions(1), targets, ANCHORS)
    assert losses["box"].item() == losses["mask"].item() == 0
    assert losses["class"].item() > 0
    assert losses["semantic"].item() > 0


def test_an_image_without_objects_teaches_three_anchors():
    predictions = random_predictions(1)
    losses = YolactCriterion(LossConfig())(predictions, (NOTHING,), ANCHORS)
    losses["class"].backward()
    taught = predictions.class_logits.grad.abs().sum(dim=-1) > 0
    assert taught.sum() == 3


def test_anchors_inside_a_crowd_are_not_taught():
    everywhere = target(((0, 0, 16, 16), -1, True))
    small = generate_anchors([(4, 4)], [[4]], (1,), (32, 32)).double()
    predictions = random_predictions(1, anchors=small)
    losses = YolactCriterion(LossConfig())(predictions, (everywhere,), small)
    assert losses["class"].item() == 0
    losses["class"].backward()
    assert not predictions.class_logits.grad.any()


def test_predictions_that_equal_the_truth_cost_nothing():
    predictions = random_predictions(1)
    anchors, targets = ANCHORS, (TWO,)
    matched = torch.tensor(matching_oracle.match(anchors.tolist(), TWO.boxes.tolist(), []))
    with torch.no_grad():
        predictions.class_logits.fill_(-50)
        predictions.class_logits[..., 0] = 50
        for a, m in enumerate(matched.tolist()):
            if m >= 0:
                encoded = oracle.encode(TWO.boxes[m].tolist(), anchors[a].tolist())
                predictions.box_offsets[0, a] = torch.tensor(encoded).double()
                predictions.class_logits[0, a] = -50
                predictions.class_logits[0, a, TWO.labels[m] + 1] = 50
    losses = YolactCriterion(LossConfig())(predictions, targets, anchors)
    assert losses["box"].item() == pytest.approx(0, abs=1e-9)
    assert losses["class"].item() == pytest.approx(0, abs=1e-9)


def test_weights_multiply_their_term():
    predictions = random_predictions(1)
    plain = YolactCriterion(LossConfig())(predictions, (TWO,), ANCHORS)
    config = LossConfig(box_weight=3.0, class_weight=2.0, mask_weight=1.0, semantic_weight=0.0)
    weighed = YolactCriterion(config)(predictions, (TWO,), ANCHORS)
    assert weighed["box"].item() == pytest.approx(plain["box"].item() * 2)
    assert weighed["class"].item() == pytest.approx(plain["class"].item() * 2)
    assert weighed["mask"].item() == pytest.approx(plain["mask"].item() / 6.125)
    assert weighed["semantic"].item() == 0


def test_a_subset_of_mask_positives_stands_for_all():
    predictions = random_predictions(1)
    with torch.no_grad():
        predictions.coefficients[:] = torch.tensor([0.3, -0.4]).double()
    one = (target(((1, 1, 9, 9), 2, False)),)  # every positive costs the same
    config = LossConfig(positive_iou=0.2, negative_iou=0.1)
    whole = YolactCriterion(config)(predictions, one, ANCHORS)["mask"]
    few = YolactCriterion(replace(config, max_mask_positives=1))(predictions, one, ANCHORS)["mask"]
    assert whole.item() > 0
    assert few.item() == pytest.approx(whole.item())


def test_a_subset_of_mask_positives_is_right_on_average():
    predictions = random_predictions(1)
    config = LossConfig(positive_iou=0.2, negative_iou=0.1)
    whole = YolactCriterion(config)(predictions, (TWO,), ANCHORS)
    criterion = YolactCriterion(replace(config, max_mask_positives=3))
    torch.manual_seed(0)
    draws = torch.stack([criterion(predictions, (TWO,), ANCHORS)["mask"] for _ in range(300)])
    assert draws.std() > 0.01 * whole["mask"]  # the subsets do differ
    assert draws.mean().item() == pytest.approx(whole["mask"].item(), rel=0.05)
    few = criterion(predictions, (TWO,), ANCHORS)
    for term in ("box", "class", "semantic"):  # these use all
        assert few[term].item() == whole[term].item()


def test_masks_may_come_at_prototype_resolution():
    predictions = random_predictions(1)
    masks = torch.zeros(2, 16, 16, dtype=torch.uint8)
    masks[0, 2:6, 2:6] = 1
    masks[1, 4:14, 8:14] = 1
    large = replace(TWO, masks=masks)
    small = replace(TWO, masks=masks[:, ::2, ::2])  # their edges are even: nothing is lost
    criterion = YolactCriterion(LossConfig())
    from_large = criterion(predictions, (large,), ANCHORS)
    from_small = criterion(predictions, (small,), ANCHORS)
    assert from_small["mask"].item() == pytest.approx(from_large["mask"].item())


def test_positives_are_counted_over_the_batch():
    targets = (TWO, NOTHING, ONE_AND_CROWD)
    expected = 0
    for truth in targets:
        boxes = truth.boxes[~truth.is_crowd].tolist()
        crowds = truth.boxes[truth.is_crowd].tolist()
        expected += sum(m >= 0 for m in matching_oracle.match(ANCHORS.tolist(), boxes, crowds))
    criterion = YolactCriterion(LossConfig())
    matching = criterion.match(targets, ANCHORS)
    assert matching.num_positives.item() == expected
    assert sum(matching.counts) == expected
    assert matching.is_positive.sum(dim=1).tolist() == matching.counts
    assert criterion.match((NOTHING,), ANCHORS).num_positives.item() == 0


def test_parts_of_a_batch_add_up_to_the_whole():
    targets = (TWO, NOTHING, ONE_AND_CROWD)
    predictions = random_predictions(3)
    criterion, judge = YolactCriterion(LossConfig()), Judge()
    whole = criterion(predictions, targets, ANCHORS, judge)
    count = criterion.match(targets, ANCHORS).num_positives
    sums = dict.fromkeys(whole, 0.0)
    for i, truth in enumerate(targets):
        one = replace(predictions, **{k: v[i : i + 1] for k, v in vars(predictions).items()})
        known = criterion.match((truth,), ANCHORS)
        part = criterion(
            one, (truth,), ANCHORS, judge, matching=known, num_positives=count, num_images=3
        )
        for term, loss in part.items():
            sums[term] += loss.item()
    for term, loss in whole.items():
        assert sums[term] == pytest.approx(loss.item()), term


def test_a_count_below_one_divides_by_one():
    predictions = random_predictions(1)
    criterion = YolactCriterion(LossConfig())
    none = criterion(predictions, (TWO,), ANCHORS, num_positives=torch.tensor(0.5))
    one = criterion(predictions, (TWO,), ANCHORS, num_positives=torch.tensor(1.0))
    assert {k: v.item() for k, v in none.items()} == {k: v.item() for k, v in one.items()}


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_as_float32(half):
    leaves = {k: v.detach().to(half) for k, v in vars(random_predictions(1)).items()}
    targets = (replace(TWO, boxes=TWO.boxes.float()),)
    anchors = ANCHORS.float()
    with torch.autocast("cpu", torch.bfloat16):
        small = YolactCriterion(LossConfig())(Predictions(**leaves), targets, anchors)
    full = Predictions(**{k: v.float() for k, v in leaves.items()})
    for term, loss in YolactCriterion(LossConfig())(full, targets, anchors).items():
        assert small[term].dtype == torch.float32
        assert small[term].item() == loss.item(), term


def test_boxes_without_area_are_passed_over():
    flat = target(((3, 3, 3, 9), 1, False), ((1, 1, 7, 6), 2, False), ((5, 5, 5, 5), 0, False))
    kept = target(((1, 1, 7, 6), 2, False))
    predictions = random_predictions(1)
    losses = YolactCriterion(LossConfig())(predictions, (flat,), ANCHORS, Judge())
    expected = YolactCriterion(LossConfig())(predictions, (kept,), ANCHORS, Judge())
    assert {k: v.item() for k, v in losses.items()} == {k: v.item() for k, v in expected.items()}


def test_targets_are_left_alone():
    before = {name: tensor.clone() for name, tensor in vars(ONE_AND_CROWD).items()}
    YolactCriterion(LossConfig())(random_predictions(1), (ONE_AND_CROWD,), ANCHORS)
    for name, tensor in vars(ONE_AND_CROWD).items():
        assert torch.equal(tensor, before[name])


def test_semantic_logits_are_needed():
    predictions = replace(random_predictions(1), semantic_logits=None)
    with pytest.raises(ValueError, match="semantic logits"):
        YolactCriterion(LossConfig())(predictions, (TWO,), ANCHORS)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 40), st.sampled_from([1.0, 1e2, 1e4]), st.integers(0, 2**31))
def test_odd_targets_and_extreme_predictions_stay_finite(number, scale, seed):
    random = torch.Generator().manual_seed(seed)
    near = torch.rand(number, 2, generator=random) * 2 - 0.5  # also outside
    # From flat, and a millionth of the picture, to far beyond it.
    side = 10 ** (torch.rand(number, 2, generator=random) * 7 - 6)
    side[torch.rand(number, 2, generator=random) < 0.1] = 0
    truth = Target(
        boxes=torch.cat((near, near + side), dim=1),
        labels=torch.randint(CLASSES, (number,), generator=random),
        masks=torch.randint(0, 2, (number, 16, 16), generator=random, dtype=torch.uint8),
        is_crowd=torch.rand(number, generator=random) < 0.2,
    )
    leaves = {
        name: (tensor.detach().float() * scale).requires_grad_()
        for name, tensor in vars(random_predictions(1, seed)).items()
    }
    criterion = YolactCriterion(LossConfig())
    losses = criterion(Predictions(**leaves), (truth,), ANCHORS.float(), Judge().float())
    torch.stack(list(losses.values())).sum().backward()
    for term, loss in losses.items():
        assert loss.isfinite(), term
    for name, leaf in leaves.items():
        assert leaf.grad.isfinite().all(), name


@pytest.mark.parametrize("name", ["prototypes", "coefficients"])
def test_a_diverged_network_gives_nan_and_not_an_error(name):
    # The training loop skips steps whose loss is not finite; it can only do so if it gets one.
    predictions = random_predictions(1)
    diverged = replace(predictions, **{name: getattr(predictions, name) * float("nan")})
    losses = YolactCriterion(LossConfig())(diverged, (TWO,), ANCHORS)
    assert losses["mask"].isnan()


class Judge(torch.nn.Module):
    """Says for class c: ``weight`` times the mean of the mask, plus c."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.5).double())
        self.seen = []

    def forward(self, masks):
        self.seen.append(masks)
        return self.weight * masks.mean(dim=(1, 2))[:, None] + torch.arange(CLASSES)


@pytest.mark.parametrize("name", BATCHES)
def test_a_judge_of_masks_has_a_loss_in_every_batch(name):
    targets = BATCHES[name]
    judge, predictions = Judge(), random_predictions(len(targets))
    plain = YolactCriterion(LossConfig())(predictions, targets, ANCHORS)
    losses = YolactCriterion(LossConfig())(predictions, targets, ANCHORS, judge)
    assert list(losses) == [*plain, "mask_iou"]
    for term, loss in plain.items():
        assert torch.equal(losses[term], loss)
    losses["mask_iou"].backward()
    assert judge.weight.grad.isfinite()


def test_the_mask_iou_loss_by_hand():
    """On 8 x 8 prototypes the first object has 20 pixels, too few; the second 7 x 6 = 42."""
    masks = torch.zeros(2, 16, 16, dtype=torch.uint8)
    masks[0, 0:8, 0:10] = 1
    masks[1, 2:14, 2:16] = 1
    boxes = torch.tensor([(0, 0, 10, 8), (2, 2, 16, 14)]).double() / 16
    truth = Target(boxes, torch.tensor([1, 2]), masks, torch.zeros(2, dtype=torch.bool))
    judge, predictions = Judge(), random_predictions(1)
    config = LossConfig(mask_iou_weight=10.0)
    loss = YolactCriterion(config)(predictions, (truth,), ANCHORS, judge)["mask_iou"]

    matched = matching_oracle.match(ANCHORS.tolist(), boxes.tolist(), [])
    positive = [a for a, m in enumerate(matched) if m >= 0]
    second = [a for a in positive if matched[a] == 1]
    assert 0 < len(second) < len(positive)
    expected = 0.0
    for i, a in enumerate(second):
        soft = assemble_masks(predictions.prototypes[0], predictions.coefficients[0, a : a + 1])
        soft = crop_masks(soft, boxes[1:])
        torch.testing.assert_close(judge.seen[0][i], soft[0])
        small = torch.zeros(8, 8, dtype=torch.bool)
        small[1:7, 1:8] = True
        found = soft[0] > 0.5
        iou = ((found & small).sum() / (found | small).sum()).item()
        said = 0.5 * soft.mean().item() + 2
        expected += oracle.smooth_l1([said], [iou])
    assert len(judge.seen[0]) == len(second)
    assert loss.item() == pytest.approx(10 * expected / len(positive))
    loss.backward()  # not detached (spec, appendix C 17)
    assert predictions.prototypes.grad.any()
    assert predictions.coefficients.grad.any()


def test_a_diverged_network_has_no_mask_iou_either():
    predictions = random_predictions(1)
    diverged = replace(predictions, prototypes=predictions.prototypes * float("nan"))
    large = target(((1, 1, 15, 15), 2, False))
    losses = YolactCriterion(LossConfig())(diverged, (large,), ANCHORS, Judge())
    assert losses["mask_iou"].isnan()
