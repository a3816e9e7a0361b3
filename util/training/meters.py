"""Means of the losses that stay on the device until somebody asks for them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

GENERATORS = "G"  # the loss that `--lr_policy plateau` follows


class LossMeter:
    """Average a model's losses over the images of an epoch; a step adds up on the device."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin new means."""
        self._names: list[str] = []
        self._sums = torch.zeros(0)
        self._counts: Counter[str] = Counter()  # of images: a loss may not be there in every step

    def add(self, names: Sequence[str], values: Tensor, images: int = 1) -> None:
        """Count in the losses of one step over so many images, (losses,) and detached."""
        values = values * images  # a new tensor: those may be changed
        if list(names) != self._names:
            together = list(dict.fromkeys([*self._names, *names]))
            sums = self._sums.to(values) if self._names else values[:0]
            self._sums = _in_order(together, self._names, sums)
            values = _in_order(together, names, values)
            self._names = together
        self._sums = self._sums.to(values.device) + values
        self._counts.update(dict.fromkeys(names, images))

    @property
    def is_empty(self) -> bool:
        """Tell whether no loss was added."""
        return not self._names

    def means(self, names: Sequence[str]) -> dict[str, float]:
        """Return the means of these losses, as far as there are any; waits for the device."""
        sums = dict(zip(self._names, self._sums.tolist(), strict=True))
        return {name: sums[name] / self._counts[name] for name in names if name in sums}

    def generators_mean(self) -> float | None:
        """Return the mean of the generators' loss, None if there is none."""
        return self.means([GENERATORS]).get(GENERATORS)

    def state_dict(self) -> dict[str, Any]:
        """Return what goes into a state, under two names since earlier versions had two meters."""
        sums = dict(zip(self._names, self._sums.unbind(), strict=True))
        generators = {"sum": sums.get(GENERATORS, 0.0), "count": self._counts[GENERATORS]}
        means = {"names": self._names, "sums": self._sums, "counts": dict(self._counts)}
        means["count"] = max(self._counts.values(), default=0)
        return {"epoch_loss": generators, "loss_means": means}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with means that were begun; states of earlier versions are taken too.

        Those have the generators' loss in `epoch_loss` alone, the first ones no other loss at all.
        """
        self.reset()
        means, generators = state.get("loss_means", {}), state["epoch_loss"]
        if means.get("names"):
            self._names, self._sums = list(means["names"]), means["sums"]
            counts = means.get("counts") or dict.fromkeys(self._names, means["count"])
            self._counts.update(counts)
        if generators["count"] > 0 and GENERATORS not in self._names:
            total = torch.as_tensor(generators["sum"]).reshape(1)
            self._names.append(GENERATORS)
            self._sums = torch.cat([self._sums, total.to(self._sums)])
            self._counts[GENERATORS] = generators["count"]


def _in_order(order: Sequence[str], names: Sequence[str], values: Tensor) -> Tensor:
    """Return values by the names of another list, 0 for those that have none."""
    known, zero = dict(zip(names, values.unbind(), strict=True)), values.new_zeros(())
    return torch.stack([known.get(name, zero) for name in order]) if order else values
