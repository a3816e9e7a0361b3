"""Running means that stay on the device until somebody asks for them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class RunningMean:
    """Average scalars over an epoch without waiting for the device at every step."""

    def __init__(self) -> None:
        self._sum: Tensor | float = 0.0
        self._count = 0

    def add(self, value: Tensor | float | None) -> None:
        """Count one value in; None (nothing to average) is passed over."""
        if value is None:
            return
        self._sum = self._sum + (value.detach() if isinstance(value, torch.Tensor) else value)
        self._count += 1

    def mean(self) -> float | None:
        """Return the mean of what was added, None if that was nothing."""
        return float(self._sum) / self._count if self._count else None

    def reset(self) -> None:
        """Begin a new mean."""
        self._sum, self._count = 0.0, 0

    def state_dict(self) -> dict[str, Any]:
        """Return sum and count."""
        return {"sum": self._sum, "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with a mean that was begun."""
        self._sum, self._count = state["sum"], state["count"]


class LossMeans:
    """Average all losses of a model over an epoch, without waiting for the device."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sums: Tensor | None = None
        self._count = 0

    def add(self, losses: Mapping[str, Tensor | float]) -> None:
        """Count the losses of one step in; a model whose losses change begins anew."""
        if not losses:
            return
        if list(losses) != self._names:
            self.reset()
            self._names = list(losses)
        device = next((v.device for v in losses.values() if isinstance(v, Tensor)), None)
        numbers = [
            # torch.full fills on the device; sending a number there would wait for it
            value.sum() if isinstance(value, Tensor) else torch.full((), value, device=device)
            for value in losses.values()
        ]
        values = torch.stack([number.to(device) for number in numbers]).detach()
        self._sums = values if self._sums is None else self._sums.to(device) + values
        self._count += 1

    def means(self) -> dict[str, float]:
        """Return the means by name; empty if nothing was added."""
        if self._sums is None:
            return {}
        return dict(zip(self._names, (self._sums / self._count).tolist(), strict=True))

    def reset(self) -> None:
        """Begin new means."""
        self._names, self._sums, self._count = [], None, 0

    def state_dict(self) -> dict[str, Any]:
        """Return names, sums and count."""
        return {"names": self._names, "sums": self._sums, "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with means that were begun."""
        self._names, self._sums = list(state["names"]), state["sums"]
        self._count = state["count"]
