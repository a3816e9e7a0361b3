"""Convolutions on the CPU in faster ways than torch's: the same numbers, but for rounding."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.architectures.fast import winograd
from models.architectures.fast.memory_format import layout_of
from util.base.torch_private import is_transformed, is_watched

PRECISIONS = (torch.float32, torch.float64)
# Where the weight's gradient is worth being computed apart.
FEWEST_CHANNELS = 64
FEWEST_PIXELS = 128 * 128  # of the larger images, those that go in or those that come out
# Where a product of matrices is faster.
FEWEST_WEIGHTS = 4_000_000  # more than caches hold
MOST_PLACES = 64  # of kernels, in all images
# Where the rows of kernels are convolved by themselves.
MOST_CHANNELS = 5  # that come out: torch is as slow as with 16
FEWEST_ROWS = 5


def convolve(conv: nn.Conv2d | nn.ConvTranspose2d, x: Tensor, weight: Tensor) -> Tensor | None:
    """Return the images that a layer makes, without its bias; None where torch is as fast.

    What comes out is in the layout of `x`, (N, C, H, W). The weight, which a parametrization would
    compute again, is the layer's.
    """
    settings = (conv.dilation, conv.groups, conv.padding_mode)
    is_usual = settings == ((1, 1), 1, "zeros") and isinstance(conv.padding, tuple)
    if not (is_usual and _is_ours(x, weight)):
        return None
    size = weight.shape[2:]
    if size == (3, 3) and conv.stride == (1, 1) and not conv.transposed:
        high, wide = map(int, conv.padding)
        if not winograd.pays(x, weight, (high, wide)):
            return None
        padded = F.pad(x, (wide, wide, high, high)) if high or wide else x
        return winograd.convolve(padded, weight, _kept_kernels(conv, weight))
    if _has_few_channels(conv, x, weight):
        return _row_by_row(x, weight)
    if size == (3, 3) and conv.stride == (2, 2) and _pays_apart(conv, x, weight):
        return _WeightGradientApart.apply(x, weight, conv)
    if size == (4, 4) and _is_deep(conv, x, weight):
        return _product_of_matrices(x, weight, transposed=conv.transposed)
    return None


def _is_ours(x: Tensor, weight: Tensor) -> bool:
    return (
        type(x) is Tensor
        and type(weight) in (Tensor, nn.Parameter)
        and x.device.type == "cpu"
        and x.dim() == 4
        and x.dtype == weight.dtype
        and x.dtype in PRECISIONS
        and not (torch.is_autocast_enabled("cpu") or is_transformed() or is_watched())
    )


def _kept_kernels(conv: nn.Conv2d | nn.ConvTranspose2d, weight: Tensor) -> Tensor | None:
    """Return what Winograd's method makes of a weight that does not change, made once.

    None where gradients are wanted, of networks that do not say that they are only used, and of a
    weight that is computed anew for every pass (spectral norm).
    """
    is_kept = getattr(conv, "keeps_kernels", False) and type(weight) is nn.Parameter
    if torch.is_grad_enabled() or not is_kept:
        return None
    is_of = (weight.data_ptr(), weight.dtype, None if weight.is_inference() else weight._version)
    # Its parameter too: another one may lie at the same place later on.
    parameter, was_of, kernels = getattr(conv, "_kept", (None, None, None))
    if parameter is not weight or was_of != is_of:
        kernels = winograd.values_of_kernels(weight)
        object.__setattr__(conv, "_kept", (weight, is_of, kernels))
    return kernels


def _has_few_channels(conv: nn.Conv2d | nn.ConvTranspose2d, x: Tensor, weight: Tensor) -> bool:
    """Tell whether a layer makes images of few channels by large kernels, and nobody trains it."""
    settings = (conv.stride, conv.padding, conv.transposed)
    channels, _, rows, _ = weight.shape
    is_such = settings == ((1, 1), (0, 0), False) and channels <= MOST_CHANNELS
    fits = x.shape[1] == weight.shape[1] and x.shape[2] >= rows and x.shape[3] >= weight.shape[3]
    return is_such and rows >= FEWEST_ROWS and fits and not torch.is_grad_enabled()


def _row_by_row(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve by each row of the kernels, as channels of their own, and add up what that makes.

    Shapes:
        x: (N, C, H, W)
        weight: (D, C, K, L)
        output: (N, D, H - K + 1, W - L + 1)
    """
    channels, _, rows, _ = weight.shape
    made = F.conv2d(x, weight.permute(2, 0, 1, 3).flatten(0, 1)[:, :, None])
    height = x.shape[2] - rows + 1
    shifted = [
        made[:, row * channels : (row + 1) * channels, row : row + height] for row in range(rows)
    ]
    total = shifted[0].clone(memory_format=layout_of(x))
    for one in shifted[1:]:
        total += one
    return total


def _is_deep(conv: nn.Conv2d | nn.ConvTranspose2d, x: Tensor, weight: Tensor) -> bool:
    """Tell whether a layer halves or doubles images that are small beside its weights."""
    settings = (conv.stride, conv.padding, conv.output_padding)
    channels = weight.shape[0 if conv.transposed else 1]
    if settings != ((2, 2), (1, 1), (0, 0)) or channels != x.shape[1]:
        return False
    places = x[:, 0] if conv.transposed else x[:, 0, 1::2, 1::2]
    is_small = 0 < places.numel() <= MOST_PLACES and weight.numel() >= FEWEST_WEIGHTS
    return is_small and layout_of(x) is torch.contiguous_format


def _product_of_matrices(x: Tensor, weight: Tensor, *, transposed: bool) -> Tensor:
    """Halve or double images by one product, which takes the weights as they lie in memory.

    torch brings weights into an order of its own first. In the inner layers of a U-Net, which have
    megabytes of weights for a few pixels, that takes longer than the convolution.

    Shapes:
        x: (N, C, H, W)
        weight: (D, C, 4, 4), transposed (C, D, 4, 4)
        output: (N, D, H // 2, W // 2), transposed (N, D, 2 * H, 2 * W)
    """
    height, width = x.shape[2:]
    matrix = weight.flatten(1)
    if transposed:
        return F.fold(matrix.mT @ x.flatten(2), (2 * height, 2 * width), 4, padding=1, stride=2)
    patches = F.unfold(x, 4, padding=1, stride=2)
    return (matrix @ patches).unflatten(2, (height // 2, width // 2))


def _pays_apart(conv: nn.Conv2d | nn.ConvTranspose2d, x: Tensor, weight: Tensor) -> bool:
    pixels = x.shape[0] * x.shape[2] * x.shape[3] * (4 if conv.transposed else 1)
    is_large = min(weight.shape[:2]) >= FEWEST_CHANNELS and pixels >= FEWEST_PIXELS
    trains = torch.is_grad_enabled() and weight.requires_grad
    return is_large and trains and layout_of(x) is torch.channels_last


class _WeightGradientApart(torch.autograd.Function):
    """A convolution in channels_last; the gradient of its weight is computed in the usual layout.

    For 3x3 weights that move by two pixels, torch takes two to three times as long for that
    gradient in channels_last. All else is faster there.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, conv: nn.Conv2d | nn.ConvTranspose2d
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        places = (conv.stride, conv.padding, conv.dilation)
        ctx.settings = (*places, conv.transposed, conv.output_padding, conv.groups)
        return torch.ops.aten.convolution(x, weight, None, *ctx.settings)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        backward = torch.ops.aten.convolution_backward
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            mask = [True, False, False]
            of_x = backward(gradient, x, weight, None, *ctx.settings, mask)[0]
        if ctx.needs_input_grad[1]:
            mask, usual = [False, True, False], (gradient.contiguous(), x.contiguous())
            of_weight = backward(*usual, weight, None, *ctx.settings, mask)[1]
        return of_x, of_weight, None
