"""Losses over epochs as a picture inside a page: SVG text, nothing to load and nothing to run."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

# Okabe and Ito's colours for all kinds of colour vision, without the pale yellow; then dashed.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444", "#882255")
DASHES = ("", "6 3", "2 3", "8 3 2 3")
MOST_POINTS = 400  # drawn for each loss; a pixel or two apart
LARGEST = 1e100  # beyond it sums could overflow
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """A range of values with its marks; `log` axes count in powers of ten."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def share(self, value: float) -> float:
        """Return where between the ends a value lies, from 0 to 1."""
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            return (math.log10(max(value, self.low)) - low) / (high - low)
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Frame:
    """Where the plot lies in the picture, in pixels."""

    left: float
    right: float
    top: float
    bottom: float

    def x(self, share: float) -> float:
        """Return the column of a share of the width."""
        return self.left + share * (self.right - self.left)

    def y(self, share: float) -> float:
        """Return the row of a share of the height."""
        return self.bottom - share * (self.bottom - self.top)


def loss_curve(
    points: Sequence[tuple[float, Mapping[str, float]]], width: int = 720, height: int = 260
) -> str:
    """Draw losses over epochs as an `<svg>` element for an HTML page.

    A value that is not finite leaves a gap, and so does an epoch before the previous one (a
    training that went back to a checkpoint). If the losses differ much in size and none is
    negative, the vertical axis is logarithmic.

    Args:
        points: when (epochs, with fractions) and the losses by name, in the order of training.
        width: of the picture in pixels.
        height: of the picture in pixels.

    Returns:
        The element, or nothing if there is nothing to draw.
    """
    lines = {name: _thin(line) for name, line in _lines(points).items()}
    drawn = [point for line in lines.values() for point in line if math.isfinite(point[1])]
    if not drawn:
        return ""
    down = _value_axis(lines.values())
    across = _epoch_axis(min(x for x, _ in drawn), max(x for x, _ in drawn))
    left = 24 + 6.2 * max(len(label) for _, label in down.ticks)
    legend, rows = _legend(list(lines), left, width - 14, int((height - 110) // 16))
    frame = Frame(left=left, right=width - 14, top=12 + 16 * rows, bottom=height - 36)
    parts = [
        f'<svg role="img" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'style="max-width:100%;height:auto;background:#fff" '
        'font-family="system-ui,sans-serif" font-size="11" fill="#444">',
        "<title>Losses over epochs</title>",
        *legend,
        *_grid(across, down, frame),
        *(
            part
            for (name, line), style in zip(lines.items(), _styles(), strict=False)
            for part in _polylines(name, line, style, across, down, frame)
        ),
        "</svg>",
    ]
    return "\n".join(parts)


def _lines(points: Sequence[tuple[float, Mapping[str, float]]]) -> dict[str, list[Point]]:
    """Sort by name; names come in the order of their first appearance, gaps as nan."""
    lines: dict[str, list[Point]] = {}
    for x, values in points:
        if not math.isfinite(x):
            continue
        for name, value in values.items():
            number = float(value)
            kept = max(-LARGEST, min(LARGEST, number)) if math.isfinite(number) else math.nan
            lines.setdefault(name, []).append((float(x), kept))
    return {name: line for name, line in lines.items() if any(y == y for _, y in line)}


def _thin(line: list[Point]) -> list[Point]:
    """Leave out points, but the lowest and the highest of each stretch stay."""
    if len(line) <= MOST_POINTS:
        return line
    stretches = MOST_POINTS // 2 - 1
    bounds = [1 + i * (len(line) - 2) // stretches for i in range(stretches + 1)]
    kept = [0]
    for start, end in pairwise(bounds):
        finite = [i for i in range(start, end) if math.isfinite(line[i][1])]
        if finite:
            extremes = {min(finite, key=lambda i: line[i][1]), max(finite, key=lambda i: line[i][1])}
            kept.extend(sorted(extremes))
        else:
            kept.append(start)
    return [line[i] for i in [*kept, len(line) - 1]]


def _segments(line: list[Point]) -> Iterator[list[Point]]:
    """Yield the stretches that are drawn without lifting the pen."""
    segment: list[Point] = []
    for point in line:
        if segment and (math.isnan(point[1]) or point[0] < segment[-1][0]):
            yield segment
            segment = []
        if not math.isnan(point[1]):
            segment.append(point)
    if segment:
        yield segment


def _step(span: float, most: int) -> float:
    """Return the smallest of 1, 2, 5, 10, ... that divides `span` into at most `most` parts."""
    power: float = 10.0 ** math.floor(math.log10(span / most))
    return next(power * factor for factor in (1, 2, 5, 10, 20) if span / (power * factor) <= most)


def _label(value: float, step: float) -> str:
    """Write a mark with as many digits as its distance to the next one needs."""
    if abs(value) < step / 2:
        return "0"
    exponent = math.floor(math.log10(step) + 1e-9)
    largest = math.floor(math.log10(abs(value)) + 1e-9)
    if largest >= 5 or largest < -3:
        mantissa, power = f"{value:.{max(0, largest - exponent)}e}".split("e")
        return f"{mantissa}e{int(power)}"
    return f"{value:.{max(0, -exponent)}f}"


def _marks(low: float, high: float, step: float) -> tuple[tuple[float, str], ...]:
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return tuple((i * step, _label(i * step, step)) for i in range(first, last + 1))


def _widened(low: float, high: float) -> tuple[float, float]:
    """Make room around values that hardly differ."""
    size = max(abs(low), abs(high))
    if size < 1e-100:
        return low - 1, high + 1
    if high - low < 1e-6 * size:
        return low - 0.1 * size, high + 0.1 * size
    return low, high


def _epoch_axis(low: float, high: float) -> Axis:
    if high - low < 1e-6 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    step = _step(high - low, 10)
    if high - low >= 2:
        step = max(step, 1.0)
    return Axis(low, high, _marks(low, high, step))


def _value_axis(lines: "Sequence[list[Point]] | object") -> Axis:
    raise NotImplementedError
