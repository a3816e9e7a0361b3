"""Losses over epochs as a picture inside a page: SVG text, nothing to load and nothing to run."""

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import count, pairwise

# Okabe and Ito's colours for all kinds of colour vision, without the pale yellow; then dashed.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444", "#882255")
DASHES = ("", "6 3", "2 3", "8 3 2 3")
MOST_POINTS = 400  # drawn for each loss; a pixel or two apart
LARGEST = 1e100  # beyond it sums could overflow
LOG_FROM = 20  # ratio of typical losses from which a common linear axis hides the small ones
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
        f'<svg role="img" aria-label="Losses over epochs" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" '
        'style="max-width:100%;height:auto;background:#fff" '
        'font-family="system-ui,sans-serif" font-size="11" fill="#444">',
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
    return {name: line for name, line in lines.items() if any(math.isfinite(y) for _, y in line)}


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
            extremes = {
                min(finite, key=lambda i: line[i][1]),
                max(finite, key=lambda i: line[i][1]),
            }
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


def _label(value: float, digit: float, largest: float) -> str:
    """Write a mark.

    Args:
        value: what to write.
        digit: the power of ten that its last digit stands for, or a small multiple of that.
        largest: of all marks; if it is huge or tiny, the mark gets an exponent.
    """
    last = math.floor(math.log10(digit) + 1e-9)
    if abs(value) < digit / 2:
        return "0"
    if 1e-3 <= largest < 1e5:
        return f"{value:.{max(0, -last)}f}"
    first = math.floor(math.log10(abs(value)) + 1e-9)
    mantissa, power = f"{value:.{max(0, first - last)}e}".split("e")
    return f"{mantissa}e{int(power)}"


def _marks(low: float, high: float, step: float) -> tuple[tuple[float, str], ...]:
    """Return the multiples of `step` between two values, and how they are written."""
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    largest = max(abs(first), abs(last)) * step
    return tuple((i * step, _label(i * step, step, largest)) for i in range(first, last + 1))


def _epoch_axis(low: float, high: float) -> Axis:
    if high - low < 1e-6 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    step = _step(high - low, 10)
    if high - low >= 2:
        step = max(step, 1.0)
    return Axis(low, high, _marks(low, high, step))


def _value_axis(lines: Collection[list[Point]]) -> Axis:
    """Choose the range and the marks of the losses; small ones beside large ones ask for log."""
    sorted_values = [sorted(y for _, y in line if math.isfinite(y)) for line in lines]
    low = min(values[0] for values in sorted_values)
    high = max(values[-1] for values in sorted_values)
    middles = [values[len(values) // 2] for values in sorted_values]
    if low >= 0 and min(middles) > 1e-100 and max(middles) >= LOG_FROM * min(middles):
        positive = min(y for values in sorted_values for y in values if y > 0)
        return _log_axis(max(positive, min(middles) / 10), high)
    if 0 <= low < 0.5 * high:
        low = 0.0
    size = max(abs(low), abs(high))
    if size < 1e-100:
        low, high = -1.0, 1.0
    elif high - low < 1e-6 * size:  # one value: make room around it
        low, high = low - 0.1 * size, high + 0.1 * size
    step = _step(high - low, 5)
    low, high = math.floor(low / step + 1e-6) * step, math.ceil(high / step - 1e-6) * step
    return Axis(low, high, _marks(low, high, step))


def _log_axis(low: float, high: float) -> Axis:
    """Choose marks between two powers of ten; what is below them is drawn at the lowest."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    stride = math.ceil((last - first) / 6)
    powers = range(first, last + stride, stride)
    marks = [factor * 10.0**power for power in powers for factor in factors]
    below = max(mark for mark in marks if mark <= low * (1 + 1e-9))
    above = min(mark for mark in marks if mark >= high * (1 - 1e-9))
    shown = [mark for mark in marks if below <= mark <= above]
    return Axis(below, above, tuple((mark, _label(mark, mark, mark)) for mark in shown), log=True)


def _styles() -> Iterator[str]:
    """Yield how each line is drawn, without end."""
    for index in count():
        dashes = DASHES[index // len(PALETTE) % len(DASHES)]
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        yield f'stroke="{PALETTE[index % len(PALETTE)]}"{dashed}'


def _legend(
    names: Sequence[str], left: float, right: float, most_rows: int
) -> tuple[list[str], int]:
    """Lay the names out in rows above the plot; return the elements and the number of rows."""
    parts: list[str] = []
    x, row = left, 1
    for index, (name, style) in enumerate(zip(names, _styles(), strict=False)):
        shown = name if len(name) <= 28 else f"{name[:27]}\u2026"
        entry = 38 + 6.4 * len(shown)
        if x > left and x + entry > right:
            x, row = left, row + 1
        if row > max(1, most_rows):
            missing = f"and {len(names) - index} more"
            parts.append(f'<text x="{right:.1f}" y="{16 * row}" text-anchor="end">{missing}</text>')
            break
        y = 16 * row
        parts.append(
            f'<line x1="{x:.1f}" y1="{y - 4}" x2="{x + 18:.1f}" y2="{y - 4}" {style} '
            'stroke-width="2.5"/>'
            f'<text x="{x + 23:.1f}" y="{y}">{_text(shown)}</text>'
        )
        x += entry
    return parts, row


def _grid(across: Axis, down: Axis, frame: Frame) -> Iterator[str]:
    """Draw the marks, light lines at them, the frame, and what the axes mean."""
    for value, label in down.ticks:
        y = frame.y(down.share(value))
        yield (
            f'<line x1="{frame.left:.1f}" y1="{y:.1f}" x2="{frame.right:.1f}" y2="{y:.1f}" '
            f'stroke="#e4e4e4"/><text x="{frame.left - 6:.1f}" y="{y + 4:.1f}" '
            f'text-anchor="end">{label}</text>'
        )
    for value, label in across.ticks:
        x = frame.x(across.share(value))
        yield (
            f'<line x1="{x:.1f}" y1="{frame.top:.1f}" x2="{x:.1f}" y2="{frame.bottom:.1f}" '
            f'stroke="#efefef"/><text x="{x:.1f}" y="{frame.bottom + 15:.1f}" '
            f'text-anchor="middle">{label}</text>'
        )
    yield (
        f'<path d="M{frame.left:.1f} {frame.top:.1f}V{frame.bottom:.1f}H{frame.right:.1f}" '
        'fill="none" stroke="#999"/>'
    )
    middle, centre = (frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2
    meaning = "loss (log scale)" if down.log else "loss"
    yield (
        f'<text x="{middle:.1f}" y="{frame.bottom + 30:.1f}" text-anchor="middle">epoch</text>'
        f'<text transform="translate(12 {centre:.1f}) rotate(-90)" text-anchor="middle">'
        f"{meaning}</text>"
    )


def _polylines(
    name: str, line: list[Point], style: str, across: Axis, down: Axis, frame: Frame
) -> Iterator[str]:
    """Draw one loss; a lonely point becomes a dot by the round ends of its line."""
    last = next(y for _, y in reversed(line) if math.isfinite(y))
    yield (
        f'<g fill="none" {style} stroke-width="1.3" stroke-opacity="0.9" stroke-linejoin="round" '
        f'stroke-linecap="round" aria-label="{_text(name)}: {last:.4g}">'
    )
    for segment in _segments(line):
        places = [
            f"{frame.x(across.share(x)):.1f},{frame.y(down.share(y)):.1f}" for x, y in segment
        ]
        lonely = len(places) == 1
        dot = ' stroke-width="4"' if lonely else ""
        yield f'<polyline points="{" ".join(places * 2 if lonely else places)}"{dot}/>'
    yield "</g>"


def _text(name: str) -> str:
    return escape(NOT_XML.sub("\ufffd", name))
