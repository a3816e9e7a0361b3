"""Repeated measurements, and the rows and the table that they make with what was promised."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from textwrap import wrap
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


TOLERANCE = 0.15  # --check forgives this much
WIDTHS = (38, 10, 10, 10, 7, 10)  # of the columns; 100 characters with what is between them
HEAD = ("case", "reference", "ours", "ratio", "goal", "ok")
UNMEASURED = "unmeasured"


@dataclass(frozen=True)
class Goal:
    """What was promised.

    Attributes:
        kind: "faster" (reference / ours is at least `value`), "smaller" (ours / reference is at
            most `value`) or "limit" (ours alone is at most `value`).
        value: the number.
        exact: nothing is forgiven, because nothing can disturb what is counted.
    """

    kind: str
    value: float
    exact: bool = False

    def __str__(self) -> str:
        return f"{'>=' if self.kind == 'faster' else '<='}{self.value:g}"

    def verdict(self, number: float) -> str:
        """Return yes, close (within the tolerance), or no."""
        if self.kind == "faster":
            met, near = number >= self.value, number >= self.value * (1 - TOLERANCE)
        else:
            met, near = number <= self.value, number <= self.value * (1 + TOLERANCE)
        if met:
            return "yes"
        return "close" if near and not self.exact else "no"


@dataclass
class Row:
    """One line of the table.

    Attributes:
        group: what --only calls it.
        case: what was measured.
        goal: what was promised, if anything.
        reference: what the reference needed; None: unmeasured.
        ours: what we needed; None: unmeasured.
        notes: printed below the line.
        not_judged: why the goal says nothing about this measurement; "" if it does.
        missing: why ours has no such mode; the goal then counts as missed.
    """

    group: str
    case: str
    goal: Goal | None = None
    reference: Series | None = None
    ours: Series | None = None
    notes: list[str] = field(default_factory=list)
    not_judged: str = ""
    missing: str = ""

    @property
    def ratio(self) -> float | None:
        """Return the ratio that the goal speaks of: above 1 is better, for sizes below 1."""
        if self.reference is None or self.ours is None:
            return None
        pair = self.reference.median, self.ours.median
        above, below = pair[::-1] if self.goal and self.goal.kind == "smaller" else pair
        return above / below if below else None

    @property
    def ok(self) -> str:
        """Return the verdict: yes, close, no, - (no goal, or it does not apply), unmeasured."""
        if self.missing:
            return "no"
        if self.ours is None:
            return UNMEASURED
        if self.goal is None or self.not_judged:
            return "-"
        number = self.ours.median if self.goal.kind == "limit" else self.ratio
        return UNMEASURED if number is None else self.goal.verdict(number)

    def remarks(self) -> list[str]:
        """Return what stands below the line."""
        noisy = {
            name: series.spread
            for name, series in (("reference", self.reference), ("ours", self.ours))
            if series is not None and series.is_noisy
        }
        spreads = ", ".join(f"{name} {spread:.0%}" for name, spread in noisy.items())
        return [
            *_other_numbers(self.reference, self.ours),
            *([f"noisy: the repetitions spread by {spreads}"] if noisy else []),
            *([f"unmeasured: {self.missing}"] if self.missing else []),
            *([f"not judged: {self.not_judged}"] if self.not_judged else []),
            *self.notes,
        ]

    def as_json(self) -> dict[str, Any]:
        """Return everything, for programs."""
        return {
            "group": self.group,
            "case": self.case,
            "goal": str(self.goal) if self.goal else None,
            "reference": self.reference.as_json() if self.reference else None,
            "ours": self.ours.as_json() if self.ours else None,
            "ratio": self.ratio,
            "ok": self.ok,
            "remarks": self.remarks(),
        }


def render(rows: Iterable[Row]) -> str:
    """Return the table; lines have at most 100 characters."""
    lines = [_line(HEAD), "-+-".join("-" * width for width in WIDTHS)]
    for row in rows:
        lines += _lines_of(row)
    return "\n".join(lines)


def missed(rows: Iterable[Row]) -> list[Row]:
    """Return the rows for which --check fails."""
    return [row for row in rows if row.ok == "no"]


def quantity(number: float, unit: str) -> str:
    """Write a number with its unit, three digits long.

    >>> quantity(0.0123, "s"), quantity(-0.0477, "s")
    ('12.3 ms', '-47.7 ms')
    """
    if unit == "s":
        size = abs(number)
        scale, unit = (1, "s") if size >= 1 else (1e3, "ms") if size >= 1e-3 else (1e6, "us")
        return f"{_digits(number * scale)} {unit}"
    return f"{_digits(number)} {unit}".strip()


def _digits(number: float) -> str:
    if abs(number) >= 1000:
        return f"{number:.0f}"
    return f"{number:.3g}"


def _lines_of(row: Row) -> list[str]:
    cells = [_cell(row.reference), _cell(row.ours), _ratio(row)]
    goal = str(row.goal) if row.goal else ""
    first, *rest = wrap(row.case, WIDTHS[0])
    lines = [_line((first, *cells, goal, row.ok))]
    lines += [_line((more, "", "", "", "", "")) for more in rest]
    for remark in row.remarks():
        lines += wrap(remark, 98, initial_indent="    ", subsequent_indent="      ")
    return lines


def _ratio(row: Row) -> str:
    if row.goal and row.goal.kind == "limit" and row.ratio is None:
        return ""
    return UNMEASURED if row.ratio is None else _digits(row.ratio)


def _cell(series: Series | None) -> str:
    return UNMEASURED if series is None else quantity(series.median, series.unit)


def _line(cells: Sequence[str]) -> str:
    padded = [f"{cell:<{width}}" for cell, width in zip(cells, WIDTHS, strict=True)]
    return " | ".join(padded).rstrip()


def _other_numbers(*both: Series | None) -> list[str]:
    """Say the least values, and what other clocks said; single values have no more to say."""
    present = [series for series in both if series is not None and len(series.values) > 1]
    if not present:
        return []
    parts = [f"min {' / '.join(quantity(series.least, series.unit) for series in present)}"]
    for name in present[0].others:
        known = [series.others[name] for series in present if name in series.others]
        medians = " / ".join(quantity(float(median(values)), "s") for values in known)
        least = " / ".join(quantity(min(values), "s") for values in known)
        parts.append(f"{name} {medians} (min {least})")
    return ["; ".join(parts)]
