import pytest
import torch

from yolact.ops.anchors import generate_anchors

SIZES_AT_550 = [(69, 69), (35, 35), (18, 18), (9, 9), (5, 5)]
SIZES_AT_400 = [(50, 50), (25, 25), (13, 13), (7, 7), (4, 4)]
SIZES_AT_700 = [(88, 88), (44, 44), (22, 22), (11, 11), (6, 6)]
SCALES = [[24], [48], [96], [192], [384]]
NINE_PER_CELL = [[s, s * 2 ** (1 / 3), s * 2 ** (2 / 3)] for [s] in SCALES]
RATIOS = (1, 1 / 2, 2)

FIRST_CENTER = 0.00724637695  # 0.5 / 69


def test_first_priors_of_the_published_models():
    anchors = generate_anchors(SIZES_AT_550, SCALES, RATIOS, (550, 550), square=True)
    side = torch.tensor([0.043636363, 0.0308555681, 0.0617111363])
    expected = torch.stack(
        (torch.full((3,), FIRST_CENTER), torch.full((3,), FIRST_CENTER), side, side), dim=1
    )
    torch.testing.assert_close(anchors[:3], expected, rtol=1e-7, atol=0)
    assert anchors.double().sum().item() == pytest.approx(21850.841, abs=2e-3)
    assert anchors.shape == (19248, 4)
    assert anchors.dtype == torch.float32


def test_first_priors_with_nine_per_cell():
    anchors = generate_anchors(SIZES_AT_550, NINE_PER_CELL, RATIOS, (550, 550))
    sizes = [
        (0.043636363, 0.043636363),
        (0.0308555681, 0.0617111363),
        (0.0617111363, 0.0308555681),
        (0.0549783744, 0.0549783744),
        (0.0388755798, 0.0777511597),
        (0.0777511597, 0.0388755798),
        (0.0692684129, 0.0692684129),
        (0.0489801615, 0.0979603231),
        (0.0979603231, 0.0489801615),
    ]
    expected = torch.tensor([(FIRST_CENTER, FIRST_CENTER, w, h) for w, h in sizes])
    torch.testing.assert_close(anchors[:9], expected, rtol=1e-7, atol=0)
    assert anchors.double().sum().item() == pytest.approx(67757.966, abs=2e-3)
    assert anchors.shape == (57744, 4)


@pytest.mark.parametrize(
    ("sizes", "number"), [(SIZES_AT_550, 19248), (SIZES_AT_400, 10077), (SIZES_AT_700, 30963)]
)
def test_number_of_anchors(sizes, number):
    assert len(generate_anchors(sizes, SCALES, RATIOS, (550, 550))) == number


def test_order_is_row_column_scale_ratio():
    anchors = generate_anchors([(2, 3)], [[10, 20]], (1, 4), (100, 200))
    expected = [
        (cx / 6, cy / 4, w / 200, h / 100)
        for cy in (1, 3)
        for cx in (1, 3, 5)
        for w, h in ((10, 10), (20, 5), (20, 20), (40, 10))
    ]
    torch.testing.assert_close(anchors, torch.tensor(expected))


def test_levels_follow_each_other():
    first = generate_anchors([(2, 2)], [[8]], RATIOS, (64, 64))
    second = generate_anchors([(1, 1)], [[16]], RATIOS, (64, 64))
    both = generate_anchors([(2, 2), (1, 1)], [[8], [16]], RATIOS, (64, 64))
    assert torch.equal(both, torch.cat((first, second)))


def test_ratio_keeps_the_area():
    anchors = generate_anchors([(1, 1)], [[32]], (1, 0.5, 2, 3), (64, 64))
    torch.testing.assert_close(anchors[:, 2] * anchors[:, 3], torch.full((4,), 0.25))


def test_square_anchors_of_a_wide_input_are_square_in_pixels():
    anchors = generate_anchors([(1, 1)], [[32]], (1, 0.5, 2), (64, 128), square=True)
    torch.testing.assert_close(anchors[:, 2] * 128, anchors[:, 3] * 64)


def test_a_level_without_scales_of_its_own_is_an_error():
    with pytest.raises(ValueError, match="zip"):
        generate_anchors([(2, 2), (1, 1)], [[8]], RATIOS, (64, 64))
