"""Repeated measurements of one thing, and what they say together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

NOISY = 0.15  # a spread above this share of the median makes a row noisy

Measured = Mapping[str, float]  # what one repetition brought: seconds of "cpu" and of "wall"


@dataclass(frozen=True)
class Series:
    """Values of all repetitions; `others` holds what was measured beside them, by name."""

    values: Sequence[float]
    unit: str = "s"
    others: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """Return what the table shows and ratios are made of."""
        return float(median(self.values))

    @property
    def least(self) -> float:
        """Return the best value."""
        return min(self.values)

    @property
    def spread(self) -> float:
        """Return the distance from least to largest, as a share of the median."""
        return (max(self.values) - self.least) / self.median if self.median else 0.0

    @property
    def is_noisy(self) -> bool:
        """Tell whether the repetitions differ too much to trust small differences."""
        return self.spread > NOISY

    def as_json(self) -> dict[str, Any]:
        """Return everything, for programs."""
        return {
            "unit": self.unit,
            "median": self.median,
            "min": self.least,
            "spread": self.spread,
            "values": list(self.values),
            "others": {
                name: {"median": float(median(values)), "min": min(values), "values": list(values)}
                for name, values in self.others.items()
            },
        }


def of_times(measured: Sequence[Measured], clock: str) -> Series:
    """Make a series of the seconds of one clock; the other clock's go beside it."""
    others = {
        name: [times[name] for times in measured]
        for name in ("cpu", "wall")
        if name != clock and name in measured[0]
    }
    return Series([times[clock] for times in measured], "s", others)


def interleave(measures: Sequence[Callable[[], Measured]], reps: int) -> list[list[Measured]]:
    """Measure in turns (A B A B ...), so that a change of the machine's load hits all alike."""
    found: list[list[Measured]] = [[] for _ in measures]
    for number in range(1 + reps):
        for measure, kept in zip(measures, found, strict=True):
            times = measure()
            if number > 0:  # the first turn warms up
                kept.append(times)
    return found
