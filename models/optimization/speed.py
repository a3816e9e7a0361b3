"""How a model computes, as `--speed`, `--precision`, `--compile` and `--grad_checkpoint` say.

`--speed faithful` keeps the numbers (up to rounding: float64 agrees to 1e-10) and every random
number. `--speed max` also takes what changes dropout masks or needs a compiler.
"""

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from models import networks
from models.architectures.fast.memory_format import laid_out_as
from models.optimization.precision import PRECISIONS, Precision
from util.base.errors import UserError, suggest
from util.base.log import warn
from util.base.new_options import new_option

SPEEDS = ("faithful", "max")
FUSED = (Adam, AdamW, SGD)


def speed_problems(opt: Namespace) -> Iterator[str]:
    """Yield what is wrong with these options."""
    for name, known in (("speed", SPEEDS), ("precision", tuple(PRECISIONS))):
        value = new_option(opt, name)
        if value not in known:
            yield f"--{name} {value} is not known. {suggest(value, known)}"


class Speed:
    """Set up networks and optimisers as the options say, and tell what was done.

    Attributes:
        precision: what the networks compute in.
        saves_memory: gradients are to be computed with as little memory as possible.
        is_chosen: the user asked for something else than the default.
    """

    def __init__(self, opt: Namespace, device: torch.device) -> None:
        self.precision = Precision(new_option(opt, "precision"), device)
        self.device = device
        self.max = new_option(opt, "speed") == "max"
        self.compile: bool = new_option(opt, "compile")
        self.saves_memory: bool = new_option(opt, "grad_checkpoint")
        self.is_chosen = self.max or self.compile or self.precision.dtype is not None

    def merges_forward_passes(self, images: Tensor) -> bool:
        """Tell whether passes through one network are put together where that changes nothing.

        It saves launches, of which a CPU has none, and costs memory.
        """
        return images.device.type != "cpu" and not self.saves_memory

    def set_up(self, nets: Mapping[str, nn.Module], optimizers: Sequence[Optimizer]) -> str:
        """Switch on what the options ask for, and return a line that tells what is active."""
        active = [self.precision.name]
        for net in nets.values():
            networks.link_layers(net)  # a plugin may have replaced layers
            self.precision.attach(net)
            if self.max:
                networks.use_channels_last(net, half=self.precision.dtype is not None)
        if any(self.device.type in getattr(net, "channels_last_on", ()) for net in nets.values()):
            active.append("channels_last")
        if self.compile or self.max:
            active += self._compile(nets)
        if self.saves_memory:
            active += self._recompute(nets)
        fused = [use_fused_steps(optimizer) for optimizer in optimizers]
        if fused and all(fused):
            active.append("fused optimisers")
        return f"speed {'max' if self.max else 'faithful'}: {', '.join(active)}"

    def _compile(self, nets: Mapping[str, nn.Module]) -> list[str]:
        try:
            compiled = [networks.use_compiled_norms(net) for net in nets.values()]
        except UserError as error:
            if self.compile:
                raise
            warn(f"--speed max goes on without kernels of its own. {error}")
            return []
        return ["compiled norms"] if any(compiled) else []

    def _recompute(self, nets: Mapping[str, nn.Module]) -> list[str]:
        done = [name for name, net in nets.items() if networks.recompute_blocks(net)]
        return [f"blocks of {', '.join(done)} computed twice"] if done else []


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
        # What torch notes when it makes a fused optimiser: GradScaler then leaves it the scale.
        optimizer._step_supports_amp_scaling = True  # type: ignore[attr-defined]
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
