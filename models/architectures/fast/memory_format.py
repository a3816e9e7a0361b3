"""How a tensor lies in memory."""

import torch
from torch import Tensor


def layout_of(x: Tensor) -> torch.memory_format:
    """Return the layout that a tensor has; kernels are wrong or slow when two of them meet."""
    if x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
        return torch.contiguous_format
    return torch.channels_last


def laid_out_as(parameter: Tensor, values: Tensor) -> Tensor:
    """Return values on the device and in the order in memory of a parameter."""
    return torch.empty_like(parameter, dtype=values.dtype).copy_(values).detach()
