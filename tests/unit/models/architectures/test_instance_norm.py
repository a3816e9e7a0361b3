"""Our instance norm computes what torch's computes, in every layout, and keeps no more."""

import copy
import functools
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from models.architectures.fast import instance_norm
from models.architectures.fast.batch_norm import BatchNorm2d
from models.architectures.fast.convolutions import Conv2d, ConvTranspose2d, with_dead_biases
from models.architectures.fast.instance_norm import InstanceNorm2d
from models.architectures.layers import conv_norm_act
from models.networks import define_D, define_G
from tests.support.small_models import noise

LAYOUTS = [torch.contiguous_format, torch.channels_last]
SLOPES = [None, 0.0, 0.2]


def activation_of(slope: float | None) -> nn.Module:
    """Return the activation with this slope for negative values, as networks have it."""
    if slope is None:
        return nn.Identity()
    return nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)


def norm_before(channels: int, slope: float | None) -> nn.Module:
    """Return a norm with an activation of this slope behind it."""
    return nn.Sequential(InstanceNorm2d(channels), activation_of(slope))


def definition(x: Tensor, slope: float | None) -> Tensor:
    """Compute instance norm and activation from their definitions."""
    centred = x - x.mean((2, 3), keepdim=True)
    y = centred / torch.sqrt((centred**2).mean((2, 3), keepdim=True) + 1e-5)
    return y if slope is None else torch.where(y > 0, y, y * slope)


def saved_by(run: Callable[[], object]) -> list[Tensor]:
    """Return the tensors that a computation keeps for its backward pass."""
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run()
    return kept


@pytest.mark.parametrize("gradient_layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@given(
    n=st.integers(1, 3),
    channels=st.integers(1, 5),
    height=st.integers(1, 7),
    width=st.integers(2, 7),
    slope=st.sampled_from(SLOPES),
    seed=st.integers(0, 2**20),
)
@settings(max_examples=40, deadline=None)
def test_values_and_gradients_are_those_of_the_definition(
    layout: torch.memory_format,
    gradient_layout: torch.memory_format,
    n: int,
    channels: int,
    height: int,
    width: int,
    slope: float | None,
    seed: int,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = (n, channels, height, width)
    x = noise(shape, generator).double().contiguous(memory_format=layout).requires_grad_()
    gradient = noise(shape, generator).double().contiguous(memory_format=gradient_layout)
    found = norm_before(channels, slope)(x)
    wanted = definition(x, slope)
    assert torch.allclose(found, wanted, rtol=1e-10, atol=1e-10)
    (of_found,) = torch.autograd.grad(found, x, gradient)
    (of_wanted,) = torch.autograd.grad(wanted, x, gradient)
    assert torch.allclose(of_found, of_wanted, rtol=1e-8, atol=1e-8 * float(of_wanted.abs().max()))


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("n", [1, 2])
def test_gradient_of_the_gradient_is_right(
    n: int, slope: float | None, layout: torch.memory_format
) -> None:
    x = noise((n, 2, 3, 4), torch.Generator().manual_seed(3)).double()
    x = x.contiguous(memory_format=layout).requires_grad_()
    norm = norm_before(2, slope)
    assert gradcheck(norm, x)
    assert gradgradcheck(norm, x)


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("n", [1, 3])
def test_the_way_of_half_precision_on_gpus_computes_the_same(
    n: int, slope: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance_norm, "_needs_batch_norm", lambda _: True)
    x = noise((n, 2, 3, 4), torch.Generator().manual_seed(4)).double().requires_grad_()
    norm = norm_before(2, slope)
    assert torch.allclose(norm(x), definition(x, slope), rtol=1e-10, atol=1e-10)
    assert gradcheck(norm, x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("n", [1, 2])
def test_half_precision_keeps_statistics_in_float32(
    n: int, layout: torch.memory_format, dtype: torch.dtype
) -> None:
    x = (noise((n, 4, 16, 16)) * 0.1 + 20).to(dtype).contiguous(memory_format=layout)
    x.requires_grad_()
    found = norm_before(4, 0.0)(x)
    wanted = definition(x.detach().double(), 0.0)
    assert found.dtype == dtype
    # Statistics in half precision would be off by more than the deviation itself.
    assert (found.double() - wanted).abs().max() < 0.05
    (gradient,) = torch.autograd.grad(found.float().pow(2).sum(), x)
    assert gradient.dtype == dtype
    assert gradient.isfinite().all()


def test_one_pixel_has_no_variance() -> None:
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        InstanceNorm2d(3)(torch.zeros(1, 3, 1, 1))


def test_input_and_result_are_kept_once_each() -> None:
    x = noise((1, 4, 16, 16)).requires_grad_()
    norm = norm_before(4, 0.0)
    kept = saved_by(lambda: norm(x))
    images = {tensor.data_ptr() for tensor in kept if tensor.numel() >= x.numel()}
    assert len(images) == 2  # the layer behind keeps the result anyway
    assert x.data_ptr() in images


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("n", [1, 2])
def test_what_comes_out_is_normalised_and_not_yet_activated(
    n: int, layout: torch.memory_format
) -> None:
    """The layer alone, and a hook on it, see what those of the original see."""
    net = define_D(3, 4, "basic", norm="instance").double()
    seen: list[Tensor] = []
    net.model[3].register_forward_hook(lambda _module, _inputs, made: seen.append(made.clone()))
    x = noise((n, 3, 32, 32)).double().contiguous(memory_format=layout)
    net(x)
    wanted = definition(nn.Sequential(*net.model[:3])(x), None)
    assert seen[0].min() < 0
    assert torch.allclose(seen[0], wanted, atol=1e-10)
    assert torch.allclose(net.model[:4](x), wanted, atol=1e-10)
    assert torch.allclose(net.model[:5](x), torch.where(wanted > 0, wanted, 0.2 * wanted))


# ---- layers of a network ------------------------------------------------------------------

PLAIN = functools.partial(nn.InstanceNorm2d, affine=False, track_running_stats=False)


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("kind", [Conv2d, ConvTranspose2d])
@pytest.mark.parametrize("norm_layer", [nn.InstanceNorm2d, PLAIN], ids=["class", "partial"])
def test_bias_before_the_norm_is_left_out_and_its_gradient_is_zero(
    norm_layer: Callable[[int], nn.Module],
    kind: type[Conv2d] | type[ConvTranspose2d],
    slope: float | None,
) -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(
        *conv_norm_act(kind, 3, 4, norm_layer, activation_of(slope), kernel_size=3, padding=1)
    ).double()
    conv: nn.Module = layers[0]
    assert conv.has_dead_bias
    x = noise((2, 3, 8, 8)).double()
    with_bias = definition(kind.__mro__[1].forward(conv, x), slope)
    conv.register_forward_hook(lambda _module, _inputs, made: found.append(made))
    found: list[Tensor] = []
    assert torch.allclose(layers(x), with_bias, atol=1e-10)
    shift = kind.__mro__[1].forward(conv, x) - found[0]
    assert torch.allclose(shift, conv.bias[:, None, None].expand_as(shift), atol=1e-12)
    with_dead_biases(layers, layers(x)).pow(2).sum().backward()
    assert torch.equal(conv.bias.grad, torch.zeros(4, dtype=torch.float64))
    assert conv.weight.grad.abs().max() > 0


def test_frozen_network_gets_no_gradients() -> None:
    net = nn.Sequential(*conv_norm_act(Conv2d, 3, 4, nn.InstanceNorm2d, kernel_size=3))
    net.requires_grad_(False)
    made = with_dead_biases(net, net(noise((1, 3, 8, 8)).requires_grad_()))
    made.sum().backward()
    assert [parameter.grad for parameter in net.parameters()] == [None, None]


@pytest.mark.parametrize(
    ("norm_layer", "kind"),
    [
        (nn.BatchNorm2d, BatchNorm2d),
        (functools.partial(nn.BatchNorm2d, affine=False, momentum=0.3), BatchNorm2d),
        (functools.partial(nn.InstanceNorm2d, affine=True), nn.InstanceNorm2d),
        (functools.partial(nn.InstanceNorm2d, track_running_stats=True), nn.InstanceNorm2d),
        (functools.partial(nn.GroupNorm, 2), nn.GroupNorm),
        (lambda _: nn.Identity(), nn.Identity),
    ],
)
def test_other_norms_are_built_as_they_are_asked_for(
    norm_layer: Callable[[int], nn.Module], kind: type[nn.Module]
) -> None:
    activation = nn.ReLU(inplace=True)
    conv, norm, last = conv_norm_act(Conv2d, 3, 4, norm_layer, activation, kernel_size=3)
    assert type(conv) is Conv2d
    assert not conv.has_dead_bias  # it is added
    assert type(norm) is kind
    assert last is activation
    plain = norm_layer(4)
    assert str(norm).replace("BatchNorm2d", "") == str(plain).replace("BatchNorm2d", "")
    assert list(norm.state_dict()) == list(plain.state_dict())


@pytest.mark.parametrize("use_dropout", [False, True])
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("netG", ["resnet_6blocks", "unet_128"])
def test_generator_gives_contiguous_images_and_gradients(
    netG: str, norm: str, use_dropout: bool
) -> None:
    net = define_G(3, 2, 4, netG, norm, use_dropout)
    assert ("cpu" in net.channels_last_on) is (netG == "resnet_6blocks" and not use_dropout)
    made = net(noise((2, 3, 128, 128)))
    assert made.is_contiguous()
    made.view(2, -1).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("netD", ["basic", "n_layers", "pixel"])
def test_layout_changes_nothing_but_rounding(netD: str) -> None:
    torch.manual_seed(1)
    net = define_D(3, 4, netD, 2, "instance").double()
    x = noise((2, 3, 32, 32)).double().requires_grad_()
    found = []
    for devices in (("cpu",), ()):
        net.channels_last_on = devices
        scores = net(x)
        found.append((scores, *torch.autograd.grad(scores.pow(2).sum(), x)))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-10)


def test_copies_of_a_network_train_too() -> None:
    net = copy.deepcopy(define_G(3, 3, 4, "resnet_6blocks", "instance"))
    net(noise((1, 3, 32, 32))).sum().backward()
    assert net.model[1].weight.grad is not None
