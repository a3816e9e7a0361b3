"""Start without torch's compiler: importing it takes longer than all that a training run needs.

torch's optimisers import it when they are made and in every step, only to tell a compiler that may
be at work what to leave alone. Where nothing is compiled there is nobody to tell.
"""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

UNCOMPILED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def leave_out_the_compiler() -> None:
    """Let optimisers that are made from now on do without it.

    Nothing happens if it has been imported already, or if this version of torch works otherwise.
    """
    if "torch._dynamo" in sys.modules:
        return
    for name in UNCOMPILED:
        method = getattr(vars(Optimizer)[name], "__wrapped__", None)
        if method is not None:
            # Where torch keeps what the compiler makes of it, and looks first.
            setattr(method, "__dynamo_disable", method)
    for kind in Optimizer.__subclasses__():
        step: Any = vars(kind).get("step")
        code = getattr(step, "__code__", None)
        if code is not None and code.co_name == "_use_grad":
            kind.step = _without_compiler(step.__wrapped__)  # type: ignore[method-assign]


def _without_compiler(step: Callable[..., Any]) -> Callable[..., Any]:
    """Do what torch does around a step, except for talking to the compiler."""

    def step_alone(self: Optimizer, *args: Any, **keywords: Any) -> Any:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step(self, *args, **keywords)

    return step_alone
