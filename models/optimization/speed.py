"""How a model computes, as `--speed`, `--precision`, `--compile` and `--grad_checkpoint` say.

`--speed faithful` keeps the numbers (up to rounding: float64 agrees to 1e-10) and every random
number. `--speed max` also takes what changes dropout masks or, on GPUs, needs a compiler.
"""

import functools
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from models.architectures import switches
from models.optimization.fused import use_fused_steps
from models.optimization.precision import PRECISIONS, Precision
from util.base.errors import UserError, suggest
from util.base.log import say, warn
from util.base.new_options import new_option

SPEEDS = ("faithful", "max")


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
        self._records_graphs = False

    def merges_forward_passes(self, images: Tensor) -> bool:
        """Tell whether passes through one network are put together where that changes nothing.

        It saves launches, of which a CPU has none, and costs memory.
        """
        return images.device.type != "cpu" and not self.saves_memory

    def begin_step(self) -> None:
        """Tell that nothing is needed any more of what networks made for the step before.

        Recorded CUDA graphs use their memory again.
        """
        if self._records_graphs:
            torch.compiler.cudagraph_mark_step_begin()

    def set_up(self, nets: Mapping[str, nn.Module], optimizers: Sequence[Optimizer]) -> str:
        """Switch on what the options ask for, and return a line that tells what is active."""
        active = [self.precision.name]
        for net in nets.values():
            self.precision.attach(net)
            if self.max:
                switches.use_channels_last(net, half=self.precision.dtype is not None)
        if any(self.device.type in getattr(net, "channels_last_on", ()) for net in nets.values()):
            active.append("channels_last")
        if self.saves_memory:
            active += self._recompute(nets)
        if self.compile or (self.max and self.device.type == "cuda"):
            active += self._compile(list(nets.values()))
        fused = [use_fused_steps(optimizer) for optimizer in optimizers]
        if fused and all(fused):
            active.append("fused optimisers")
        return f"speed {'max' if self.max else 'faithful'}: {', '.join(active)}"

    def _compile(self, nets: Sequence[nn.Module]) -> list[str]:
        try:
            check_compiler(self.device)
        except UserError as error:
            if self.compile:
                raise
            warn(f"--speed max goes on without compiled networks. {error}")
            return []
        # With dropout masks as without compiling; CUDA graphs are what mode="reduce-overhead" is.
        self._records_graphs = self.device.type == "cuda"
        for net in nets:
            net.compile(
                options={"fallback_random": True, "triton.cudagraphs": self._records_graphs}
            )
        if self.device.type == "cpu":  # docs/performance.md
            say("--compile is for GPUs: on a CPU, networks were slower with it than without.")
        return ["compiled networks"]

    def _recompute(self, nets: Mapping[str, nn.Module]) -> list[str]:
        done = [name for name, net in nets.items() if switches.recompute_blocks(net)]
        return [f"blocks of {', '.join(done)} computed twice"] if done else []


@functools.cache
def check_compiler(device: torch.device) -> None:
    """Compile something small, to see whether that is possible here.

    Raises:
        UserError: it is not.
    """
    try:
        torch.compile(torch.sin)(torch.ones(32, device=device))
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"--compile cannot make kernels on this machine ({type(error).__name__}: {reason}). It "
            "needs a C++ compiler (on Debian and Ubuntu: apt install g++). Install one, or leave "
            "--compile out."
        ) from error
