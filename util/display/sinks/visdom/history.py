"""The points of the loss curves, which a server that was started anew must get again."""

from array import array
from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


class LossHistory:
    """Points of the loss curves, 8 bytes a number; a loss that a point lacks is NaN."""

    def __init__(self) -> None:
        self._x = array("d")
        self._curves: dict[str, array[float]] = {}

    def __len__(self) -> int:
        return len(self._x)

    @property
    def names(self) -> list[str]:
        """Return the names of the losses in order of appearance."""
        return list(self._curves)

    def add(self, x: float, values: Mapping[str, float]) -> None:
        """Add one point."""
        for name in values:
            if name not in self._curves:
                self._curves[name] = array("d", [nan]) * len(self)
        for name, curve in self._curves.items():
            curve.append(values.get(name, nan))
        self._x.append(x)

    def up_to(self, last: float) -> "LossHistory":
        """Return a copy without what lies beyond `last`."""
        kept = [place for place, x in enumerate(self._x) if x <= last]
        copy = LossHistory()
        copy._x = array("d", [self._x[place] for place in kept])
        for name, curve in self._curves.items():
            copy._curves[name] = array("d", [curve[place] for place in kept])
        return copy

    def rows(self, start: int, stop: int, names: Sequence[str]) -> tuple[Numbers, Numbers]:
        """Return copies of x (points,) and of some curves (points, losses)."""
        curves = [np.array(self._curves[name][start:stop]) for name in names]
        return np.array(self._x[start:stop]), np.stack(curves, axis=1)

    def state_dict(self) -> dict[str, Any]:
        """Return everything as tensors (float64), which a state file holds compactly."""
        curves = {name: torch.from_numpy(np.array(each)) for name, each in self._curves.items()}
        return {"x": torch.from_numpy(np.array(self._x)), "losses": curves}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take what `state_dict` returned."""
        x = array("d", state["x"].tolist())
        curves = {str(name): array("d", curve.tolist()) for name, curve in state["losses"].items()}
        if any(len(curve) != len(x) for curve in curves.values()):
            raise ValueError("the saved loss curves are not of the same length")
        self._x, self._curves = x, curves
