"""How a model computes, as `--speed`, `--precision`, `--compile` and `--grad_checkpoint` say.

`--speed faithful` keeps the numbers (up to rounding: float64 agrees to 1e-10) and every random
number. `--speed max` also takes what changes dropout masks or, on GPUs, needs a compiler.
"""

import functools
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from models.architectures import switches
from models.architectures.fast.memory_format import laid_out_as
from models.architectures.synchronised import sees_others
from models.optimization.accumulation import parameters_of
from models.optimization.precision import PRECISIONS, Precision
from util.base.errors import UserError, suggest
from util.base.log import say, warn
from util.base.new_options import new_option
from util.base.torch_private import leave_scale_to


def speed_problems(opt: Namespace) -> Iterator[str]:
    """Yield what is wrong with these options."""
    for name, known in (("speed", ("faithful", "max")), ("precision", tuple(PRECISIONS))):
        value = new_option(opt, name)
        if value not in known:
            yield f"--{name} {value} is not known. {suggest(value, known)}"


class Speed:
    """Set up networks as the options say, and tell what was done."""

    def __init__(self, opt: Namespace, device: torch.device) -> None:
        self.precision = Precision(new_option(opt, "precision"), device)
        self.device = device
        self.max = new_option(opt, "speed") == "max"
        self.compile: bool = new_option(opt, "compile")
        self.saves_memory: bool = new_option(opt, "grad_checkpoint")
        # The user asked for something else than the default.
        self.is_chosen = self.max or self.compile or self.precision.dtype is not None
        self._records_graphs = False

    def merges_forward_passes(self, images: Tensor) -> bool:
        """Tell whether passes through one network are put together where that changes nothing.

        It saves launches, of which a CPU has none, and costs memory.
        """
        return images.device.type != "cpu" and not self.saves_memory

    def begin_step(self) -> None:
        """Let recorded CUDA graphs use their memory again: what they made is needed no more."""
        if self._records_graphs:
            torch.compiler.cudagraph_mark_step_begin()

    def set_up(self, nets: Mapping[str, nn.Module]) -> list[str]:
        """Switch on what the options ask for, and return what is active."""
        active = [f"speed {'max' if self.max else 'faithful'}: {self.precision.name}"]
        for net in nets.values():
            self.precision.attach(net)
            if self.max:
                switches.use_channels_last(net, half=self.precision.dtype is not None)
        if any(self.device.type in getattr(net, "channels_last_on", ()) for net in nets.values()):
            active.append("channels_last")
        if self.saves_memory:
            done = [name for name, net in nets.items() if switches.recompute_blocks(net)]
            active += [f"blocks of {', '.join(done)} computed twice"] if done else []
        if self.compile or (self.max and self.device.type == "cuda"):
            active += self._compile(nets)
        return active

    def _compile(self, nets: Mapping[str, nn.Module]) -> list[str]:
        try:
            check_compiler(self.device)
        except UserError as error:
            if self.compile:
                raise
            warn(f"--speed max goes on without compiled networks. {error}")
            return []
        self._records_graphs = self.device.type == "cuda"
        left = [name for name, net in nets.items() if sees_others(net)]
        for name, net in nets.items():
            if name not in left:
                _compile_network(net, self.device)
        if self.device.type == "cpu":  # docs/performance.md
            say("--compile is for GPUs: on a CPU, networks were slower with it than without.")
        done = "compiled networks" if len(left) < len(nets) else "no compiled networks"
        why = f" (not {', '.join(left)}: layers wait for other processes)" if left else ""
        return [done + why]


def compile_network(net: nn.Module, device: torch.device) -> None:
    """Let torch compile a network when it first runs; a UserError if that is not possible here."""
    check_compiler(device)
    _compile_network(net, device)


def _compile_network(net: nn.Module, device: torch.device) -> None:
    # With dropout masks as without compiling; CUDA graphs are what mode="reduce-overhead" is.
    net.compile(options={"fallback_random": True, "triton.cudagraphs": device.type == "cuda"})


@functools.cache
def check_compiler(device: torch.device) -> None:
    """Compile something small, and complain if that is not possible here."""
    try:
        torch.compile(torch.sin)(torch.ones(32, device=device))
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"--compile cannot make kernels on this machine ({type(error).__name__}: {reason}). It "
            "needs a C++ compiler (on Debian and Ubuntu: apt install g++). Install one, or leave "
            "--compile out."
        ) from error


def use_fused_steps(optimizer: Optimizer) -> bool:
    """Let an optimiser step in one kernel, unless its maker chose; tell whether it does."""
    groups = optimizer.param_groups
    if type(optimizer) not in (Adam, AdamW, SGD):
        return False
    if all(group["fused"] for group in groups):
        return True
    chose = any(g["fused"] is False or g["foreach"] or g["differentiable"] for g in groups)
    if chose or not all(_has_fused_steps(parameter) for parameter in parameters_of(optimizer)):
        return False
    for group in groups:
        group["fused"] = True
    optimizer.register_step_pre_hook(_lay_out_gradients)
    leave_scale_to(optimizer)  # as torch does when it makes a fused optimiser itself
    return True


def _has_fused_steps(parameter: Tensor) -> bool:
    dense = parameter.is_contiguous() or (
        parameter.dim() == 4 and parameter.is_contiguous(memory_format=torch.channels_last)
    )
    return dense and parameter.device.type in ("cpu", "cuda") and parameter.is_floating_point()


def _lay_out_gradients(optimizer: Optimizer, *_: Any) -> None:
    """Bring gradients into the order of their weights, which fused kernels take for granted.

    Those of `backward` are in it; those that somebody has put there need not be.
    """
    for parameter in parameters_of(optimizer):
        gradient = parameter.grad
        if gradient is not None and gradient.stride() != parameter.stride():
            parameter.grad = laid_out_as(parameter, gradient)
