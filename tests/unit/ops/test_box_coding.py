from math import log

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from yolact.ops.box_coding import decode_boxes, encode_boxes

position = st.floats(-1, 2)
side = st.floats(0.01, 2)


@settings(deadline=None)
@given(st.tuples(position, position, side, side), st.tuples(position, position, side, side))
def test_decoding_undoes_encoding(target, anchor):
    cx, cy, w, h = target
    box = torch.tensor([[cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]], dtype=torch.float64)
    anchors = torch.tensor([anchor], dtype=torch.float64)
    torch.testing.assert_close(decode_boxes(encode_boxes(box, anchors), anchors), box)


@settings(deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=4, max_size=4))
def test_encoding_undoes_decoding(offsets):
    anchors = torch.tensor([[0.5, 0.25, 0.5, 0.125]], dtype=torch.float64)
    given_offsets = torch.tensor([offsets], dtype=torch.float64)
    recovered = encode_boxes(decode_boxes(given_offsets, anchors), anchors)
    torch.testing.assert_close(recovered, given_offsets, atol=1e-9, rtol=1e-9)


def test_an_anchor_is_its_own_zero():
    anchors = torch.tensor([[0.5, 0.5, 0.25, 0.5]])
    box = torch.tensor([[0.375, 0.25, 0.625, 0.75]])
    assert torch.equal(encode_boxes(box, anchors), torch.zeros(1, 4))
    assert torch.equal(decode_boxes(torch.zeros(1, 4), anchors), box)


def test_hand_values():
    anchors = torch.tensor([[0.5, 0.5, 0.2, 0.4]])
    box = torch.tensor([[0.5, 0.3, 0.9, 0.5]])  # centre (0.7, 0.4), size (0.4, 0.2)
    # 0.2 / (0.1 * 0.2), -0.1 / (0.1 * 0.4), ln 2 / 0.2, ln 0.5 / 0.2
    expected = torch.tensor([[10.0, -2.5, 5 * log(2), -5 * log(2)]])
    torch.testing.assert_close(encode_boxes(box, anchors), expected)
    torch.testing.assert_close(decode_boxes(expected, anchors), box)


def test_decoded_boxes_are_not_clipped():
    anchors = torch.tensor([[0.9, 0.1, 0.5, 0.5]])
    expected = torch.tensor([[0.65, -0.15, 1.15, 0.35]])
    torch.testing.assert_close(decode_boxes(torch.zeros(1, 4), anchors), expected)


def test_the_far_corner_is_the_near_one_plus_the_size():
    anchors = torch.rand(1000, 4, generator=torch.Generator().manual_seed(0))
    center, size = anchors[:, :2], anchors[:, 2:]
    far = decode_boxes(torch.zeros(1000, 4), anchors)[:, 2:]
    assert torch.equal(far, (center - size / 2) + size)
    assert not torch.equal(far, center + size / 2)  # some differ in the last bit


def test_no_boxes():
    nothing = torch.zeros(0, 4)
    assert encode_boxes(nothing, nothing).shape == (0, 4)
    assert decode_boxes(nothing, nothing).shape == (0, 4)
