"""Gradients of several processes: each has those of its share, all step with their sum.

Networks stay as they are. What an optimiser trains is added up where it takes its step, in one
message; so it does not matter how often a network ran, nor which of them trained just now.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from models.architectures.fast.memory_format import layout_of
from models.architectures.synchronised import synchronise
from models.optimization.accumulation import parameters_of
from util.base.torch_private import copy_each
from util.processes import group


def join_networks(nets: Mapping[str, nn.Module]) -> list[str]:
    """Let networks begin with the weights of the first process, and see the batches of all.

    Returns:
        What was changed, in words.
    """
    if group.count() == 1:
        return []
    changed = [name for name, net in nets.items() if synchronise(net)]
    for net in nets.values():
        for tensor in (*net.parameters(), *net.buffers()):
            group.copy_from_first(tensor.data)
    words = [f"{group.count()} processes"]
    return words + ([f"batch norms of {', '.join(changed)} synchronised"] if changed else [])


_is_done = False  # for the step that is being taken
_hook: RemovableHandle | None = None


class SharedGradients:
    """Add up the gradients of all processes, each of which has those of its share of a batch.

    `compress` sends them in bfloat16. They travel in memory that is kept from step to step: new
    memory takes the system longer than copying.
    """

    def __init__(self, compress: bool) -> None:
        self._compress = compress
        self._kept: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    @contextmanager
    def is_done(self) -> Iterator[None]:
        """Let an optimiser step with gradients that are added up already."""
        global _is_done
        _is_done = True
        try:
            yield
        finally:
            _is_done = False

    def take_care_of_others(self, prepare: Callable[[Optimizer], None]) -> None:
        """Add up before the steps of all optimisers that are taken without asking.

        A model need not list each, so there is one hook for the whole process.
        """
        global _hook

        def add_up(optimizer: Optimizer, *_: Any) -> None:
            if group.count() > 1 and not _is_done:
                prepare(optimizer)
                self.of(optimizer)

        if _hook is not None:
            _hook.remove()
        _hook = register_optimizer_step_pre_hook(add_up)

    def of(self, optimizer: Optimizer) -> None:
        """Add up the gradients of all that an optimiser trains.

        A gradient that some processes do not have is zero there; one that none has stays None.
        """
        parameters = parameters_of(optimizer)
        gradients = self.totals([parameter.grad for parameter in parameters], parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient

    def totals(self, values: list[Tensor | None], like: Sequence[Tensor]) -> list[Tensor | None]:
        """Return the sums of values, of which each is like one of these tensors, or is not there.

        Those that are here are replaced in place.
        """
        if group.count() == 1:
            return values
        kinds = {(tensor.device, tensor.dtype) for tensor in like}
        for kind in sorted(kinds, key=str):  # in the same order in all processes
            alike = [n for n, each in enumerate(like) if (each.device, each.dtype) == kind]
            found = self._totals([values[n] for n in alike], [like[n] for n in alike])
            for n, value in zip(alike, found, strict=True):
                values[n] = value
        return values

    def _room(self, size: int, like: Tensor) -> Tensor:
        """Return a flat tensor of so many numbers, whatever they are."""
        dtype = torch.bfloat16 if self._compress else like.dtype
        kept = self._kept.get((like.device, dtype))
        if kept is None or len(kept) < size:
            kept = self._kept[like.device, dtype] = like.new_empty(size, dtype=dtype)
        return kept[:size]

    def _totals(self, values: list[Tensor | None], like: Sequence[Tensor]) -> list[Tensor | None]:
        """Send tensors of one kind as one flat tensor, behind it which of them there are."""
        sizes = [tensor.numel() for tensor in like]
        flat = self._room(sum(sizes) + len(sizes), like[0])
        *parts, there = flat.split([*sizes, len(sizes)])
        views = [_as_it_lies(tensor, part) for part, tensor in zip(parts, like, strict=True)]
        own = {n: value for n, value in enumerate(values) if value is not None}
        sent = [views[n] for n in own]
        copy_each(sent, list(own.values()))
        there.fill_(1)
        if missing := [n for n in range(len(like)) if n not in own]:
            there[missing] = 0
        for n in missing:
            views[n].zero_()
        group.add_up(flat)
        copy_each(list(own.values()), sent)
        if missing:  # else no GPU is waited for
            for n, processes in enumerate(there.tolist()):
                if processes > 0 and n not in own:
                    values[n] = views[n].to(like[n].dtype, copy=True)
        return values


def _as_it_lies(tensor: Tensor, flat: Tensor) -> Tensor:
    """View a flat tensor in the shape of another, in the order of that in memory: to copy fast."""
    if layout_of(tensor) is torch.contiguous_format:
        return flat.view_as(tensor)
    n, c, h, w = tensor.shape
    return flat.view(n, h, w, c).permute(0, 3, 1, 2)
