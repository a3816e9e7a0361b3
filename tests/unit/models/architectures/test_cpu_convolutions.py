"""Our ways of convolving on the CPU give what torch's give; they are taken where they pay."""

import functools
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.autograd import forward_ad, gradcheck, gradgradcheck

from models.architectures.fast import cpu_convolutions, winograd
from models.architectures.fast.convolutions import Conv2d, ConvTranspose2d
from models.architectures.fast.memory_format import layout_of
from models.networks import ResnetGenerator, define_G, get_norm_layer
from tests.support.small_models import noise

LAYOUTS = [torch.contiguous_format, torch.channels_last]
# A ResNet with 128 channels in its blocks, and images that give them 64 tiles.
WIDE, LARGE = 32, 128
WEIGHTS_APART = (Conv2d(2, 3, 3, stride=2, padding=1), ConvTranspose2d(2, 3, 3, 2, 1, 1))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by the name of each way that is taken."""
    taken: list[str] = []

    def watch(function: Any) -> Callable[..., Tensor]:
        def apply(*args: Any) -> Tensor:
            taken.append(function.__name__)
            return function.apply(*args)

        return apply

    for module, name in (
        (winograd, "_Winograd"),
        (cpu_convolutions, "_WeightGradientApart"),
    ):
        function = getattr(module, name)
        watched = type(name, (), {"apply": staticmethod(watch(function))})
        monkeypatch.setattr(module, name, watched)
    product = cpu_convolutions._product_of_matrices

    def note_product(x: Tensor, weight: Tensor, *, transposed: bool) -> Tensor:
        taken.append(product.__name__)
        return product(x, weight, transposed=transposed)

    monkeypatch.setattr(cpu_convolutions, "_product_of_matrices", note_product)
    return taken


def with_gradients(run: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """Return what is computed, and the gradients of all inputs for a loss with slopes."""
    inputs = tuple(each.detach().requires_grad_() for each in inputs)
    made = run(*inputs)
    slopes = torch.linspace(-1, 2, made.numel(), dtype=made.dtype).view(made.shape)
    return [made, *torch.autograd.grad((made * slopes).sum(), inputs)]


def relative_gap(one: Tensor, other: Tensor) -> float:
    return float(((one - other).norm() / other.norm()).detach())


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@given(
    n=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    height=st.integers(3, 15),
    width=st.integers(3, 15),
    most_tiles=st.sampled_from([1, 5, 512]),
)
@settings(max_examples=60)
def test_winograd_is_the_convolution(
    layout: torch.memory_format,
    n: int,
    channels: tuple[int, int],
    height: int,
    width: int,
    most_tiles: int,
) -> None:
    x = noise((n, channels[0], height, width)).double().contiguous(memory_format=layout)
    weight = noise((channels[1], channels[0], 3, 3)).double()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "MOST_TILES", most_tiles)
        ours = with_gradients(winograd.convolve, x, weight)
    for one, other in zip(ours, with_gradients(F.conv2d, x, weight), strict=True):
        assert one.shape == other.shape
        assert relative_gap(one, other) < 1e-12
    assert ours[0].is_contiguous(memory_format=layout_of(x))


@given(
    n=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    height=st.integers(2, 9),
    width=st.integers(2, 9),
)
@settings(max_examples=60)
@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_of_matrices_is_the_convolution(
    transposed: bool, n: int, channels: tuple[int, int], height: int, width: int
) -> None:
    x = noise((n, channels[0], height, width)).double()
    weight = noise((*(channels if transposed else reversed(channels)), 4, 4)).double()
    convolve: Any = F.conv_transpose2d if transposed else F.conv2d
    product = functools.partial(cpu_convolutions._product_of_matrices, transposed=transposed)
    ours = with_gradients(product, x, weight)
    plain = with_gradients(lambda *args: convolve(*args, stride=2, padding=1), x, weight)
    for one, other in zip(ours, plain, strict=True):
        assert one.shape == other.shape
        assert relative_gap(one, other) < 1e-12


def test_winograd_rounds_about_as_much_as_the_convolution() -> None:
    # Measured: 1.1e-6 for all three, 0.9e-6, 0.5e-6 and 0.3e-6 for torch's. The usual points give
    # twice as much.
    x, weight = noise((1, 256, 34, 34)), noise((256, 256, 3, 3)) / 50
    exact = with_gradients(F.conv2d, x.double(), weight.double())
    ours = with_gradients(winograd.convolve, x, weight)
    for one, other in zip(ours, exact, strict=True):
        assert relative_gap(one.double(), other) < 1.6e-6


def function_of(layer: Conv2d | ConvTranspose2d | None) -> Callable[..., Tensor]:
    """Return the computation of a layer whose weight's gradient is apart; without, Winograd's."""
    if layer is None:
        return winograd.convolve
    return lambda x, weight: cpu_convolutions._WeightGradientApart.apply(x, weight, layer)


every_way = pytest.mark.parametrize("layer", [None, *WEIGHTS_APART], ids=["3x3", "down", "up"])


def inputs_of(layer: nn.Module | None) -> tuple[Tensor, Tensor]:
    x = noise((2, 2, 7, 6)).double().contiguous(memory_format=torch.channels_last)
    shape = (2, 3, 3, 3) if isinstance(layer, ConvTranspose2d) else (3, 2, 3, 3)
    return x, noise(shape).double()


@every_way
def test_derivatives_of_both_orders(layer: Conv2d | ConvTranspose2d | None) -> None:
    inputs = tuple(each.requires_grad_() for each in inputs_of(layer))
    assert gradcheck(function_of(layer), inputs)
    assert gradgradcheck(function_of(layer), inputs)


@every_way
def test_gradients_keep_their_precision_in_an_autocast_region(
    layer: Conv2d | ConvTranspose2d | None,
) -> None:
    x, weight = (each.float().requires_grad_() for each in inputs_of(layer))
    made = function_of(layer)(x, weight)
    outside = torch.autograd.grad(made.sum(), (x, weight), retain_graph=True)
    with torch.autocast("cpu", torch.bfloat16):
        inside = torch.autograd.grad(made.sum(), (x, weight))
    for one, other in zip(outside, inside, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("wanted", [(True, False), (False, True)])
@every_way
def test_only_wanted_gradients_are_computed(
    layer: Conv2d | ConvTranspose2d | None, wanted: tuple[bool, bool]
) -> None:
    x, weight = inputs_of(layer)
    x.requires_grad_(wanted[0])
    weight.requires_grad_(wanted[1])
    function_of(layer)(x, weight).sum().backward()
    assert (x.grad is not None, weight.grad is not None) == wanted


@pytest.mark.usefixtures("fast_convolutions_always")
@pytest.mark.parametrize("padding", ["reflect", "replicate", "zero"])
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("use_dropout", [False, True])
def test_a_network_computes_the_same(
    norm: str, padding: str, use_dropout: bool, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    layer: Any = get_norm_layer(norm)
    net = ResnetGenerator(3, 3, 4, layer, use_dropout, 6, padding).double()  # type: ignore[arg-type]
    x = noise((2, 3, 24, 32)).double()

    def run(images: Tensor) -> Tensor:
        torch.manual_seed(2)  # of dropout
        return net(images)

    def of_network() -> list[Tensor]:
        found = with_gradients(run, x)
        run(x).square().sum().backward()
        weights = [weight for weight in net.parameters() if weight.dim() == 4]
        found += [weight.grad for weight in weights if weight.grad is not None]
        assert len(found) >= len(weights)
        net.zero_grad()
        return found

    ours = of_network()
    assert calls.count("_Winograd") == 24  # two a block, in two passes
    assert ("_WeightGradientApart" in calls) is not use_dropout
    monkeypatch.setattr(cpu_convolutions, "PRECISIONS", ())
    taken = len(calls)
    plain = of_network()
    assert len(calls) == taken
    for one, other in zip(ours, plain, strict=True):
        assert relative_gap(one, other) < 1e-10


@pytest.mark.usefixtures("fast_convolutions_always")
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_u_net_computes_the_same(
    norm: str, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    net = define_G(3, 3, 4, "unet_128", norm).double()
    x = noise((2, 3, 128, 256)).double()  # not square: pixels in the middle for instance norm

    def of_network() -> list[Tensor]:
        found = with_gradients(net, x)
        net.zero_grad()
        net(x).square().sum().backward()
        weights = (weight for weight in net.parameters() if weight.dim() == 4)
        return [*found, *(weight.grad for weight in weights if weight.grad is not None)]

    ours = of_network()
    assert calls == ["_product_of_matrices"] * 2 * 14
    monkeypatch.setattr(cpu_convolutions, "PRECISIONS", ())
    for one, other in zip(ours, of_network(), strict=True):
        assert relative_gap(one, other) < 1e-10
    assert len(calls) == 2 * 14


def test_the_inner_layers_of_the_default_u_net_are_products(calls: list[str]) -> None:
    net = define_G(3, 3, 64, "unet_256").eval()
    with torch.inference_mode():
        net(noise((1, 3, 256, 256)))
    assert calls == ["_product_of_matrices"] * 8  # images of 8 pixels and less, both ways


def test_layers_with_many_pixels_or_few_weights_are_no_products(calls: list[str]) -> None:
    shrinks, grows = Conv2d(512, 512, 4, 2, 1), ConvTranspose2d(512, 512, 4, 2, 1)
    x = noise((2, 512, 8, 8))
    shrinks(x)
    grows(x[:1])
    assert len(calls) == 2
    shrinks(noise((1, 512, 18, 18)))
    shrinks(x.contiguous(memory_format=torch.channels_last))
    grows(x)
    ConvTranspose2d(512, 256, 4, 2, 1)(x[:1])
    assert len(calls) == 2


def test_the_default_generator_takes_both_ways(calls: list[str]) -> None:
    net = define_G(3, 3, WIDE, "resnet_6blocks", "instance")
    net(noise((1, 3, LARGE, LARGE)))
    assert calls == ["_Winograd"] * 12


def test_the_weights_of_wide_layers_get_their_gradients_apart(calls: list[str]) -> None:
    shrinks, grows = Conv2d(64, 128, 3, 2, 1), ConvTranspose2d(128, 64, 3, 2, 1, 1)
    x = noise((1, 64, LARGE, LARGE)).contiguous(memory_format=torch.channels_last)
    grows(shrinks(x))
    assert calls == ["_WeightGradientApart"] * 2
    with torch.no_grad():
        grows(shrinks(x))
    grows(shrinks(x.contiguous()))
    shrinks.weight.requires_grad_(False)
    shrinks(x)
    shrinks(x[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last))
    assert len(calls) == 2


@pytest.mark.parametrize(("width", "size"), [(WIDE // 2, LARGE), (WIDE, LARGE // 2)])
def test_small_networks_and_images_do_not_take_winograds(
    width: int, size: int, calls: list[str]
) -> None:
    define_G(3, 3, width, "resnet_6blocks", "instance")(noise((1, 3, size, size)))
    assert "_Winograd" not in calls


@pytest.mark.parametrize(
    "shape", [(1024, 128, 1, 1), (256, 128, 2, 2), (64, 128, 5, 5), (1, 128, 2, 512)]
)
def test_images_smaller_than_tiles_do_not_take_winograds(shape: tuple[int, ...]) -> None:
    assert not winograd.pays(torch.empty(shape), torch.empty(128, 128, 3, 3), (1, 1))


@pytest.mark.usefixtures("fast_convolutions_always")
@pytest.mark.parametrize(
    ("channels", "sides", "padding"),
    [(3, (64, 2), 0), (3, (2, 64), 0), (4, (9, 9), 0), (3, (9, 9), -1)],
)
def test_what_torch_refuses_is_refused_in_its_words_by_winograds(
    channels: int, sides: tuple[int, int], padding: int
) -> None:
    layer, x = Conv2d(3, 4, 3, padding=padding), noise((1, channels, *sides))
    with pytest.raises(RuntimeError) as refused:
        nn.Conv2d.forward(layer, x)
    with pytest.raises(RuntimeError, match=re.escape(str(refused.value))):
        layer(x)


@pytest.mark.usefixtures("fast_convolutions_always")
@pytest.mark.parametrize("build", [Conv2d, ConvTranspose2d])
@pytest.mark.parametrize(("channels", "sides"), [(4, (9, 9)), (3, (1, 9)), (3, (0, 9))])
def test_what_torch_refuses_is_refused_in_its_words_by_products(
    build: type[Conv2d] | type[ConvTranspose2d], channels: int, sides: tuple[int, int]
) -> None:
    layer, x = build(3, 4, 4, 2, 1), noise((1, channels, *sides))
    plain = build.__mro__[1].forward
    try:
        expected = plain(layer, x)
    except RuntimeError as refused:
        with pytest.raises(RuntimeError, match=re.escape(str(refused))):
            layer(x)
    else:
        assert torch.allclose(layer(x), expected, atol=1e-6)


@pytest.mark.usefixtures("fast_convolutions_always")
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("size", [8, 9])
def test_what_comes_out_may_be_changed_in_place(size: int, layout: torch.memory_format) -> None:
    layer = Conv2d(3, 4, 3, padding=1, bias=False)
    x = noise((1, 3, size, size)).contiguous(memory_format=layout)
    nn.ReLU(inplace=True)(layer(x)).sum().backward()
    assert layer.weight.grad is not None


@pytest.mark.parametrize("layer", [Conv2d(4, 4, 3), Conv2d(4, 4, 5), ConvTranspose2d(4, 4, 3, 2)])
def test_a_parametrized_weight_is_computed_once(layer: Conv2d | ConvTranspose2d) -> None:
    class Counting(nn.Module):
        count = 0

        def forward(self, weight: Tensor) -> Tensor:
            Counting.count += 1
            return weight * 2

    nn.utils.parametrize.register_parametrization(layer, "weight", Counting())
    Counting.count = 0
    layer(noise((1, 4, 8, 8)))
    assert Counting.count == 1


def with_numbers(layer: Conv2d) -> Conv2d:
    """Return a layer whose settings somebody has replaced as torch allows it."""
    layer.__dict__.update(stride=1, padding=0, dilation=1)
    return layer


OTHERS = {
    "dilation": lambda: Conv2d(4, 4, 3, dilation=2),
    "groups": lambda: Conv2d(4, 4, 3, groups=2),
    "padding by reflection": lambda: Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    "padding by name": lambda: Conv2d(4, 4, 3, padding="same"),
    "size": lambda: Conv2d(4, 4, (3, 5)),
    "transposed": lambda: ConvTranspose2d(4, 4, 3),
    "stride": lambda: Conv2d(4, 4, 3, stride=3),
    "numbers instead of pairs": lambda: with_numbers(Conv2d(4, 4, 3)),
    "4x4, stride": lambda: Conv2d(4, 4, 4, padding=1),  # the last ones of PatchGANs
    "4x4, padding": lambda: Conv2d(4, 4, 4, stride=2),
    "4x4, dilation": lambda: Conv2d(4, 4, 4, stride=2, padding=1, dilation=2),
    "4x4, groups": lambda: ConvTranspose2d(4, 4, 4, 2, 1, groups=2),
    "4x4, padding of the output": lambda: ConvTranspose2d(4, 4, 4, 2, 1, 1),
}


@pytest.mark.usefixtures("fast_convolutions_always")
@pytest.mark.parametrize("build", OTHERS.values(), ids=OTHERS.keys())
def test_other_convolutions_are_torchs(build: Callable[[], nn.Module], calls: list[str]) -> None:
    layer = build()
    plain = type(layer).__mro__[1].forward
    x = noise((1, 4, 12, 12))
    assert torch.equal(layer(x), plain(layer, x))
    assert calls == []


@pytest.mark.usefixtures("fast_convolutions_always")
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("padding", [0, (2, 1)])
def test_padding_and_bias_of_a_layer(
    padding: int | tuple[int, int], bias: bool, layout: torch.memory_format, calls: list[str]
) -> None:
    layer = Conv2d(3, 4, 3, padding=padding, bias=bias).double()
    x = noise((2, 3, 9, 11)).double().contiguous(memory_format=layout)
    plain = nn.Conv2d.forward(layer, x)
    assert relative_gap(layer(x), plain) < 1e-12
    assert layer(x).stride() == plain.stride()
    assert "_Winograd" in calls


@pytest.mark.parametrize("has_dead_bias", [False, True])
def test_transposed_convolutions_take_an_output_size(has_dead_bias: bool) -> None:
    layer = ConvTranspose2d(3, 4, 3, stride=2, padding=1)
    layer.has_dead_bias = has_dead_bias
    assert layer(noise((1, 3, 5, 5)), [10, 10]).shape == (1, 4, 10, 10)


@pytest.mark.usefixtures("fast_convolutions_always")
def test_half_precision_and_those_who_look_on_get_torchs(calls: list[str]) -> None:
    layer, x = Conv2d(3, 4, 3), noise((2, 3, 9, 9))
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert layer.bfloat16()(x.bfloat16()).dtype == torch.bfloat16
    layer.float()
    torch.func.vmap(layer)(x[:, None])
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert isinstance(layer(torch.empty(2, 3, 9, 9)), FakeTensor)
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore")  # that torch.jit is on its way out
        slopes = forward_ad.unpack_dual(layer(forward_ad.make_dual(x, x))).tangent
    assert slopes is not None
    replayed = torch.fx.symbolic_trace(nn.Sequential(layer))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(layer, x, check_trace=False)
    assert calls == []
    assert torch.allclose(traced(x), layer(x), atol=1e-5)
    assert calls == ["_Winograd"]
    assert torch.allclose(replayed(x), layer(x), atol=1e-5)


def test_testing_before_training_keeps_nothing_that_training_cannot_use() -> None:
    winograd._transforms.cache_clear()
    x, weight = noise((1, 2, 8, 8)), noise((3, 2, 3, 3))
    with torch.inference_mode():
        winograd.convolve(x, weight)
    assert not winograd._transforms(torch.float32).patches.is_inference()
    with_gradients(winograd.convolve, x, weight)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_few_channels_of_large_kernels_are_those_of_torch(data: st.DataObject) -> None:
    draw, small = data.draw, st.integers(1, 4)
    rows, wide = draw(st.integers(5, 8)), draw(st.integers(1, 8))
    height, width = rows + draw(st.integers(0, 9)), wide + draw(st.integers(0, 9))
    layer = Conv2d(draw(small), draw(st.integers(1, 5)), (rows, wide)).double()
    images = (draw(small), layer.in_channels, height, width)
    x = noise(images).double().contiguous(memory_format=draw(st.sampled_from(LAYOUTS)))
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        plain = nn.Conv2d.forward(layer, x)
        patch.setattr(layer, "_conv_forward", None)  # torch's way
        ours = layer(x)
    assert torch.allclose(ours, plain, rtol=1e-12, atol=1e-12)
    assert ours.is_contiguous(memory_format=layout_of(x))


@pytest.mark.usefixtures("fast_convolutions_always")
def test_kept_kernels_follow_a_weight_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x, made = Conv2d(3, 4, 3), noise((1, 3, 9, 9)), []
    values = winograd.values_of_kernels
    monkeypatch.setattr(
        winograd, "values_of_kernels", lambda weight: made.append(1) or values(weight)
    )
    layer.keeps_kernels = True
    with torch.no_grad():
        for _ in range(3):
            assert torch.allclose(layer(x), nn.Conv2d.forward(layer, x), atol=1e-5)
        assert len(made) == 1
        layer.weight.mul_(2)
        assert torch.allclose(layer(x), nn.Conv2d.forward(layer, x), atol=1e-5)
        layer.weight = nn.Parameter(torch.ones_like(layer.weight))
        assert torch.allclose(layer(x), nn.Conv2d.forward(layer, x), atol=1e-5)
    assert len(made) == 3
    layer(x)  # with gradients
    layer(x)
    assert len(made) == 5


@pytest.mark.usefixtures("fast_convolutions_always")
def test_kernels_of_a_weight_that_every_pass_computes_are_not_kept() -> None:
    class Larger(nn.Module):
        """Make another weight in every pass, always at the same place in memory."""

        def __init__(self) -> None:
            super().__init__()
            self.factor, self.place = 0.0, torch.empty(4, 3, 3, 3)

        def forward(self, weight: Tensor) -> Tensor:
            self.factor += 1
            self.place.data.copy_(weight * self.factor)
            return self.place.data

    layer, x = Conv2d(3, 4, 3, bias=False), noise((1, 3, 9, 9))
    layer.keeps_kernels = True
    with torch.no_grad():
        once = layer(x)
        nn.utils.parametrize.register_parametrization(layer, "weight", Larger(), unsafe=True)
        passes = [layer(x) for _ in range(3)]
    start = layer.parametrizations.weight[0].factor - 3
    for number, made in enumerate(passes, 1):
        assert torch.allclose(made, once * (start + number), atol=1e-4)
