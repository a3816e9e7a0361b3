"""What layers with kernels of their own must know: how a tensor lies, whether torch looks on."""

import torch
from torch import Tensor
from torch.autograd import forward_ad


def layout_of(x: Tensor) -> torch.memory_format:
    """Return the layout that a tensor has; kernels are wrong or slow when two of them meet."""
    if x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
        return torch.contiguous_format
    return torch.channels_last


def is_transformed() -> bool:
    """Tell whether torch looks at the operations, and needs its own."""
    return (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    )


def laid_out_as(parameter: Tensor, values: Tensor) -> Tensor:
    """Return values on the device and in the order in memory of a parameter."""
    return torch.empty_like(parameter, dtype=values.dtype).copy_(values).detach()
