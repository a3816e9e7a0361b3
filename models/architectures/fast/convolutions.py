"""Convolutions with the norm and the activation behind them.

A bias in front of an instance norm has no effect, since the mean is taken away: it is not added. It
stays a parameter, because checkpoints have it, and its gradient is the zero that it truly is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.architectures.fast import cpu_convolutions
from models.architectures.fast.batch_norm import BatchNorm2d
from models.architectures.fast.instance_norm import Activation, InstanceNorm2d
from models.architectures.fast.memory_format import is_transformed


class Conv2d(nn.Conv2d):
    """A convolution that leaves its bias out where it has no effect."""

    bias_has_effect = True

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolved images."""
        bias = self.bias if self.bias_has_effect else None
        weight = self.weight  # once: a parametrization computes it
        made = cpu_convolutions.convolve(self, input, weight)
        if made is None:
            return self._conv_forward(input, weight, bias)
        return made if bias is None else made + bias[:, None, None]


class ConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution that leaves its bias out where it has no effect."""

    bias_has_effect = True

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return the enlarged images."""
        if output_size is not None:
            return super().forward(input, output_size)
        bias = self.bias if self.bias_has_effect else None
        weight = self.weight  # once: a parametrization computes it
        made = cpu_convolutions.convolve(self, input, weight)
        if made is None:
            settings = (self.stride, self.padding, self.output_padding, self.groups, self.dilation)
            return F.conv_transpose2d(input, weight, bias, *settings)  # type: ignore[arg-type]
        return made if bias is None else made + bias[:, None, None]


def conv_norm_act(
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
    layers[1] = InstanceNorm2d(norm.num_features, norm.eps)
    if activation is not None:
        layers[2] = Activation(activation)
    return layers


def link_layers(net: nn.Module) -> None:
    """Let the layers know what is behind them: whether a bias has an effect, which activation.

    To be called again when layers have been replaced.
    """
    for chain in net.modules():
        if isinstance(chain, nn.Sequential):
            layers = list(chain)
            for layer, behind in zip(layers, [*layers[1:], None], strict=True):
                if isinstance(layer, Conv2d | ConvTranspose2d):
                    layer.bias_has_effect = type(behind) is not InstanceNorm2d
                elif isinstance(layer, InstanceNorm2d):
                    layer.slope = behind.slope if isinstance(behind, Activation) else None


def with_dead_biases(net: nn.Module, made: Tensor) -> Tensor:
    """Return what a network made, with the biases that it left out in the graph.

    So they get gradients like all other parameters: zero.
    """
    biases = [
        module.bias
        for module in net.modules()
        if isinstance(module, Conv2d | ConvTranspose2d) and not module.bias_has_effect
    ]
    trained = [bias for bias in biases if bias is not None and bias.requires_grad]
    done = getattr(net, "biases_are_done", False)
    if done or not trained or not torch.is_grad_enabled() or is_transformed():
        return made
    return _WithDeadBiases.apply(made, *trained)


@contextmanager
def biases_done(*nets: nn.Module) -> Iterator[None]:
    """Leave the biases out of the graph too: an earlier pass of this step has given them theirs."""
    for net in nets:
        net.__dict__["biases_are_done"] = True
    try:
        yield
    finally:
        for net in nets:
            del net.__dict__["biases_are_done"]


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
