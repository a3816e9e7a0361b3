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
