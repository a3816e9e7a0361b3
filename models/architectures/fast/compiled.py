"""The kernels that `--compile` makes: norm and activation in one pass over the memory."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from util.base.errors import UserError

MOST_SIZES = 256  # a kernel is made for each size of images; torch gives up at 8


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
def check_compiler(device: torch.device) -> None:
    """Make a small kernel, to see whether that is possible here.

    Raises:
        UserError: it is not.
    """
    x = torch.linspace(-1, 1, 32, device=device).view(1, 2, 4, 4)  # no random numbers
    try:
        normalise_compiled(x, 1e-5, 0.0)
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"--compile cannot make kernels on this machine ({type(error).__name__}: {reason}). It "
            "needs a C++ compiler (on Debian and Ubuntu: apt install g++). Install one, or leave "
            "--compile out."
        ) from error


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    # Sizes are few and repeat; a kernel for each is the fastest.
    return torch.compile(function, dynamic=False)


def normalise_compiled(x: Tensor, eps: float, slope: float | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normalised and activated images, mean and 1 / standard deviation."""
    _allow_many_sizes()
    return _compiled(_normalise)(x, eps, slope)


def normalise_backward_compiled(
    gradient: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, slope: float | None
) -> Tensor:
    """Return the gradient with respect to `x`."""
    _allow_many_sizes()
    return _compiled(_normalise_backward)(gradient, x, mean, rstd, slope)


def _allow_many_sizes() -> None:
    """Raise torch's limit, which each thread has for itself; GPUs go backward in other threads."""
    from torch._dynamo import config

    if config.recompile_limit < MOST_SIZES:
        config.recompile_limit = MOST_SIZES
