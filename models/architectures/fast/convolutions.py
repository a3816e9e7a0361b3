"""Convolutions that take a faster way on the CPU, and leave out biases without effect.

A bias in front of an instance norm has no effect, since the mean is taken away: it is not added. It
stays a parameter, because checkpoints have it, and its gradient is the zero that it truly is.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.architectures.fast import cpu_convolutions
from util.base.torch_private import is_transformed


class Conv2d(nn.Conv2d):
    """A convolution, on the CPU in the way that is fastest for its size."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolved images."""
        weight, bias = self.weight, self.added_bias()  # once: a parametrization computes it
        if not torch.jit.is_scripting():
            made = cpu_convolutions.convolve(self, input, weight)
            if made is not None:
                return made if bias is None else made + bias[:, None, None]
        return self._conv_forward(input, weight, bias)

    def added_bias(self) -> Tensor | None:
        """Return the bias that is added to what the weights give."""
        return self.bias


class ConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution, on the CPU in the way that is fastest for its size."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return the enlarged images."""
        weight, bias = self.weight, self.added_bias()  # once: a parametrization computes it
        if not torch.jit.is_scripting():
            if output_size is not None:
                return super().forward(input, output_size)
            made = cpu_convolutions.convolve(self, input, weight)
            if made is not None:
                return made if bias is None else made + bias[:, None, None]
        assert output_size is None
        return F.conv_transpose2d(
            input, weight, bias, self.stride, self.padding, self.output_padding,  # type: ignore[arg-type]
            self.groups, self.dilation,
        )  # fmt: skip

    def added_bias(self) -> Tensor | None:
        """Return the bias that is added to what the weights give."""
        return self.bias


class Conv2dWithDeadBias(Conv2d):
    """A convolution in front of an instance norm."""

    def added_bias(self) -> Tensor | None:
        """Return no bias."""
        return None


class ConvTranspose2dWithDeadBias(ConvTranspose2d):
    """A transposed convolution in front of an instance norm."""

    def added_bias(self) -> Tensor | None:
        """Return no bias."""
        return None


def with_dead_biases(net: nn.Module, made: Tensor) -> Tensor:
    """Return what a network made, with the biases that it left out in the graph.

    So they get gradients like all other parameters: zero.
    """
    biases = [
        module.bias
        for module in net.modules()
        if isinstance(module, Conv2dWithDeadBias | ConvTranspose2dWithDeadBias)
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
        zeros = biases[0].new_zeros(sum(bias.numel() for bias in biases))
        return gradient, *zeros.split([bias.numel() for bias in biases])
