import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from yolact.ops.prototypes import KINDS, describe_prototypes

SIZE = (24, 32)


def two_objects() -> torch.Tensor:
    masks = torch.zeros(2, *SIZE, dtype=torch.bool)
    masks[0, 4:14, 3:12] = True
    masks[1, 8:20, 18:28] = True
    return masks


def ramp(horizontal: bool) -> torch.Tensor:
    x = torch.linspace(0, 1, SIZE[1]).expand(SIZE)
    return x if horizontal else torch.linspace(0, 1, SIZE[0])[:, None].expand(SIZE)


def rings(masks: torch.Tensor) -> torch.Tensor:
    """One on the two rows of cells along each rectangle's edge."""
    result = torch.zeros(SIZE)
    for mask in masks:
        rows, columns = mask.nonzero().T
        top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
        result[top - 1 : bottom + 2, left - 1 : right + 2] = 1
        result[top + 1 : bottom, left + 1 : right] = 0
    return result


@pytest.mark.parametrize("sign", [1, -1])
def test_each_kind_is_told(sign):
    masks = two_objects()
    telling_apart = torch.full(SIZE, 0.5)
    telling_apart[masks[0]], telling_apart[masks[1]] = 0.0, 1.0
    prototypes = sign * torch.stack(
        [ramp(True), ramp(False), masks.any(dim=0).float(), rings(masks), telling_apart]
    )
    roles = describe_prototypes(prototypes, masks)
    assert [role.kind for role in roles] == list(KINDS)
    for place, role in enumerate(roles):
        assert abs(role.strengths[place]) == pytest.approx(1, abs=1e-4)
        assert role.is_alive


def test_a_prototype_without_contrast_is_dead():
    prototypes = torch.stack([torch.zeros(SIZE), torch.full(SIZE, 7.0), ramp(True)])
    roles = describe_prototypes(prototypes, two_objects())
    assert [role.kind for role in roles] == ["dead", "dead", "left-right"]
    assert roles[0].strengths == (0.0,) * 5


def test_noise_is_mixed():
    noise = torch.randn(1, *SIZE, generator=torch.Generator().manual_seed(0))
    assert describe_prototypes(noise, two_objects())[0].kind == "mixed"


def test_without_objects_only_position_can_be_told():
    (role,) = describe_prototypes(ramp(False)[None], torch.zeros(0, *SIZE, dtype=torch.bool))
    assert role.kind == "top-bottom"
    assert role.strengths[2:] == (0.0, 0.0, 0.0)


@given(seed=st.integers(0, 999), count=st.integers(0, 4), scale=st.floats(1e-3, 1e3))
def test_strengths_stay_in_range_and_do_not_depend_on_scale(seed, count, scale):
    generator = torch.Generator().manual_seed(seed)
    prototypes = torch.randn(3, 9, 11, generator=generator).double()
    masks = torch.rand(count, 9, 11, generator=generator) > 0.7
    plain = describe_prototypes(prototypes, masks)
    scaled = describe_prototypes(prototypes * scale, masks)
    for one, other in zip(plain, scaled, strict=True):
        assert one.strengths == pytest.approx(other.strengths, abs=1e-6)
        assert all(-1.000001 <= strength <= 1.000001 for strength in one.strengths)
        assert one.strengths[-1] >= 0
