"""Convolutions that take a faster way on the CPU, and leave out biases without effect.

A bias in front of an instance norm has no effect, since the mean is taken away: it is dead, and not
added. It stays a parameter, because checkpoints have it, and its gradient is zero, as it truly is.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.architectures.fast import cpu_convolutions
from util.base.torch_private import is_transformed


class Conv2d(nn.Conv2d):
    """A convolution, on the CPU in the way that is fastest for its size."""

    has_dead_bias = False
    keeps_kernels = False  # what is made of the weight, which must not change by `.data`

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolved images."""
        weight, bias = self.weight, self.bias  # once: a parametrization computes it
        if not torch.jit.is_scripting():
            bias = None if self.has_dead_bias else bias
            made = cpu_convolutions.convolve(self, input, weight)
            if made is not None:
                return made if bias is None else made + bias[:, None, None]
        return self._conv_forward(input, weight, bias)


class ConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution, on the CPU in the way that is fastest for its size."""

    has_dead_bias = False

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return the enlarged images."""
        weight, bias = self.weight, self.bias  # once: a parametrization computes it
        if not torch.jit.is_scripting():
            if output_size is not None:
                return super().forward(input, output_size)
            bias = None if self.has_dead_bias else bias
            made = cpu_convolutions.convolve(self, input, weight)
            if made is not None:
                return made if bias is None else made + bias[:, None, None]
        assert output_size is None
        return F.conv_transpose2d(
            input, weight, bias, self.stride, self.padding, self.output_padding,  # type: ignore[arg-type]
            self.groups, self.dilation,
        )  # fmt: skip


def with_dead_biases(net: nn.Module, made: Tensor) -> Tensor:
    """Return what a network made, with its dead biases in the graph: they get zero gradients."""
    biases = [
        module.bias
        for module in net.modules()
        if isinstance(module, Conv2d | ConvTranspose2d) and module.has_dead_bias
    ]
    trained = [bias for bias in biases if bias is not None and bias.requires_grad]
    is_compiling = torch.compiler.is_compiling()  # which takes this apart as well
    if not trained or not torch.is_grad_enabled() or (is_transformed() and not is_compiling):
        return made
    return _WithDeadBiases.apply(made, *trained)


class _WithDeadBiases(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, made: Tensor, *biases: Tensor) -> Tensor:
        ctx.save_for_backward(*biases)
        return made.view_as(made)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        biases = ctx.saved_tensors
        if torch.is_grad_enabled():  # a loss of this gradient has biases too (WGAN-GP)
            gradient = _WithDeadBiases.apply(gradient, *biases)
        lengths = [bias.numel() for bias in biases]
        return gradient, *biases[0].new_zeros(sum(lengths)).split(lengths)
