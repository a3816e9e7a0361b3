"""Reflection padding that is the same in every run."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from models.architectures.layers import mirror_border

SIDES = st.integers(0, 4)


@given(padding=st.tuples(SIDES, SIDES, SIDES, SIDES), height=st.integers(5, 8))
def test_mirrored_strips_are_reflection_padding(
    padding: tuple[int, int, int, int], height: int
) -> None:
    x = torch.arange(2 * 3 * height * 6, dtype=torch.float64).reshape(2, 3, height, 6)
    x.requires_grad_()
    ours, theirs = mirror_border(x, padding), nn.ReflectionPad2d(padding)(x)
    assert torch.equal(ours, theirs)
    weights = torch.rand_like(ours)
    one, other = (torch.autograd.grad((y * weights).sum(), x)[0] for y in (ours, theirs))
    assert torch.allclose(one, other, rtol=1e-14)
