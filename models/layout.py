"""The order of numbers in memory, which fused kernels take for granted."""

import torch
from torch import Tensor


def laid_out_as(parameter: Tensor, values: Tensor) -> Tensor:
    """Return values on the device and in the order in memory of a parameter."""
    return torch.empty_like(parameter, dtype=values.dtype).copy_(values).detach()
