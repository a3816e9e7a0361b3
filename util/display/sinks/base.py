"""The sink protocol, and the rule that a sink may fail but training may not."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from util.base.log import warn

ImageArray = NDArray[np.uint8]  # (H, W, C)


@dataclass(frozen=True)
class LogStep:
    """When something was observed.

    Attributes:
        epoch: number of the epoch, from 1.
        images: images seen in that epoch.
        fraction: share of the epoch that is done.
        compute_seconds: time per image of the last step.
        load_seconds: time the last step waited for its data.
        total_images: images seen since training began, None if nobody said.
    """

    epoch: int
    images: int = 0
    fraction: float = 0.0
    compute_seconds: float = 0.0
    load_seconds: float = 0.0
    total_images: int | None = None


class Sink(Protocol):
    """A destination for what training reports."""

    def scalars(self, when: LogStep, values: Mapping[str, float]) -> None:
        """Take the losses of one moment."""

    def images(self, when: LogStep, images: Mapping[str, ImageArray]) -> None:
        """Take labelled images."""

    def close(self) -> None:
        """Send what is left and let go of files and connections."""


_complained: "WeakSet[Any]" = WeakSet()


def deliver(sinks: Iterable[Any], call: Callable[[Any], None]) -> None:
    """Call every sink; one that fails is reported once and tried again at the next event."""
    for sink in sinks:
        try:
            call(sink)
        except Exception as error:  # noqa: BLE001 - whatever a display does, training goes on
            if sink not in _complained:
                _complained.add(sink)
                warn(f"{type(sink).__name__} failed ({error}); training goes on without it.")
