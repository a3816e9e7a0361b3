"""Instance norm as the built-in networks compute it: fewer operations and less memory.

The numbers are those of `nn.InstanceNorm2d`, up to rounding:

- The activation behind the norm belongs to it. On the CPU nothing but the norm's input is kept for
  the backward pass, which finds out from there where the activation was cut off. A GPU pays more
  for the extra operation than for the memory.
- In channels_last, which convolutions like, a single image is normalised by batch norm's kernel:
  the statistics of a batch of one are those of the image.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.architectures.fast.compiled import normalise_backward_compiled, normalise_compiled
from models.architectures.fast.memory_format import is_transformed, layout_of

HALF = (torch.bfloat16, torch.float16)


class InstanceNorm2d(nn.InstanceNorm2d):
    """Bring every channel of every image to mean 0 and variance 1, then apply the activation.

    Which one that is, `link_layers` finds out. Where torch takes the computation apart
    (tracing, export, torch.func), and for images without batch, it is `nn.InstanceNorm2d`; there,
    and where hooks watch the norm, the layer behind it, an `Activation`, does its part.

    Ulyanov et al. 2016, "Instance Normalization: The Missing Ingredient for Fast Stylization".

    Shapes:
        input, output: (N, C, H, W), of more than one pixel

    Attributes:
        slope: of the activation for negative values: 0 is ReLU, None is no activation, or one that
            the norm leaves to the layer behind it.
        compiled: use kernels made by torch.compile, see `--compile`.
    """

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__(num_features, eps=eps)
        self.slope: float | None = None
        self.compiled = False

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised images.

        Raises:
            ValueError: images of one pixel, which have no variance.
        """
        if input.dim() != 4 or input.shape[-2] * input.shape[-1] == 1 or is_transformed():
            return super().forward(input)
        input = input.contiguous(memory_format=layout_of(input))
        slope = None if self._forward_hooks else self.slope
        made = _Normalise.apply(input, self.eps, slope, self.compiled)
        made.is_activated = slope is not None  # tells the layer behind
        return made

    def extra_repr(self) -> str:
        """Tell of the activation when the network is printed."""
        return super().extra_repr() + ("" if self.slope is None else f", slope={self.slope}")


class Activation(nn.Module):
    """The activation behind a norm, unless the norm has applied it already."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    @property
    def slope(self) -> float | None:
        """Return the slope for negative values; None for activations that norms do not know."""
        if type(self.activation) is nn.LeakyReLU:
            return self.activation.negative_slope
        return 0.0 if type(self.activation) is nn.ReLU else None

    def forward(self, x: Tensor) -> Tensor:
        """Return activated values."""
        return x if getattr(x, "is_activated", False) else self.activation(x)


def _activate(x: Tensor, slope: float | None) -> Tensor:
    if slope is None:
        return x
    return F.leaky_relu(x, slope) if slope else F.relu(x)


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, slope: float | None, compiled: bool) -> Tensor:
        if compiled:
            y, mean, rstd = normalise_compiled(x.detach(), eps, slope)
        else:
            y, mean, rstd = normalise(x, eps)
            if slope is not None:
                y = F.leaky_relu_(y, slope) if slope else y.relu_()
        keeps_output = slope is not None and not compiled and x.device.type != "cpu"
        ctx.save_for_backward(x, mean, rstd, *([y] if keeps_output else []))
        ctx.eps, ctx.slope, ctx.compiled = eps, slope, compiled
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, rstd, *output = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient of this gradient is wanted too (WGAN-GP)
            y = _activate(F.instance_norm(x, eps=ctx.eps), ctx.slope)
            # Contiguous: torch's own instance norm needs that, see `guard_instance_norm`.
            (found,) = torch.autograd.grad(y, x, gradient.contiguous(), create_graph=True)
            return found, None, None, None
        gradient = gradient.contiguous(memory_format=layout_of(x))
        if ctx.compiled:
            found = normalise_backward_compiled(gradient, x.detach(), mean, rstd, ctx.slope)
        else:
            if ctx.slope is not None:
                values = output[0] if output else x - mean.to(x.dtype)[:, :, None, None]
                gradient = _activate_backward(gradient, values, ctx.slope)
            found = normalise_backward(gradient, x, mean, rstd, ctx.eps)
        return found, None, None, None


def _activate_backward(gradient: Tensor, values: Tensor, slope: float) -> Tensor:
    """Let pass what the activation let pass: that is where `values` are above 0."""
    if slope == 0:
        return torch.ops.aten.threshold_backward(gradient, values, 0)
    return torch.ops.aten.leaky_relu_backward(gradient, values, slope, False)


def normalise(x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normalised images, and mean and 1 / standard deviation, (N, C) each."""
    n, c, h, w = x.shape
    if _needs_batch_norm(x):
        flat = x.view(1, n * c, h, w)
        y, mean, rstd = torch.native_batch_norm(flat, None, None, None, None, True, 0.0, eps)
        return y.view_as(x), mean.view(n, c), rstd.view(n, c)
    ones, zeros = _precise_statistics(x)
    if layout_of(x) is torch.channels_last:
        parts = [
            torch.native_batch_norm(image, ones, zeros, None, None, True, 0.0, eps)
            for image in x.split(1)
        ]
        if n == 1:
            y, mean, rstd = parts[0]
            return y, mean[None], rstd[None]
        images, means, rstds = zip(*parts, strict=True)
        return torch.cat(images), torch.stack(means), torch.stack(rstds)
    return torch.native_group_norm(x, ones, zeros, n, c, h * w, c, eps)


def normalise_backward(
    gradient: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, eps: float
) -> Tensor:
    """Return the gradient with respect to `x`; all tensors are in one layout."""
    n, c, h, w = x.shape
    only_input = [True, False, False]
    if _needs_batch_norm(x):
        flat = (gradient.view(1, n * c, h, w), x.view(1, n * c, h, w))
        statistics = (mean.flatten(), rstd.flatten())
        return torch.ops.aten.native_batch_norm_backward(
            *flat, None, None, None, *statistics, True, eps, only_input
        )[0].view_as(x)
    ones, _ = _precise_statistics(x)
    if layout_of(x) is torch.channels_last:
        parts = [
            torch.ops.aten.native_batch_norm_backward(
                *(gradient[i : i + 1], x[i : i + 1], ones, None, None, mean[i], rstd[i]),
                *(True, eps, only_input),
            )[0]
            for i in range(n)
        ]
        return parts[0] if n == 1 else torch.cat(parts)
    return torch.ops.aten.native_group_norm_backward(
        gradient, x, mean, rstd, ones, n, c, h * w, c, only_input
    )[0]


def _needs_batch_norm(x: Tensor) -> bool:
    """Tell whether group norm's kernel has no precise statistics: for half precision on GPUs."""
    return x.is_cuda and x.dtype in HALF and layout_of(x) is torch.contiguous_format


def _precise_statistics(x: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Return a weight of ones and a bias of zeros for half precision, else nothing.

    Their float32 is what makes the kernels keep the statistics in float32.
    """
    if x.dtype not in HALF:
        return None, None
    channels = x.shape[1]
    return (
        torch.ones(channels, dtype=torch.float32, device=x.device),
        torch.zeros(channels, dtype=torch.float32, device=x.device),
    )
