"""Numbers over epochs as images inside a page: SVG text, nothing to load and nothing to run.

The colours are classes too (`stroke0`, `stroke1`, ...), so that a page's style can change them, and
what is drawn is written beside it as data, so that a page's script can tell values under the mouse.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape

from util.base.log import printable

# Okabe and Ito's colours for all kinds of colour vision, without the pale yellow; then dashed.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#777777", "#882255")
DASHES = ("", "6 3", "2 3", "8 3 2 3")
LOOKS = {  # of a line, and how wide a lonely point is
    "plain": ('stroke-width="1.3" stroke-opacity="0.9"', 4),
    "faint": ('stroke-width="1" stroke-opacity="0.3"', 3),
    "mean": ('stroke-width="2"', 5),
}
MOST_POINTS = 400  # drawn for each line; a pixel or two apart
LARGEST = 1e100  # beyond it sums could overflow
LOG_FROM = 20  # ratio of typical losses from which a common linear axis hides the small ones

Point = tuple[float, float]
Lines = Mapping[str, Sequence[Point]]  # epochs and values by name


@dataclass(frozen=True)
class Axis:
    """A range of values with its marks, and its ends in pixels; `log` counts in powers of ten."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False
    start: float = 0.0
    end: float = 1.0

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = (math.log10(each) for each in (max(value, low), low, high))
        return self.start + (value - low) / (high - low) * (self.end - self.start)


@dataclass(frozen=True)
class Line:
    """What is drawn for one name, in the colour of a number, and in one of LOOKS."""

    name: str
    number: int
    points: list[Point]  # nan where there is a gap
    look: str = "plain"

    @property
    def last(self) -> float:
        """Return the last value."""
        return next(y for _, y in reversed(self.points) if math.isfinite(y))


def loss_curve(
    lines: Lines, width: int = 720, height: int = 260, *, means: Lines | None = None
) -> str:
    """Draw losses over epochs as an `<svg>` element; nothing if there is nothing to draw.

    A value that is not finite leaves a gap, and so does an epoch before the previous one (a
    training that went back to a checkpoint). If the losses differ much in size and none is
    negative, the vertical axis is logarithmic. Epochs may have fractions; `means` of the same
    losses over stretches of training are drawn over them.
    """
    single, mean = _fit_to_draw(lines), _fit_to_draw(means or {})
    number = {name: place for place, name in enumerate(dict.fromkeys([*single, *mean]))}
    looks = {name: "faint" if name in mean else "plain" for name in single}
    drawn = [Line(name, number[name], line, looks[name]) for name, line in single.items()]
    drawn += [Line(name, number[name], line, "mean") for name, line in mean.items()]
    if not drawn:
        return ""
    down, across = _value_axis([line.points for line in drawn]), _epoch_axis(*_ends(drawn))
    left = 24 + 6.2 * max(len(label) for _, label in down.ticks)
    legend, rows = _legend(number, left, width - 14, int((height - 110) // 16))
    across = replace(across, start=left, end=width - 14)
    down = replace(down, start=height - 36, end=12 + 16 * rows)
    middle, centre = (across.start + across.end) / 2, (down.end + down.start) / 2
    titles = (
        f'<text x="{middle:.1f}" y="{down.start + 30:.1f}" text-anchor="middle">epoch</text>'
        f'<text transform="translate(12 {centre:.1f}) rotate(-90)" text-anchor="middle">'
        f"{'loss (log scale)' if down.log else 'loss'}</text>"
    )
    parts = [*legend, *_grid(across, down), titles, *_drawn(drawn, across, down)]
    return _svg("Losses over epochs", width, height, across, down, parts)


def small_curve(
    title: str,
    lines: Lines,
    *,
    epochs: Point | None = None,
    best: Point | None = None,
    from_zero: bool = False,
) -> str:
    """Draw one quantity over epochs, small, with its last value beside its name.

    A single line needs no name of its own. `epochs` are the first and the last on the axis, so that
    several drawings agree; `best` is a place to mark.
    """
    width, height = 176, 112
    found = _fit_to_draw(lines)
    drawn = [Line(name, number, line) for number, (name, line) in enumerate(found.items())]
    if not drawn:
        return ""
    floor: list[list[Point]] = [[(0, 0)]] if from_zero else []
    down = _value_axis([line.points for line in drawn] + floor, most=3, with_log=False)
    across = _epoch_axis(*(epochs or _ends(drawn)), most=4, whole=True)
    left = 10 + 6.2 * max(len(label) for _, label in down.ticks)
    across = replace(across, start=left, end=width - 10)
    down = replace(down, start=height - 20, end=28)
    last = ", ".join(f"{line.last:.4g}".replace("e-0", "e-") for line in drawn)
    room = int((width - 16) / 6.4) - len(last)
    parts = [
        f'<text x="4" y="14" font-weight="600">{_text(_shortened(title, room))}</text>',
        f'<text x="{width - 10}" y="14" text-anchor="end" class="last">{last}</text>',
        *_grid(across, down),
        *_drawn(drawn, across, down),
    ]
    epoch, value = best or (math.nan, math.nan)
    if across.low <= epoch <= across.high and down.low <= value <= down.high:
        parts.append(
            f'<circle class="stroke1" cx="{across.at(epoch):.1f}" cy="{down.at(value):.2f}" r="4" '
            f'fill="none" stroke="{PALETTE[1]}" stroke-width="1.6"/>'
        )
    return _svg(f"{title} over epochs", width, height, across, down, parts)


def _svg(
    label: str, width: int, height: int, across: Axis, down: Axis, parts: Iterable[str]
) -> str:
    content = "\n".join(parts)
    return (  # the data are what a script needs to turn pixels back into numbers
        f'<svg class="curve" role="img" aria-label="{_text(label)}" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui,sans-serif" font-size="11" fill="currentColor" '
        f'data-plot="{across.start:.1f} {across.end:.1f} {down.end:.1f} {down.start:.1f}" '
        f'data-x="{across.low:.10g} {across.high:.10g}" '
        f'data-y="{down.low:.10g} {down.high:.10g} {"log" if down.log else "linear"}">\n'
        f"{content}\n</svg>"
    )


def _fit_to_draw(lines: Lines) -> dict[str, list[Point]]:
    """Return what there is to draw of each line: thinned, gaps as nan."""
    fit = {
        name: [(line[i][0], drawable(line[i][1])) for i in places_to_keep(line, MOST_POINTS)]
        for name, line in lines.items()
    }
    return {name: line for name, line in fit.items() if any(math.isfinite(y) for _, y in line)}


def drawable(value: float) -> float:
    """Return a number that fits on an axis, or nan."""
    return max(-LARGEST, min(LARGEST, float(value))) if math.isfinite(value) else math.nan


def places_to_keep(line: Sequence[Point], most: int) -> list[int]:
    """Return which points are enough to see a line: the extremes of each stretch of epochs.

    What was thinned before can be thinned again with others behind it: the density is the same
    everywhere.
    """
    if len(line) <= most:
        return list(range(len(line)))
    columns, values = zip(*line, strict=True)
    stretch = (max(columns) - min(columns)) / (most // 2 - 2)
    kept = [0]
    start = 1
    for end in range(2, len(line) + 1):
        if end == len(line) or not 0 <= columns[end] - columns[start] <= stretch:
            finite = [i for i in range(start, end) if math.isfinite(values[i])] or [start]
            kept += sorted(
                {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)}
            )
            start = end
    if kept[-1] != len(line) - 1:
        kept.append(len(line) - 1)
    while len(kept) > most:  # a history that jumps to and fro
        kept = kept[::2]
    return kept


def _segments(line: list[Point]) -> Iterator[list[Point]]:
    """Yield the stretches that are drawn without lifting the pen."""
    segment: list[Point] = []
    for point in [*line, (0, math.nan)]:
        if segment and (math.isnan(point[1]) or point[0] < segment[-1][0]):
            yield segment
            segment = []
        if not math.isnan(point[1]):
            segment.append(point)


def _ends(lines: Iterable[Line]) -> Point:
    """Return the first and the last epoch that has a value."""
    columns = [x for line in lines for x, y in line.points if math.isfinite(y)]
    return min(columns), max(columns)


def _step(span: float, most: int) -> float:
    """Return the smallest of 1, 2, 5, 10, ... that divides `span` into at most `most` parts."""
    power: float = 10.0 ** math.floor(math.log10(span / most))
    return next(power * factor for factor in (1, 2, 5, 10, 20) if span / (power * factor) <= most)


def _label(value: float, digit: float, largest: float) -> str:
    """Write a mark down to a `digit` (1, 0.1, ...); with an exponent if the `largest` needs it."""
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


def _epoch_axis(low: float, high: float, most: int = 10, *, whole: bool = False) -> Axis:
    if high - low < 1e-6 * max(1.0, abs(high)):
        low, high = max(low - 0.5, min(low, 0.0)), high + 0.5  # there is no epoch before 0
    step = _step(high - low, most)
    if whole or high - low >= 2:
        step = max(step, 1.0)
    return Axis(low, high, _marks(low, high, step))


def _value_axis(lines: Sequence[list[Point]], most: int = 5, *, with_log: bool = True) -> Axis:
    """Choose the range and the marks; small losses beside large ones ask for a log axis."""
    sorted_values = [sorted(y for _, y in line if math.isfinite(y)) for line in lines]
    low = min(values[0] for values in sorted_values)
    high = max(values[-1] for values in sorted_values)
    middles = [values[len(values) // 2] for values in sorted_values]
    differ = min(middles) > 1e-100 and max(middles) >= LOG_FROM * min(middles)
    if with_log and low >= 0 and differ:
        positive = min(y for values in sorted_values for y in values if y > 0)
        return _log_axis(max(positive, min(middles) / 10), high)
    return _linear_axis(low, high, most)


def _linear_axis(low: float, high: float, most: int) -> Axis:
    if 0 <= low < 0.5 * high:
        low = 0.0
    size = max(abs(low), abs(high))
    if size < 1e-100:
        low, high = -1.0, 1.0
    elif high - low < 1e-6 * size:  # one value: make room around it
        low, high = low - 0.1 * size, high + 0.1 * size
    step = _step(high - low, most)
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


def _style(number: int) -> str:
    """Return how a line is drawn."""
    rounds, colour = divmod(number, len(PALETTE))
    dashes = DASHES[rounds % len(DASHES)]
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'class="stroke{colour}" stroke="{PALETTE[colour]}"{dashed}'


def _legend(
    names: Collection[str], left: float, right: float, most_rows: int
) -> tuple[list[str], int]:
    """Lay the names out in rows above the plot; return the elements and the number of rows."""
    parts: list[str] = []
    x, row = left, 1
    for number, name in enumerate(names):
        shown = _shortened(name, 28)
        entry = 38 + 6.4 * len(shown)
        if x > left and x + entry > right:
            x, row = left, row + 1
        y = 16 * row
        if row > max(1, most_rows):
            missing = f"and {len(names) - number} more"
            parts.append(f'<text x="{right:.1f}" y="{y}" text-anchor="end">{missing}</text>')
            break
        parts.append(
            f'<line x1="{x:.1f}" y1="{y - 4}" x2="{x + 18:.1f}" y2="{y - 4}" {_style(number)} '
            f'stroke-width="2.5" data-entry="{_text(name)}"/><text x="{x + 23:.1f}" y="{y}" '
            f'data-entry="{_text(name)}">{_text(shown)}</text>'
        )
        x += entry
    return parts, row


def _grid(across: Axis, down: Axis) -> Iterator[str]:
    """Draw the marks, light lines at them, and the frame."""
    faint = 'stroke="currentColor" stroke-opacity="0.12"'
    left, right = f"{across.start:.1f}", f"{across.end:.1f}"
    top, bottom = f"{down.end:.1f}", f"{down.start:.1f}"
    for value, label in down.ticks:
        y = down.at(value)
        yield (
            f'<line x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" {faint}/>'
            f'<text x="{across.start - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
        )
    for value, label in across.ticks:
        x = f"{across.at(value):.1f}"
        yield (
            f'<line x1="{x}" y1="{top}" x2="{x}" y2="{bottom}" {faint}/>'
            f'<text x="{x}" y="{down.start + 15:.1f}" text-anchor="middle">{label}</text>'
        )
    frame = 'fill="none" stroke="currentColor" stroke-opacity="0.5"'
    yield f'<path d="M{left} {top}V{bottom}H{right}" {frame}/>'


def _drawn(lines: Iterable[Line], across: Axis, down: Axis) -> Iterator[str]:
    """Draw lines; a lonely point becomes a dot by the round ends of its line."""
    for line in lines:
        width, dot = LOOKS[line.look]
        meaning = f"{line.name}, mean of each epoch" if line.look == "mean" else line.name
        yield (
            f'<g fill="none" {_style(line.number)} {width} stroke-linejoin="round" '
            f'stroke-linecap="round" data-name="{_text(line.name)}" data-look="{line.look}" '
            f'aria-label="{_text(meaning)}: {line.last:.4g}">'
        )
        for segment in _segments(line.points):
            places = [f"{across.at(x):.1f},{down.at(y):.2f}" for x, y in segment]
            lonely = len(places) == 1
            wide = f' stroke-width="{dot}"' if lonely else ""
            yield f'<polyline points="{" ".join(places * 2 if lonely else places)}"{wide}/>'
        yield "</g>"


def _shortened(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: max(0, most - 1)]}\u2026"


def _text(name: str) -> str:
    return escape(printable(name))
