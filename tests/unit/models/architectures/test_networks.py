"""Every built-in network with every norm: shapes, gradients, layers, and unknown names."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from models.architectures.describe import resnet_uses_dropout
from models.architectures.initialization import INIT_TYPES
from models.architectures.layers import NORM_LAYERS
from models.architectures.registry import DISCRIMINATORS, GENERATORS
from models.architectures.synchronised import SyncBatchNorm2d
from models.networks import (
    Identity,
    NLayerDiscriminator,
    PixelDiscriminator,
    ResnetBlock,
    ResnetGenerator,
    UnetGenerator,
    define_D,
    define_G,
    get_norm_layer,
    init_net,
    init_weights,
)
from tests.support.small_models import noise
from util.base.errors import ChoiceError, UserError

PADDINGS = ("reflect", "replicate", "zero")
LEAST_SIDE = {"unet_128": 128, "unet_256": 256}


def check_gradients(net: nn.Module, norm: str) -> None:
    """Every parameter has a gradient; only a bias before instance norm may have a zero one."""
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, f"{name} has no gradient"
        assert parameter.grad.shape == parameter.shape, name
        assert torch.isfinite(parameter.grad).all(), f"{name} has an infinite gradient"
        if not (norm == "instance" and name.endswith("bias")):
            assert parameter.grad.abs().max() > 0, f"the gradient of {name} is zero"


def backward(net: nn.Module, x: Tensor) -> Tensor:
    """Run a network and give every output its own gradient."""
    torch.manual_seed(7)
    y: Tensor = net(x)
    (y * noise(tuple(y.shape))).sum().backward()
    return y


@pytest.mark.parametrize("use_dropout", [False, True], ids=["plain", "dropout"])
@pytest.mark.parametrize("norm", NORM_LAYERS)
@pytest.mark.parametrize("netG", GENERATORS)
def test_generator_trains_all_its_parameters(netG: str, norm: str, use_dropout: bool) -> None:
    torch.manual_seed(1)
    net = define_G(3, 2, 4, netG, norm, use_dropout)
    side = LEAST_SIDE.get(netG, 16)
    x = noise((2, 3, side, side)).requires_grad_()
    y = backward(net, x)
    assert y.shape == (2, 2, side, side)
    assert y.abs().max() <= 1
    assert x.grad is not None
    assert x.grad.abs().max() > 0
    check_gradients(net, norm)


@pytest.mark.parametrize("norm", NORM_LAYERS)
@pytest.mark.parametrize("netD", DISCRIMINATORS)
def test_discriminator_trains_all_its_parameters(netD: str, norm: str) -> None:
    torch.manual_seed(1)
    net = define_D(3, 4, netD, 2, norm)
    x = noise((2, 3, 64, 64)).requires_grad_()
    y = backward(net, x)
    side = {"basic": 6, "n_layers": 14, "pixel": 64}[netD]
    assert y.shape == (2, 1, side, side)
    assert x.grad is not None
    assert x.grad.abs().max() > 0
    check_gradients(net, norm)


@pytest.mark.parametrize("norm", NORM_LAYERS)
@pytest.mark.parametrize("depth", range(6))
def test_patch_discriminator_of_any_depth_trains(depth: int, norm: str) -> None:
    net = define_D(1, 2, "n_layers", depth, norm)
    y = backward(net, noise((1, 1, 128, 128)))
    assert y.shape[-1] == 128 // 2 ** max(depth, 1) - 2
    check_gradients(net, norm)


def receptive_field(net: nn.Module) -> int:
    """Measure how many columns of the input one score depends on."""
    x = torch.zeros(1, 1, 160, 160, requires_grad=True)
    y = net(x)
    y[0, 0, y.shape[2] // 2, y.shape[3] // 2].backward()
    assert x.grad is not None
    return int((x.grad[0, 0].abs().sum(0) > 0).sum())


@pytest.mark.parametrize(("netD", "depth", "pixels"), [("basic", 9, 70), ("n_layers", 2, 34)])
def test_patches_have_the_size_of_the_paper(netD: str, depth: int, pixels: int) -> None:
    net = define_D(1, 2, netD, depth, "none")
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(0.1)  # positive everywhere: no LeakyReLU hides a pixel
    assert receptive_field(net) == pixels


@pytest.mark.parametrize("netG", GENERATORS)
def test_generators_state_which_sides_they_keep(netG: str) -> None:
    net: Any = define_G(3, 3, 4, netG, "instance")
    whole = max(net.divisor, -(-net.shortest_side // net.divisor) * net.divisor)
    assert net(torch.rand(1, 3, whole, 2 * whole)).shape == (1, 3, whole, 2 * whole)
    with pytest.raises(UserError, match="sides"):
        net(torch.rand(1, 3, net.shortest_side - 1, whole))


@given(height=st.integers(8, 40), width=st.integers(8, 40))
def test_resnet_rounds_sides_up_to_a_multiple_of_four(height: int, width: int) -> None:
    with torch.no_grad():
        y = ResnetGenerator(1, 1, 1, n_blocks=1)(torch.zeros(1, 1, height, width))
    assert y.shape[2:] == (-(-height // 4) * 4, -(-width // 4) * 4)


# ---- padding ------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORM_LAYERS)
@pytest.mark.parametrize("padding", PADDINGS)
def test_resnet_trains_with_every_padding(padding: str, norm: str) -> None:
    torch.manual_seed(1)
    net = ResnetGenerator(3, 3, 4, get_norm_layer(norm), n_blocks=2, padding_type=padding)
    y = backward(net, noise((2, 3, 16, 16)))
    assert y.shape == (2, 3, 16, 16)
    check_gradients(net, norm)


@pytest.mark.parametrize("padding", PADDINGS)
def test_resnet_block_computes_what_its_definition_says(padding: str) -> None:
    torch.manual_seed(1)
    block = ResnetBlock(4, padding, get_norm_layer("instance"), False, True).double()
    first, second = (m for m in block.modules() if isinstance(m, nn.Conv2d))
    x = noise((2, 4, 5, 6)).double()

    def padded_convolution(x: Tensor, conv: nn.Conv2d) -> Tensor:
        mode = {"zero": "constant"}.get(padding, padding)
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode=mode), conv.weight, conv.bias)

    def normalised(x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        return (x - mean) / torch.sqrt(x.var((2, 3), correction=0, keepdim=True) + 1e-5)

    inner = normalised(padded_convolution(x, first)).clamp(min=0)
    wanted = x + normalised(padded_convolution(inner, second))
    torch.testing.assert_close(block(x), wanted, rtol=1e-9, atol=1e-9)


def test_what_a_residual_block_computes_may_be_built_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def half(self: ResnetBlock, dim: int, *_: Any) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(dim, dim, 1, bias=False))

    monkeypatch.setattr(ResnetBlock, "build_conv_block", half)  # as some forks do; others derive
    net = ResnetGenerator(3, 3, ngf=2, n_blocks=1)
    assert net.model[10].conv_block[0].weight.shape == (8, 8, 1, 1)
    assert net(noise((1, 3, 16, 16))).shape == (1, 3, 16, 16)


def test_unknown_padding_is_refused_with_a_near_miss() -> None:
    with pytest.raises(ChoiceError, match=r"\[relfect\].*Did you mean 'reflect'"):
        ResnetGenerator(3, 3, padding_type="relfect")


# ---- norms --------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORM_LAYERS)
def test_norm_layers_answer_the_question_that_third_party_networks_ask(norm: str) -> None:
    norm_layer: Any = get_norm_layer(norm)
    if type(norm_layer) == functools.partial:  # noqa: E721 - as written in people's files
        use_bias = norm_layer.func == nn.InstanceNorm2d
    else:
        use_bias = norm_layer == nn.InstanceNorm2d
    assert use_bias == (norm == "instance")
    assert isinstance(norm_layer(5), nn.Module)


@pytest.mark.parametrize("norm", ["batch", "syncbatch", "instance"])
def test_norms_that_normalise_are_partials(norm: str) -> None:
    assert type(get_norm_layer(norm)) is functools.partial


def test_no_norm_is_the_identity() -> None:
    layer = get_norm_layer("none")(7)
    assert isinstance(layer, Identity)
    x = noise((1, 7, 3, 3))
    assert layer(x) is x


def networks_of(norm_layer: Callable[[int], nn.Module]) -> list[nn.Module]:
    """Return one network of each class."""
    return [
        ResnetGenerator(3, 3, 2, norm_layer, n_blocks=1),
        UnetGenerator(3, 3, 5, 2, norm_layer),
        NLayerDiscriminator(3, 2, 2, norm_layer),
        PixelDiscriminator(3, 2, norm_layer),
    ]


@pytest.mark.parametrize("norm", NORM_LAYERS)
def test_hidden_convolutions_have_a_bias_exactly_before_instance_norm(norm: str) -> None:
    for net in networks_of(get_norm_layer(norm)):
        layers = list(net.modules())
        for layer, following in zip(layers, layers[1:], strict=False):
            before_norm = isinstance(
                following, nn.BatchNorm2d | nn.InstanceNorm2d | Identity
            ) and isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
            if before_norm:
                assert (layer.bias is not None) == (norm == "instance"), type(net)


def test_bare_norm_classes_are_taken_as_in_old_files() -> None:
    with_bias = sum(n.endswith("bias") for n, _ in _parameters(nn.InstanceNorm2d))
    without = [name for name, _ in _parameters(nn.BatchNorm2d) if name.endswith("bias")]
    assert with_bias > 4
    assert "model.2.bias" not in without  # the convolution
    assert "model.3.bias" in without  # the norm


def _parameters(norm_layer: Callable[[int], nn.Module]) -> list[tuple[str, nn.Parameter]]:
    return list(NLayerDiscriminator(3, 2, 3, norm_layer).named_parameters())


def test_syncbatch_with_one_process_is_batch_norm() -> None:
    torch.manual_seed(1)
    batch = define_G(3, 3, 4, "resnet_6blocks", "batch")
    sync = define_G(3, 3, 4, "resnet_6blocks", "syncbatch")
    assert list(sync.state_dict()) == list(batch.state_dict())
    sync.load_state_dict(batch.state_dict())
    x = noise((2, 3, 16, 16))
    assert torch.equal(backward(sync, x), backward(batch, x))
    for (name, a), b in zip(sync.named_parameters(), batch.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert torch.equal(a.grad, b.grad), name
    for (name, a), b in zip(sync.state_dict().items(), batch.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert torch.equal(sync.eval()(x), batch.eval()(x))


def test_syncbatch_is_that_of_torch_in_processes_that_a_script_has_joined() -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        layer = get_norm_layer("syncbatch")(3)
    finally:
        dist.destroy_process_group()
    assert type(layer) is nn.SyncBatchNorm
    assert type(get_norm_layer("syncbatch")(3)) is SyncBatchNorm2d


def test_syncbatch_draws_the_same_weights_as_batch() -> None:
    states = []
    for norm in ("batch", "syncbatch"):
        torch.manual_seed(5)
        states.append(define_D(3, 4, "basic", 3, norm).state_dict())
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


# ---- what a checkpoint's keys tell --------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("use_dropout", [False, True])
@pytest.mark.parametrize("norm", NORM_LAYERS)
@pytest.mark.parametrize("padding", PADDINGS)
def test_keys_of_a_resnet_tell_its_dropout(
    padding: str, norm: str, use_dropout: bool, prefix: str
) -> None:
    net = ResnetGenerator(3, 3, 2, get_norm_layer(norm), use_dropout, 2, padding)
    keys = [prefix + key for key in net.state_dict()]
    assert resnet_uses_dropout(keys) is use_dropout


@pytest.mark.parametrize("norm", NORM_LAYERS)
def test_keys_of_other_networks_tell_nothing_about_dropout(norm: str) -> None:
    for net in networks_of(get_norm_layer(norm))[1:]:
        assert resnet_uses_dropout(net.state_dict()) is None
    assert resnet_uses_dropout([]) is None


# ---- initial weights ----------------------------------------------------------------------


@pytest.mark.parametrize("init_type", INIT_TYPES)
def test_initial_weights_repeat_under_a_seed(init_type: str) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        net = define_D(3, 4, "basic", 3, "batch", init_type, 0.5)
        states.append(copy.deepcopy(net.state_dict()))
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
        if name.endswith("bias"):
            assert not value.any(), name


@pytest.mark.parametrize(
    ("init_type", "spread"),
    # 128 -> 256 channels, 3x3: fan_in 1152, fan_out 2304
    [
        ("normal", 0.3),
        ("xavier", 0.3 * (2 / (1152 + 2304)) ** 0.5),
        ("kaiming", (2 / 1152) ** 0.5),
        ("orthogonal", 0.3 / 1152**0.5),
    ],
)
def test_initial_weights_have_the_spread_of_the_method(init_type: str, spread: float) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(128, 256, 3)
    init_weights(conv, init_type, 0.3)
    assert float(conv.weight.detach().std()) == pytest.approx(spread, rel=0.02)
    assert abs(float(conv.weight.detach().mean())) < spread / 50


def test_batch_norm_starts_around_one() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(20_000)
    init_weights(norm, "normal", 0.1)
    assert float(norm.weight.detach().mean()) == pytest.approx(1, abs=0.005)
    assert float(norm.weight.detach().std()) == pytest.approx(0.1, rel=0.03)


def test_init_net_takes_networks_of_third_parties() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Conv2d(4, 5, 1), nn.PReLU(), nn.InstanceNorm2d(5))
    slope = net[2].weight.clone()
    assert init_net(net, "xavier", 1.0, []) is net
    assert not net[0].bias.any()
    assert not net[1].bias.any()
    assert torch.equal(net[2].weight, slope)  # no convolution, no norm: left alone


# ---- unknown names ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "given", "meant"),
    [
        (lambda: define_G(3, 3, 4, "unet_265"), "unet_265", "unet_256"),
        (lambda: define_G(3, 3, 4, "resnet_9block"), "resnet_9block", "resnet_9blocks"),
        (lambda: define_G(3, 3, 4, "unet_256", "instnace"), "instnace", "instance"),
        (lambda: define_D(3, 4, "n_layer"), "n_layer", "n_layers"),
        (lambda: define_D(3, 4, "basic", 3, "batchnorm"), "batchnorm", "batch"),
        (lambda: define_D(3, 4, "basic", 3, "batch", "xaiver"), "xaiver", "xavier"),
        (lambda: get_norm_layer("bacth"), "bacth", "batch"),
        (lambda: init_weights(nn.Conv2d(1, 1, 1), "kaimng"), "kaimng", "kaiming"),
    ],
)
def test_unknown_name_is_refused_with_a_near_miss(
    call: Callable[[], object], given: str, meant: str
) -> None:
    with pytest.raises(ChoiceError, match=rf"\[{given}\].*Did you mean '{meant}'\?") as raised:
        call()
    assert isinstance(raised.value, NotImplementedError)  # what the reference raises
    assert isinstance(raised.value, ValueError)


def test_networks_are_returned_unwrapped() -> None:
    assert type(define_G(3, 3, 2, "resnet_6blocks")) is ResnetGenerator
    assert type(define_G(3, 3, 2, "unet_128")) is UnetGenerator
    assert type(define_D(3, 2, "basic")) is NLayerDiscriminator
    assert type(define_D(3, 2, "pixel")) is PixelDiscriminator
