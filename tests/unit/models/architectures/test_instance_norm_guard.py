"""The CPU never feeds a channels_last gradient into instance norm at batch 1.

torch 2.13 and 2.15 silently compute a wrong input gradient there, as large as the gradient
itself. Every result is compared with float64 in the usual memory layout.
"""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from models.architectures.layers import guard_instance_norm
from models.networks import (
    cal_gradient_penalty,
    define_D,
    define_G,
    init_net,
)
from tests.support.small_models import noise

CPU = torch.device("cpu")
LAYOUTS = [torch.contiguous_format, torch.channels_last]
BOUND = 1e-3  # of the largest entry; the fault is of order 1


def gap(found: Tensor | None, wanted: Tensor | None) -> float:
    """Return the largest difference relative to the largest entry."""
    assert found is not None
    assert wanted is not None
    difference = (found.detach().double() - wanted.detach()).abs().max()
    return float(difference / wanted.detach().abs().max())


def exact_input_gradient(x: Tensor, weight: Tensor, *, relu: bool, scale: Tensor | None) -> Tensor:
    """Differentiate the definition of instance norm in float64."""
    x = x.detach().double().contiguous().requires_grad_()
    mean = x.mean((2, 3), keepdim=True)
    y = (x - mean) / torch.sqrt(x.var((2, 3), correction=0, keepdim=True) + 1e-5)
    if scale is not None:
        y = y * scale.detach().double()[:, None, None]
    if relu:
        y = y.clamp(min=0)
    (y * weight.double()).sum().backward()
    assert x.grad is not None
    return x.grad


@pytest.mark.parametrize("affine", [False, True], ids=["plain", "affine"])
@pytest.mark.parametrize("relu", [False, True], ids=["alone", "in-place ReLU"])
@pytest.mark.parametrize("gradient_layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("input_layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("n", [1, 2])
def test_input_gradient_is_right_in_every_layout(
    n: int,
    input_layout: torch.memory_format,
    gradient_layout: torch.memory_format,
    relu: bool,
    affine: bool,
) -> None:
    torch.manual_seed(1)
    norm = nn.InstanceNorm2d(6, affine=affine)
    net = nn.Sequential(norm, *([nn.ReLU(inplace=True)] if relu else []))
    guard_instance_norm(net)
    x = noise((n, 6, 5, 7)).to(memory_format=input_layout).requires_grad_()
    weight = noise((n, 6, 5, 7)).to(memory_format=gradient_layout)
    net(x).backward(weight)
    wanted = exact_input_gradient(x, weight, relu=relu, scale=norm.weight if affine else None)
    assert gap(x.grad, wanted) < 1e-4


@given(
    n=st.integers(1, 3),
    channels=st.integers(1, 9),
    height=st.integers(2, 9),
    width=st.integers(2, 9),
    seed=st.integers(0, 2**31),
)
def test_input_gradient_is_right_for_every_size(
    n: int, channels: int, height: int, width: int, seed: int
) -> None:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.InstanceNorm2d(channels), nn.LeakyReLU(0.2, inplace=True))
    net = init_net(net)
    x, weight = noise((n, channels, height, width)), noise((n, channels, height, width))
    exact_net = copy.deepcopy(net).double()
    exact_x = x.double().requires_grad_()
    exact_net(exact_x).backward(weight.double())
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    net(x).backward(weight.to(memory_format=torch.channels_last))
    assert x.grad is not None
    assert exact_x.grad is not None
    # Relative to the incoming gradient: with two pixels the true gradient is close to zero.
    error = (x.grad.double() - exact_x.grad).abs().max()
    assert float(error) < 1e-3 * max(1.0, float(exact_x.grad.abs().max()))


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("netG", ["resnet_9blocks", "resnet_6blocks", "unet_128"])
def test_generator_in_channels_last_has_the_gradients_of_float64(netG: str, n: int) -> None:
    torch.manual_seed(2)
    net = define_G(3, 3, 8, netG, "instance", init_gain=0.3)
    side = 128 if netG == "unet_128" else 24
    check_against_float64(net, noise((n, 3, side, side)))


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("netD", ["basic", "n_layers", "pixel"])
def test_discriminator_in_channels_last_has_the_gradients_of_float64(netD: str, n: int) -> None:
    torch.manual_seed(2)
    net = define_D(3, 8, netD, 2, "instance", init_gain=0.3)
    check_against_float64(net, noise((n, 3, 48, 48)))


def check_against_float64(net: nn.Module, x: Tensor) -> None:
    """Compare the input's and all weights' gradients; weights and activations channels_last."""
    exact_net = copy.deepcopy(net).double()
    exact_x = x.double().requires_grad_()
    exact_y = exact_net(exact_x)
    weight = torch.linspace(-1, 1, exact_y.numel()).double().sin().view_as(exact_y)
    exact_y.backward(weight)

    net.to(memory_format=torch.channels_last)
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    net(x).backward(weight.float().to(memory_format=torch.channels_last))

    assert gap(x.grad, exact_x.grad) < 20 * BOUND, "input"
    for (name, found), wanted in zip(net.named_parameters(), exact_net.parameters(), strict=True):
        if name.endswith("weight"):
            assert gap(found.grad, wanted.grad) < 20 * BOUND, name


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("netD", ["basic", "pixel"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_gradient_penalty_has_the_gradients_of_float64(
    layout: torch.memory_format, netD: str, n: int
) -> None:
    torch.manual_seed(3)
    net = define_D(3, 8, netD, 3, "instance", init_gain=0.2)
    exact_net = copy.deepcopy(net).double()
    real, fake = noise((n, 3, 48, 48)), noise((n, 3, 48, 48))

    torch.manual_seed(4)
    exact, exact_gradients = cal_gradient_penalty(exact_net, real.double(), fake.double(), CPU)
    assert isinstance(exact, Tensor)
    exact.backward()

    net.to(memory_format=layout)
    torch.manual_seed(4)
    penalty, gradients = cal_gradient_penalty(
        net, real.to(memory_format=layout), fake.to(memory_format=layout), CPU
    )
    assert isinstance(penalty, Tensor)
    penalty.backward()

    assert float(penalty.detach()) == pytest.approx(float(exact.detach()), rel=1e-3)
    assert gap(gradients, exact_gradients) < 10 * BOUND
    for (name, found), wanted in zip(net.named_parameters(), exact_net.parameters(), strict=True):
        if name.endswith("weight"):
            assert gap(found.grad, wanted.grad) < 10 * BOUND, name


def test_copies_and_repeated_guards_stay_right() -> None:
    torch.manual_seed(5)
    net = nn.Sequential(nn.InstanceNorm2d(4), nn.InstanceNorm2d(4, affine=True))
    guard_instance_norm(net)
    guard_instance_norm(net)
    assert [len(layer._forward_hooks) for layer in net] == [1, 1]
    twin = copy.deepcopy(net)
    x, weight = noise((1, 4, 6, 6)), noise((1, 4, 6, 6))
    gradients = []
    for module, layout in ((net, LAYOUTS[0]), (twin, LAYOUTS[1])):
        leaf = x.clone(memory_format=layout).requires_grad_()
        module(leaf).backward(weight.to(memory_format=layout))
        assert leaf.grad is not None
        gradients.append(leaf.grad)
    torch.testing.assert_close(gradients[0], gradients[1].contiguous(), rtol=1e-4, atol=1e-5)


def test_guard_leaves_the_usual_layout_bit_equal_and_keys_alone() -> None:
    torch.manual_seed(6)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4), nn.ReLU(inplace=True))
    guarded = copy.deepcopy(plain)
    guard_instance_norm(guarded)
    assert list(guarded.state_dict()) == list(plain.state_dict())
    x = noise((1, 3, 9, 9))
    for net in (plain, guarded):
        net(x).square().sum().backward()
    assert torch.equal(plain(x), guarded(x))
    assert plain[0].weight.grad is not None
    assert torch.equal(plain[0].weight.grad, guarded[0].weight.grad)
