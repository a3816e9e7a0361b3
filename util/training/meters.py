"""Means of the losses that stay on the device until somebody asks for them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

GENERATORS = "G"  # the loss that `--lr_policy plateau` follows


class LossMeter:
    """Average a model's losses over an epoch; a step costs one addition on the device."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sums: Tensor | None = None
        self._count = 0

    def add(self, names: Sequence[str], values: Tensor) -> None:
        """Count in the losses of one step, (losses,) and detached; other names begin anew."""
        if list(names) != self._names:
            self.reset()
            self._names = list(names)
        # A new tensor: the values may be changed in place afterwards.
        self._sums = values + (0 if self._sums is None else self._sums.to(values.device))
        self._count += 1

    def means(self, names: Sequence[str]) -> dict[str, float]:
        """Return the means of these losses, as far as there are any; waits for the device."""
        if self._sums is None:
            return {}
        found = dict(zip(self._names, (self._sums / self._count).tolist(), strict=True))
        return {name: found[name] for name in names if name in found}

    def generators_mean(self) -> float | None:
        """Return the mean of the generators' loss, None if there is none."""
        if self._sums is None or GENERATORS not in self._names:
            return None
        return float(self._sums[self._names.index(GENERATORS)]) / self._count

    def reset(self) -> None:
        """Begin new means."""
        self._names, self._sums, self._count = [], None, 0

    def state_dict(self) -> dict[str, Any]:
        """Return what goes into a state, under two names since earlier versions had two meters."""
        generators: dict[str, Any] = {"sum": 0.0, "count": 0}
        if self._sums is not None and GENERATORS in self._names:
            total = self._sums[self._names.index(GENERATORS)]
            generators = {"sum": total, "count": self._count}
        means = {"names": self._names, "sums": self._sums, "count": self._count}
        return {"epoch_loss": generators, "loss_means": means}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with means that were begun; states of earlier versions are taken too.

        Those have the generators' loss in `epoch_loss` alone, the first ones no other loss at all.
        """
        means = state.get("loss_means", {"names": [], "sums": None, "count": 0})
        self._names, self._sums, self._count = list(means["names"]), means["sums"], means["count"]
        generators = state["epoch_loss"]
        if GENERATORS in self._names or generators["count"] == 0:
            return
        total = torch.as_tensor(generators["sum"]).reshape(1)
        if self._sums is None:
            self._names, self._sums, self._count = [GENERATORS], total, generators["count"]
        else:
            self._names.append(GENERATORS)
            self._sums = torch.cat([self._sums, total.to(self._sums)])
