"""Instance norm as the built-in networks compute it: fewer operations, the same numbers.

torch's own is wrong for gradients in channels_last on the CPU, see `guard_instance_norm`. Here
group norm's kernel computes it, a group for each channel. In channels_last, which convolutions
like, a single image is normalised by batch norm's: the statistics of a batch of one are its own.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.architectures.fast.memory_format import layout_of
from util.base.torch_private import is_transformed

HALF = (torch.bfloat16, torch.float16)


class InstanceNorm2d(nn.InstanceNorm2d):
    """Bring every channel of every image to mean 0 and variance 1.

    What comes out is a tensor of its own, so the activation behind it may work in place. Where
    torch takes the computation apart (compiling, tracing, torch.func), and for images without
    batch, this is `nn.InstanceNorm2d`.

    Ulyanov et al. 2016, "Instance Normalization: The Missing Ingredient for Fast Stylization".
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised images; those of one pixel, without variance, are a ValueError."""
        if not torch.jit.is_scripting():
            if input.dim() != 4 or input.shape[2] * input.shape[3] == 1 or is_transformed():
                return super().forward(input)
            x = input.contiguous(memory_format=layout_of(input))
            return (
                _Normalise.apply(x, self.eps) if torch.is_grad_enabled() else made_from(x, self.eps)
            )
        images = input if input.dim() == 4 else input[None]
        return F.instance_norm(images, eps=self.eps).view_as(input)


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        y, mean, rstd = normalise(x, eps)
        ctx.save_for_backward(x, mean, rstd)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, rstd = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient of this gradient is wanted too (WGAN-GP)
            y = F.instance_norm(x, eps=ctx.eps)
            # Contiguous: torch's own instance norm needs that, see `guard_instance_norm`.
            (found,) = torch.autograd.grad(y, x, gradient.contiguous(), create_graph=True)
            return found, None
        gradient = gradient.contiguous(memory_format=layout_of(x))
        return normalise_backward(gradient, x, mean, rstd, ctx.eps), None


def made_from(x: Tensor, eps: float) -> Tensor:
    """Return the normalised images alone; on the CPU the same bits with any number of threads.

    Batch norm's kernel adds up what each thread has found, so its sums depend on how many there
    are, and images that are made of them by a level here and there.
    """
    if x.device.type != "cpu" or layout_of(x) is not torch.channels_last:
        return normalise(x, eps)[0]
    ones, zeros = _precise_statistics(x)
    parts = [
        torch.native_batch_norm(image, ones, zeros, *_statistics(image), False, 0.0, eps)[0]
        for image in x.split(1)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _statistics(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each channel of one image in channels_last, (C,) each."""
    rows = image[0].permute(1, 2, 0)  # (H, W, C), as it lies in memory
    mean = rows.mean((0, 1), dtype=torch.promote_types(rows.dtype, torch.float32))
    squares = (rows - mean).square_()
    return mean, squares.sum(1).sum(0).div_(rows.shape[0] * rows.shape[1])


def normalise(x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normalised images, and mean and 1 / standard deviation, (N, C) each."""
    n, c, h, w = x.shape
    if _needs_batch_norm(x):
        flat = x.view(1, n * c, h, w)
        y, mean, rstd = torch.native_batch_norm(flat, None, None, None, None, True, 0.0, eps)
        y = torch.ops.aten._unsafe_view(y, x.shape)  # no view: it may be changed in place
        return y, mean.view(n, c), rstd.view(n, c)
    ones, zeros = _precise_statistics(x)
    if layout_of(x) is torch.channels_last:
        parts = [
            torch.native_batch_norm(image, ones, zeros, None, None, True, 0.0, eps)
            for image in x.split(1)
        ]
        y, mean, rstd = parts[0] if n == 1 else map(torch.cat, zip(*parts, strict=True))
        return y, mean.view(n, c), rstd.view(n, c)
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
    ones = torch.ones(x.shape[1], dtype=torch.float32, device=x.device)
    return ones, torch.zeros_like(ones)
