"""Images of any size through networks that take only some."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models.architectures.registry import GENERATORS, define_G
from models.inference.padding import Sides, keep_sizes, pad, translate_any_size
from util.base.log import silently

SIDES = st.integers(1, 70)


def make(netG: str) -> nn.Module:
    """Build a small generator."""
    with silently():
        return define_G(3, 3, 2, netG, "instance").eval()


NETWORKS = {netG: make(netG) for netG in GENERATORS}


@pytest.mark.parametrize("netG", GENERATORS)
@settings(max_examples=6, deadline=None)
@given(height=SIDES, width=SIDES)
def test_every_generator_returns_images_of_the_size_they_had(
    netG: str, height: int, width: int
) -> None:
    with torch.no_grad():
        made = translate_any_size(NETWORKS[netG], torch.rand(1, 3, height, width))
    assert made.shape == (1, 3, height, width)
    assert made.isfinite().all()


@given(height=SIDES, width=SIDES, divisor=st.integers(1, 9), shortest=st.integers(1, 9))
def test_images_are_continued_by_their_mirror_image(
    height: int, width: int, divisor: int, shortest: int
) -> None:
    x = torch.arange(height * width).view(1, 1, height, width)
    wide = pad(x, Sides(divisor, shortest))
    assert torch.equal(wide[..., :height, :width], x)
    for side, longer in zip((height, width), wide.shape[-2:], strict=True):
        assert longer % divisor == 0
        assert longer >= max(side, shortest)
        assert longer < max(side, shortest) + divisor
    if width < wide.shape[-1] < 2 * width:  # the outermost pixel is not repeated
        assert torch.equal(wide[..., width], wide[..., width - 2])


def test_a_single_pixel_is_repeated() -> None:
    assert pad(torch.full((1, 1, 1, 1), 7), Sides(4, 5)).unique().tolist() == [7]


def test_images_that_fit_reach_the_network_untouched() -> None:
    seen: list[Tensor] = []
    x = torch.rand(1, 3, 8, 12)
    net = NETWORKS["resnet_6blocks"]
    made = translate_any_size(net, x, lambda images: seen.append(images) or net(images))
    assert seen[0] is x
    assert torch.equal(made, net(x))


def test_a_network_can_be_told_to_keep_sizes_itself() -> None:
    net = make("unet_128")
    x = torch.rand(1, 3, 30, 45)
    expected = translate_any_size(net, x)
    keep_sizes(net)
    assert torch.equal(net(x), expected)


def test_a_network_that_states_nothing_gets_multiples_of_4() -> None:
    assert Sides.of(nn.Identity()) == (4, 4)
