"""What one training step does, counted on the meta device: no numbers are computed, so no time.

What counts as an operation: every call that PyTorch dispatches below autograd, in forward,
backward and the optimisers' steps, except

- views (view, detach, slice, as_strided, ...): they neither compute nor move anything;
- aten.empty and its kin: reserving memory is no kernel;
- reading a number out of Adam's step counters, which lie on the CPU.

Adam is counted as it runs on a GPU: by default one call for all tensors (foreach); a fused one,
which knows no meta tensors, as its two calls (the count of steps, and the step). The second step is
counted: the first one prepares the optimisers' state. Bytes are those of all tensors that go in or
come out, each once an operation. FLOPs are torch's, two for each multiplication with its addition.
"""

from collections import Counter
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from benchmark.worker.interface import create_model, seed_all

META = torch.device("meta")
NO_OPERATION = ("aten.empty", "aten._local_scalar_dense")  # how their names begin


class Counted(TorchDispatchMode):
    """Counts operations by name, and the bytes that they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, and count it."""
        del types
        result = func(*args, **(kwargs or {}))
        name = str(func)
        if not func.is_view and not name.startswith(NO_OPERATION):
            self.operations[name] += 1
            leaves = tree_leaves((args, kwargs, result))
            tensors = {id(leaf): leaf for leaf in leaves if isinstance(leaf, Tensor)}
            self.bytes += sum(each.numel() * each.element_size() for each in tensors.values())
        return result


def count(argv: list[str], size: int) -> dict[str, Any]:
    """Count what the second step of training does."""
    model = create_model(argv, seed=0)
    fused = move_to_meta(model)
    batch = _batch(size)
    _step(model, batch)
    counted, flops = Counted(), FlopCounterMode(display=False)
    for optimizer in model.optimizers:
        if id(optimizer) in fused:
            optimizer.step = partial(_count_fused_step, optimizer, counted)
    with flops, counted:
        _step(model, batch)
    return {
        "operations": counted.operations.total(),
        "bytes": counted.bytes,
        "flops": flops.get_total_flops(),
        "by_name": dict(counted.operations.most_common()),
    }


def _batch(size: int) -> dict[str, Any]:
    a, b = (torch.zeros(1, 3, size, size, device=META) for _ in range(2))
    return {"A": a, "B": b, "A_paths": ["nothing"], "B_paths": ["nothing"]}


def _step(model: Any, batch: dict[str, Any]) -> None:
    seed_all(0)  # image pools draw which image they return
    model.set_input(batch)
    model.optimize_parameters()


def move_to_meta(model: Any) -> set[int]:
    """Move networks and losses, and let the optimisers train what has become of the parameters.

    Returns the optimisers that are fused.
    """
    moved: dict[int, nn.Parameter] = {}
    for value in vars(model).values():
        if isinstance(value, nn.Module):
            before = list(value.parameters())
            value.to(META)
            moved |= {id(old): new for old, new in zip(before, value.parameters(), strict=True)}
    fused = set()
    for optimizer in model.optimizers:
        for group in optimizer.param_groups:
            group["params"] = [moved[id(parameter)] for parameter in group["params"]]
            if group["fused"]:
                fused.add(id(optimizer))
            group["fused"], group["foreach"] = False, True
            group["capturable"] = False
    model.device = META
    return fused


def _count_fused_step(optimizer: Any, counted: Counted) -> None:
    """Count what a fused Adam does on a GPU, for each group of parameters."""
    for group in optimizer.param_groups:
        numbers = sum(parameter.numel() for parameter in group["params"])
        counted.operations.update(["aten._foreach_add_.Tensor", "aten._fused_adam_.default"])
        counted.bytes += 4 * 4 * numbers  # weights, gradients and two means, in float32
