"""The kernels that `--compile` makes: norm and activation in one pass over the memory."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def _normalise(x: Tensor, eps: float, slope: float | None) -> tuple[Tensor, Tensor, Tensor]:
    values = _precise(x)
    mean = values.mean((2, 3), keepdim=True)
    centred = values - mean
    rstd = torch.rsqrt((centred * centred).mean((2, 3), keepdim=True) + eps)
    y = centred * rstd
    if slope is not None:
        y = torch.where(y > 0, y, y * slope)
    return y.to(x.dtype), mean, rstd


def _normalise_backward(
    gradient: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, slope: float | None
) -> Tensor:
    y = (_precise(x) - mean) * rstd
    gradient = _precise(gradient)
    if slope is not None:
        gradient = torch.where(y > 0, gradient, gradient * slope)
    of_mean = gradient.mean((2, 3), keepdim=True)
    of_deviation = (gradient * y).mean((2, 3), keepdim=True)
    return (rstd * (gradient - of_mean - y * of_deviation)).to(x.dtype)


def _precise(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    # Sizes are few and repeat; a kernel for each is the fastest.
    return torch.compile(function, dynamic=False)


def normalise_compiled(x: Tensor, eps: float, slope: float | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normalised and activated pictures, mean and 1 / standard deviation."""
    return _compiled(_normalise)(x, eps, slope)


def normalise_backward_compiled(
    gradient: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, slope: float | None
) -> Tensor:
    """Return the gradient with respect to `x`."""
    return _compiled(_normalise_backward)(gradient, x, mean, rstd, slope)
