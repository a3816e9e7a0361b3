"""Optimisers that take their step in one kernel."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from models.architectures.fast.memory_format import laid_out_as
from util.base.torch_private import leave_scale_to

FUSED = (Adam, AdamW, SGD)


def use_fused_steps(optimizer: Optimizer) -> bool:
    """Let an optimiser take its step in one kernel, unless whoever made it chose otherwise.

    Returns:
        Whether it does.
    """
    if type(optimizer) not in FUSED:
        return False
    already = all(group.get("fused") for group in optimizer.param_groups)
    for group in optimizer.param_groups:
        chosen = group.get("foreach") or group.get("differentiable") or group.get("fused") is False
        if not chosen and all(map(_has_fused_steps, group["params"])):
            group["fused"] = True
    fused = all(group.get("fused") for group in optimizer.param_groups)
    if fused and not already:
        optimizer.register_step_pre_hook(_lay_out_gradients)
        # As torch does when it makes a fused optimiser itself.
        leave_scale_to(optimizer)
    return fused


def _has_fused_steps(parameter: Tensor) -> bool:
    dense = parameter.is_contiguous() or (
        parameter.dim() == 4 and parameter.is_contiguous(memory_format=torch.channels_last)
    )
    return dense and parameter.device.type in ("cpu", "cuda") and parameter.is_floating_point()


def _lay_out_gradients(optimizer: Optimizer, *_: Any) -> None:
    """Bring gradients into the order of their weights, which fused kernels take for granted.

    Those of `backward` are in it; those that somebody has put there need not be.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is not None and gradient.stride() != parameter.stride():
                parameter.grad = laid_out_as(parameter, gradient)
