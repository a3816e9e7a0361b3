"""What a run of the tests tells at its end: differences from recorded values, and counts."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest


class Summary:
    """Collects over all tests; processes that share the tests send theirs to the first one."""

    def __init__(self) -> None:
        self.differences: dict[str, tuple[float, float]] = {}  # value and bound, by group
        self.counts: Counter[str] = Counter()
        self.lost = 0  # processes that ended without sending theirs

    def note_difference(self, group: str, value: float, bound: float) -> None:
        """Keep the difference of each group that is closest to its bound."""
        value, bound = float(value), float(bound)  # NumPy's numbers cannot be sent
        kept = self.differences.get(group)
        if kept is None or value * kept[1] > kept[0] * bound:
            self.differences[group] = (value, bound)

    def plain(self) -> dict[str, Any]:
        """Return everything in plain containers."""
        return {"differences": self.differences, "counts": dict(self.counts)}

    def add(self, plain: dict[str, Any]) -> None:
        """Take in what another process's `plain` returned."""
        for group, (value, bound) in plain["differences"].items():
            self.note_difference(group, value, bound)
        self.counts.update(plain["counts"])

    def sections(self) -> Iterator[tuple[str, list[str]]]:
        """Yield titles with their lines."""
        if self.differences:
            yield (
                "largest difference from the recorded values",
                [
                    f"{group:<45} {value:<12.3g} (bound {bound:.3g})"
                    for group, (value, bound) in sorted(self.differences.items())
                ],
            )
        if self.counts:
            lines = [f"{number:>9,}  {name}" for name, number in sorted(self.counts.items())]
            yield "reliability", lines
        if self.lost:
            yield "lost", [f"{self.lost} test processes ended without their part of the summary"]


SUMMARY = pytest.StashKey[Summary]()
