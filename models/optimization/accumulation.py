"""When optimisers take their steps: after every batch, or after several (`--accumulate`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from models.architectures.fast.memory_format import laid_out_as
from util.base.torch_private import multiply_each


@dataclass
class Waiting:
    """What one step of an optimiser has gathered since it was last taken.

    Attributes:
        batches: how many batches have asked for it.
        gradients: the sum of theirs, for each parameter; empty if there are none.
        given_out: the gradients lie where the backward pass adds to them.
    """

    batches: int = 0
    gradients: list[Tensor | None] = field(default_factory=list)
    given_out: bool = False


class GradientAccumulation:
    """Let optimisers step once in `every` batches, with the mean of their gradients.

    A batch then counts as a part of one that is `every` times larger. An optimiser that steps twice
    in a batch has two steps that wait, each with gradients of its own.

    `begin_batch` tells the batches apart. A training loop that never calls it (one of a fork) may
    have models whose optimisers step once in a batch: there each step counts as a batch.
    """

    def __init__(self, every: int = 1) -> None:
        self.every = every
        self._waiting: dict[Optimizer, list[Waiting]] = {}  # by the steps of a batch, in order
        self._asked: dict[Optimizer, int] = {}  # how many of them this batch has asked for
        self._knows_batches = False

    def begin_batch(self) -> None:
        """Begin to count the steps of a new batch."""
        self._knows_batches = True
        self._asked.clear()

    def clear(self, optimizer: Optimizer) -> None:
        """Forget all gradients but those that the coming step has gathered."""
        optimizer.zero_grad(set_to_none=True)
        waiting = self._next(optimizer)
        for parameter, gradient in zip(parameters_of(optimizer), waiting.gradients, strict=False):
            parameter.grad = gradient
        waiting.given_out = True

    def is_due(self, optimizer: Optimizer) -> bool:
        """Count a step that was asked for; tell whether it is to be taken now.

        If so, the optimiser's gradients are the sum over the batches.
        """
        waiting = self._next(optimizer)
        if self._knows_batches:
            self._asked[optimizer] = self._asked.get(optimizer, 0) + 1
        if self.every == 1:
            return True
        parameters = parameters_of(optimizer)
        if waiting.gradients and not waiting.given_out:  # the model cleared them by itself
            _add(parameters, waiting.gradients)
        waiting.batches += 1
        waiting.given_out = False
        is_last = waiting.batches >= self.every
        waiting.gradients = [] if is_last else [parameter.grad for parameter in parameters]
        if is_last:
            waiting.batches = 0
        else:
            optimizer.zero_grad(set_to_none=True)  # others may leave gradients here: none of ours
        return is_last

    def divide(self, optimizer: Optimizer) -> None:
        """Make the mean of the sum."""
        if self.every > 1:
            multiply_each(gradients_of(optimizer), 1 / self.every)

    def holds_gradients_of(self, optimizer: Optimizer) -> bool:
        """Tell whether other steps of this optimiser wait, with gradients of earlier batches."""
        steps = self._waiting.get(optimizer, [])
        return any(gradient is not None for each in steps for gradient in each.gradients)

    def _next(self, optimizer: Optimizer) -> Waiting:
        steps = self._waiting.setdefault(optimizer, [])
        number = self._asked.get(optimizer, 0)
        while len(steps) <= number:
            steps.append(Waiting())
        return steps[number]

    def state_dict(self, optimizers: Sequence[Optimizer]) -> dict[str, Any]:
        """Return the batches that wait and the sums of their gradients, by optimiser and step."""
        steps = [self._waiting.get(optimizer, []) for optimizer in optimizers]
        return {
            "waiting": [[each.batches for each in waiting] for waiting in steps],
            "gradients": [[each.gradients for each in waiting] for waiting in steps],
        }

    def load_state_dict(self, state: Mapping[str, Any], optimizers: Sequence[Optimizer]) -> None:
        """Take back what `state_dict` returned; a run of another `every` begins its steps anew."""
        for optimizer, batches, gradients in zip(
            optimizers, state.get("waiting", []), state.get("gradients", []), strict=False
        ):
            if isinstance(batches, int):  # of versions that knew one step for each batch
                batches, gradients = [batches], [gradients]
            parameters = parameters_of(optimizer)
            self._waiting[optimizer] = [
                Waiting(count, _laid_out_as(parameters, sums))
                if 0 < count < self.every and len(sums) == len(parameters)
                else Waiting()
                for count, sums in zip(batches, gradients, strict=True)
            ]


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Return all parameters of an optimiser."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def gradients_of(optimizer: Optimizer) -> list[Tensor]:
    """Return the gradients that its parameters have."""
    return [p.grad for p in parameters_of(optimizer) if p.grad is not None]


def _add(parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def _laid_out_as(
    parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]
) -> list[Tensor | None]:
    return [
        None if gradient is None else laid_out_as(parameter, gradient)
        for parameter, gradient in zip(parameters, gradients, strict=True)
    ]
