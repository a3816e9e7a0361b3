"""The networks of StarGAN v2: keys, sizes, heads, edges of the source."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.architectures import stargan_v2, switches
from util.base.errors import UserError

NETWORKS: dict[str, tuple[Any, int, int]] = {  # of 256 pixels, with keys and parameters
    "G, w_hpf 0": (lambda: stargan_v2.Generator(256, w_hpf=0), 108, 33_892_995),
    "G, w_hpf 1": (lambda: stargan_v2.Generator(256, w_hpf=1), 125, 43_467_395),
    "F, 2 domains": (lambda: stargan_v2.MappingNetwork(num_domains=2), 24, 2_438_272),
    "F, 3 domains": (lambda: stargan_v2.MappingNetwork(num_domains=3), 32, 3_259_072),
    "E, 2 domains": (lambda: stargan_v2.StyleEncoder(256, num_domains=2), 35, 20_916_928),
    "E, 3 domains": (lambda: stargan_v2.StyleEncoder(256, num_domains=3), 37, 20_949_760),
    "D, 2 domains": (lambda: stargan_v2.Discriminator(256, num_domains=2), 33, 20_852_290),
    "D, 3 domains": (lambda: stargan_v2.Discriminator(256, num_domains=3), 33, 20_852_803),
}


def generator(**more: Any) -> stargan_v2.Generator:
    return stargan_v2.Generator(32, **{"w_hpf": 0, "ngf": 1, "max_conv_dim": 16, **more})


def images(count: int = 2, side: int = 32) -> Tensor:
    return torch.rand(count, 3, side, side) * 2 - 1


@pytest.mark.parametrize("name", NETWORKS)
def test_keys_and_parameters_are_those_of_the_published_networks(name: str) -> None:
    make, keys, parameters = NETWORKS[name]
    with torch.device("meta"):
        net = make()
    assert len(net.state_dict()) == keys
    assert sum(each.numel() for each in net.parameters()) == parameters


def test_keys_have_the_published_names() -> None:
    with torch.device("meta"):
        keys = {*stargan_v2.Generator(256, w_hpf=1).state_dict()}
        of_E = {*stargan_v2.StyleEncoder(256).state_dict()}
        of_D = {*stargan_v2.Discriminator(256).state_dict()}
    assert {"from_rgb.weight", "encode.0.norm1.weight", "encode.0.conv1x1.weight", "hpf.filter",
            "decode.6.norm2.fc.bias", "to_rgb.0.weight", "to_rgb.2.bias"} <= keys  # fmt: skip
    assert {"shared.0.weight", "shared.6.conv2.bias", "shared.8.weight", "unshared.1.bias"} <= of_E
    assert {"main.0.weight", "main.6.conv1.bias", "main.8.weight", "main.10.bias"} <= of_D


@pytest.mark.parametrize("side", [0, 8, 48, 100, 255])
def test_sides_that_are_no_power_of_two_are_refused_by_name(side: int) -> None:
    for make in (stargan_v2.Generator, stargan_v2.StyleEncoder, stargan_v2.Discriminator):
        with pytest.raises(UserError, match=f"power of two, 16 or more, not {side}"):
            make(side)


def test_every_item_gets_the_head_of_its_domain() -> None:
    torch.manual_seed(0)
    netF = stargan_v2.MappingNetwork(num_domains=3)
    netD, netE = stargan_v2.Discriminator(32, 3, 8, 1), stargan_v2.StyleEncoder(32, 64, 3, 8, 1)
    z, x, y = torch.randn(4, 16), images(4), torch.tensor([2, 0, 1, 2])
    alone: list[tuple[Tensor, ...]] = []
    for i in range(4):
        one = slice(i, i + 1)
        alone.append((netF.unshared[int(y[i])](netF.shared(z[one])),
                      netE.unshared[int(y[i])](netE.shared(x[one]).flatten(1)),
                      netD.main(x[one]).flatten(1)[:, int(y[i])]))  # fmt: skip
    made = (netF(z, y), netE(x, y), netD(x, y))
    for together, *parts in zip(made, *alone, strict=True):
        torch.testing.assert_close(together, torch.cat(parts), atol=1e-5, rtol=1e-4)


def test_a_style_changes_the_image_of_its_item_only() -> None:
    torch.manual_seed(0)
    net, x, s = generator(), images(), torch.randn(2, 64)
    changed = s.clone()
    changed[1] += 1
    first, second = net(x, s), net(x, changed)
    torch.testing.assert_close(first[0], second[0])
    assert (first[1] - second[1]).abs().max() > 0.01


def test_edges_come_from_where_the_masks_say() -> None:
    torch.manual_seed(0)
    net, x, s = generator(w_hpf=1), images(), torch.randn(2, 64)
    mask = torch.zeros(2, 1, 32, 32)
    without = net(x, s, (mask, mask))
    torch.testing.assert_close(without, net(x, s))  # nowhere is the same as none
    mask[0, :, :16] = 1
    made = net(x, s, (mask, torch.zeros_like(mask)))  # 32 pixels: the first mask counts
    torch.testing.assert_close(made[1], without[1])
    assert (made[0] - without[0]).abs().max() > 1e-3


def test_the_high_pass_keeps_edges_and_nothing_else() -> None:
    net = stargan_v2.HighPass(2.0)
    flat = torch.full((1, 2, 5, 5), 3.0)
    assert net(flat)[..., 1:-1, 1:-1].abs().max() == 0
    flat[0, 1, 2, 2] += 1
    assert net(flat)[0, 1, 2, 2] == 8 / 2
    assert net(flat)[0, 0, 2, 2] == 0  # channels do not mix


@pytest.mark.parametrize("net", ["G", "E", "D"])
def test_gradients_at_batch_1_are_those_of_float64_in_every_layout(net: str) -> None:
    torch.manual_seed(0)
    nets: dict[str, nn.Module] = {
        "G": generator(),
        "E": stargan_v2.StyleEncoder(32, 64, 2, 8, 1),
        "D": stargan_v2.Discriminator(32, 2, 8, 1),
    }
    module, first, other = nets[net], images(1), torch.randn(1, 64)

    def gradient(dtype: torch.dtype, layout: torch.memory_format) -> Tensor:
        copied = copy.deepcopy(module).to(dtype).to(memory_format=layout)
        x = first.detach().to(dtype=dtype, memory_format=layout).requires_grad_()
        made = copied(x, other.to(dtype) if net == "G" else torch.tensor([1]))
        made = made.contiguous(memory_format=layout) if made.dim() == 4 else made
        weights = torch.linspace(0, 1, made.numel(), dtype=dtype).view(made.shape)
        (found,) = torch.autograd.grad((made * weights).sum(), x)
        return found.double()

    precise = gradient(torch.float64, torch.contiguous_format)
    for layout in (torch.contiguous_format, torch.channels_last):
        found = gradient(torch.float32, layout)
        torch.testing.assert_close(found, precise, atol=1e-4, rtol=1e-3)


def test_computing_blocks_twice_changes_no_number() -> None:
    torch.manual_seed(0)
    net, x, s = generator().double(), images().double(), torch.randn(2, 64).double()
    gradients = []
    for twice in (False, True):
        if twice:
            assert switches.recompute_blocks(net)
        net.zero_grad()
        net(x, s).square().mean().backward()
        gradients.append([each.grad.clone() for each in net.parameters()])  # type: ignore[union-attr]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-12, atol=1e-12)
