"""Convolutions on the CPU in faster ways than torch's: the same numbers, but for rounding."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks import winograd
from models.networks.conditions import is_transformed, layout_of

PRECISIONS = (torch.float32, torch.float64)
Settings = tuple[list[int], list[int], list[int], bool, list[int], int]  # of aten.convolution


def convolve(conv: nn.Conv2d | nn.ConvTranspose2d, x: Tensor) -> Tensor | None:
    """Return the pictures that a layer makes, without its bias; nothing where torch is as fast.

    Args:
        conv: the layer.
        x: pictures, (N, C, H, W). What comes out is in the same layout.
    """
    if (
        not _is_ours(x, conv.weight)
        or conv.padding_mode != "zeros"
        or isinstance(conv.padding, str)
    ):
        return None
    settings = (
        *(list(conv.stride), list(conv.padding), list(conv.dilation)),
        *(conv.transposed, list(conv.output_padding), conv.groups),
    )
    if _moves_by_one(settings) and winograd.pays(x, conv.weight):
        high, wide = conv.padding
        padded = F.pad(x, (wide, wide, high, high)) if high or wide else x
        return winograd.convolve(padded, conv.weight)
    shape = (conv.stride, conv.kernel_size)
    if shape == ((2, 2), (3, 3)) and layout_of(x) is torch.channels_last:
        return _WeightGradientApart.apply(x, conv.weight, settings)
    return None


def _moves_by_one(settings: Settings) -> bool:
    stride, _, dilation, transposed, _, groups = settings
    return (stride, dilation, transposed, groups) == ([1, 1], [1, 1], False, 1)


def _is_ours(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dim() == 4
        and x.dtype == weight.dtype
        and x.dtype in PRECISIONS
        and not torch.is_autocast_enabled("cpu")
        and not is_transformed()
    )


class _WeightGradientApart(torch.autograd.Function):
    """A convolution in channels_last; the gradient of its weight is computed in the usual layout.

    For 3x3 weights that move by two pixels, torch takes two to three times as long for that
    gradient in channels_last. All else is faster there.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, settings: Settings) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.settings = settings
        return torch.ops.aten.convolution(x, weight, None, *settings)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        backward = torch.ops.aten.convolution_backward
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            wanted = [True, False, False]
            of_x = backward(gradient, x, weight, None, *ctx.settings, wanted)[0]
        if ctx.needs_input_grad[1]:
            wanted, usual = [False, True, False], (gradient.contiguous(), x.contiguous())
            of_weight = backward(*usual, weight, None, *ctx.settings, wanted)[1]
        return of_x, of_weight, None
