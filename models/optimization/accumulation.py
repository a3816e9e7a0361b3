"""When optimisers take their steps: after every batch, or after several (`--accumulate`)."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from models.architectures.fast.memory_format import laid_out_as
from util.base.torch_private import multiply_each
from util.processes import group

Totals = Callable[[list[Tensor | None], Sequence[Tensor]], list[Tensor | None]]


class GradientAccumulation:
    """Let optimisers step once in `every` batches, with the mean of their gradients.

    An optimiser that steps twice in a batch has two steps that wait, each with its own gradients.
    A training loop that never calls `begin_batch` (one of a fork) may have models whose optimisers
    step once in a batch: there each step counts as a batch.
    """

    def __init__(self, every: int = 1) -> None:
        self.every = every
        # For each step of a batch: how many batches have asked for it, and their gradients' sums.
        self._batches: defaultdict[Optimizer, list[int]] = defaultdict(list)
        self._sums: defaultdict[Optimizer, list[list[Tensor | None]]] = defaultdict(list)
        self._asked: Counter[Optimizer] = Counter()  # how many steps this batch has asked for
        self._knows_batches = False

    def begin_batch(self) -> None:
        """Begin to count the steps of a new batch."""
        self._knows_batches = True
        self._asked.clear()

    def is_due(self, optimizer: Optimizer) -> bool:
        """Count a step that was asked for; tell whether to take it now, with the mean gradients."""
        if self.every == 1:
            return True
        batches, sums = self._batches[optimizer], self._sums[optimizer]
        number = self._asked[optimizer]
        if self._knows_batches:
            self._asked[optimizer] += 1
        if number == len(batches):
            batches.append(0)
            sums.append([])
        parameters = parameters_of(optimizer)
        for parameter, gathered in zip(parameters, sums[number], strict=False):
            if gathered is not None:
                parameter.grad = gathered if parameter.grad is None else gathered + parameter.grad
        batches[number] += 1
        if batches[number] < self.every:
            sums[number] = [parameter.grad for parameter in parameters]
            optimizer.zero_grad(set_to_none=True)
            return False
        batches[number], sums[number] = 0, []
        if gradients := gradients_of(optimizer):
            multiply_each(gradients, 1 / self.every)
        return True

    def holds_gradients_of(self, optimizer: Optimizer) -> bool:
        """Tell whether steps of this optimiser wait, with gradients of earlier batches."""
        return any(gradient is not None for sums in self._sums[optimizer] for gradient in sums)

    def share(self, optimizers: Sequence[Optimizer], totals: Totals) -> None:
        """Let each process have an equal part of the sums that wait, so that one can save them."""
        if group.count() == 1:
            return
        for optimizer in optimizers:
            for sums in self._sums[optimizer]:
                if sums:
                    sums[:] = _times(1 / group.count(), totals(sums, parameters_of(optimizer)))

    def state_dict(self, optimizers: Sequence[Optimizer]) -> dict[str, Any]:
        """Return the batches that wait and the sums of their gradients, by optimiser and step."""
        return {
            "waiting": [list(self._batches[optimizer]) for optimizer in optimizers],
            "gradients": [
                [_times(group.count(), sums) for sums in self._sums[each]] for each in optimizers
            ],
        }

    def load_state_dict(
        self, state: Mapping[str, Any], optimizers: Sequence[Optimizer], first: int = 0
    ) -> None:
        """Take back what waits for these optimisers, from the `first` one on.

        A run of another `every` begins its steps anew.
        """
        saved = zip(optimizers, state.get("waiting", []), state.get("gradients", []), strict=False)
        for optimizer, batches, gradients in islice(saved, first, None):
            if isinstance(batches, int):  # of versions that knew one step for each batch
                batches, gradients = [batches], [gradients]
            self._batches[optimizer], self._sums[optimizer] = [], []
            parameters = parameters_of(optimizer)
            for count, sums in zip(batches, gradients, strict=True):
                fits = 0 < count < self.every and len(sums) == len(parameters)
                pairs = zip(parameters, sums, strict=True) if fits else ()
                self._batches[optimizer].append(count if fits else 0)
                own = [s if s is None else laid_out_as(p, s) for p, s in pairs]
                self._sums[optimizer].append(_times(1 / group.count(), own))


def _times(number: float, values: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Return values times a number; the very same, times 1."""
    if number == 1:
        return list(values)
    return [None if value is None else number * value for value in values]


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Return all parameters of an optimiser."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def gradients_of(optimizer: Optimizer) -> list[Tensor]:
    """Return the gradients that its parameters have."""
    return [p.grad for p in parameters_of(optimizer) if p.grad is not None]
