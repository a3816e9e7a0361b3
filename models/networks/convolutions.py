"""Convolutions with the norm and the activation behind them.

A bias in front of an instance norm has no effect, since the mean is taken away: it is not added. It
stays a parameter, because checkpoints have it, and its gradient is the zero that it truly is.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.batch_norm import BatchNorm2d
from models.networks.instance_norm import InstanceNorm2d


class Conv2d(nn.Conv2d):
    """A convolution that leaves its bias out where it has no effect."""

    bias_matters = True

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolved pictures."""
        if self.bias_matters or self.bias is None:
            return super().forward(input)
        return self._conv_forward(input, self.weight, None)


class ConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution that leaves its bias out where it has no effect."""

    bias_matters = True

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return the enlarged pictures."""
        if self.bias_matters or self.bias is None:
            return super().forward(input, output_size)
        with_sizes = (self.stride, self.padding, self.output_padding, self.groups, self.dilation)
        return F.conv_transpose2d(input, self.weight, None, *with_sizes)  # type: ignore[arg-type]


def normalised(
    conv: Conv2d | ConvTranspose2d, norm: nn.Module, activation: nn.Module | None = None
) -> list[nn.Module]:
    """Return a convolution, its norm and the activation behind it as layers of a network.

    The places of the layers, which decide a checkpoint's keys, do not depend on the norm.
    """
    layers = [conv, norm] if activation is None else [conv, norm, activation]
    if type(norm) is nn.BatchNorm2d and norm.affine and norm.momentum is not None:
        norm.__class__ = BatchNorm2d  # which only adds to it
    if type(norm) is not nn.InstanceNorm2d or norm.affine or norm.track_running_stats:
        return layers
    conv.bias_matters = False
    if conv.bias is not None:
        conv.weight.register_post_accumulate_grad_hook(_ZeroGradient(conv.bias))
    layers[1] = InstanceNorm2d(norm.num_features, norm.eps, _slope(activation))
    if activation is not None:
        layers[2] = nn.Identity()
    return layers


class _ZeroGradient:
    """Give a bias without effect its gradient, which is zero, when the weight gets its own."""

    def __init__(self, bias: Tensor) -> None:
        self.bias = bias
        self.zero = torch.zeros_like(bias.detach())

    def __call__(self, weight: Tensor) -> None:
        if self.bias.grad is not None or not self.bias.requires_grad:
            return
        was_written_to = self.zero._version > 0
        if was_written_to or self.zero.dtype != weight.dtype or self.zero.device != weight.device:
            self.zero = torch.zeros_like(self.bias.detach())
        self.bias.grad = self.zero


def _slope(activation: nn.Module | None) -> float | None:
    if activation is None:
        return None
    return activation.negative_slope if isinstance(activation, nn.LeakyReLU) else 0.0
