"""The curves of the training page: losses, validation, learning rates, speed and memory."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from util.display.pages import svg
from util.display.pages.elements import shown
from util.display.pages.svg import Point
from util.display.sinks.base import BestRecord, EpochRecord

KEPT = svg.MOST_POINTS + 100  # of each loss; then every stretch keeps only its extremes
# The losses are drawn for wide and for narrow windows, since letters must not shrink with them.
SIZES = {"wide": (720, 260), "narrow": (360, 240)}  # pixels
ONE_EACH = {"images_per_second": "images/s", "memory_mib": "memory (MiB)"}
Moment = tuple[int, int]  # epoch, images seen in it


class Curves:
    """Collect numbers and draw them; of long runs about the same number of points is kept."""

    def __init__(self) -> None:
        self.records: dict[int, EpochRecord] = {}  # by epoch
        self._losses: dict[str, list[tuple[Moment, float]]] = {}
        self._longest = 1  # images of one epoch
        self._small: tuple[str, str] | None = None  # drawn once an epoch

    def add_losses(
        self, epoch: int, images: int, losses: Mapping[str, float], *, whole: int = 0
    ) -> None:
        """Take the losses of one moment: `images` of this epoch, of `whole` if that is known."""
        self._longest = max(self._longest, images, whole)
        for name, value in losses.items():
            line = self._losses.setdefault(name, [])
            line.append(((epoch, images), svg.drawable(value)))
            if len(line) > KEPT:
                places = svg.places_to_keep(self._placed(line), svg.MOST_POINTS)
                self._losses[name] = [line[i] for i in places]

    def add_epoch(self, record: EpochRecord) -> None:
        """Take an epoch's numbers; what was said about it and later ones no longer counts."""
        self._forget_records_after(record["epoch"] - 1)
        self.records[record["epoch"]] = record

    def forget_after(self, epoch: int, images: int) -> None:
        """Drop what belongs to later moments."""
        for name, line in self._losses.items():
            self._losses[name] = [entry for entry in line if entry[0] <= (epoch, images)]
        self._forget_records_after(epoch)

    def metrics(self, epoch: int) -> dict[str, float]:
        """Return what validation said about an epoch."""
        return _numbers(self.records.get(epoch) or {}, "val")

    def render(self) -> str:
        """Draw everything."""
        if self._small is None:
            self._small = self._draw_small()
        others, metrics = self._small
        lines = {name: self._placed(line) for name, line in self._losses.items()}
        trained = self._lines("train").items()
        means = {name: _smoothed(line, lines.get(name, ())) for name, line in trained}
        drawn = {kind: svg.loss_curve(lines, *size, means=means) for kind, size in SIZES.items()}
        large = "".join(f'<div class="large {k}">{text}</div>' for k, text in drawn.items() if text)
        metric, (epoch, value) = self._best()
        best = f": best {metric} {value:.4g} in epoch {epoch:.0f}" if math.isfinite(value) else ""
        parts = [_part("curves", "Losses, learning rate, speed", large + others)]
        parts.append(_part("validation", f"Validation{best}", metrics))
        return "\n".join(filter(None, parts))

    def _forget_records_after(self, epoch: int) -> None:
        self.records = {old: kept for old, kept in self.records.items() if old <= epoch}
        self._small = None

    def _placed(self, line: Iterable[tuple[Moment, float]]) -> list[Point]:
        """Give moments in epochs, all as long as the longest."""
        return [(epoch - 1 + images / self._longest, value) for (epoch, images), value in line]

    def _draw_small(self) -> tuple[str, str]:
        """Draw learning rates and what is one number an epoch, and each metric by itself."""
        ends = (min(self.records), max(self.records)) if self.records else (0, 1)
        others = [svg.small_curve("learning rate", _equal_together(self._lines("lr")), epochs=ends)]
        for key, title in ONE_EACH.items():
            points = [(epoch, _number(kept.get(key))) for epoch, kept in self.records.items()]
            others.append(svg.small_curve(title, {title: points}, epochs=ends, from_zero=True))
        metric, place = self._best()
        metrics = [
            svg.small_curve(name, {name: line}, epochs=ends, best=place if name == metric else None)
            for name, line in self._lines("val").items()
        ]
        return _together(others), _together(metrics)

    def _lines(self, key: str) -> dict[str, list[Point]]:
        lines: dict[str, list[Point]] = {}
        for epoch, record in self.records.items():
            for name, value in _numbers(record, key).items():
                lines.setdefault(name, []).append((epoch, value))
        return lines

    def _best(self) -> tuple[str, Point]:
        """Return the metric that says which epoch is the best, and its place."""
        found = [kept["best"] for kept in self.records.values() if kept.get("best")]
        best = found[-1] if found else BestRecord(metric="", value=None, epoch=0)
        return best["metric"], (best["epoch"], _number(best["value"]))


def _smoothed(means: Iterable[Point], line: Sequence[Point]) -> list[Point]:
    """Place means in the middle of their epochs, and one of the last values at the very end."""
    smooth = [(epoch - 0.5, value) for epoch, value in means]
    end = line[-1][0] if line else -math.inf
    recent = [value for x, value in line if x > end - 1 and math.isfinite(value)]
    if recent and smooth and end > smooth[-1][0]:
        smooth.append((end, sum(recent) / len(recent)))
    return smooth


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)  # files have null for what is not finite


def _numbers(record: Mapping[str, Any], key: str) -> dict[str, float]:
    return {name: _number(value) for name, value in (record.get(key) or {}).items()}


def _equal_together(lines: Mapping[str, list[Point]]) -> dict[str, list[Point]]:
    """Give lines that lie on each other one name: `G, D`."""
    names: dict[tuple[Point, ...], list[str]] = {}
    for name, line in lines.items():
        names.setdefault(tuple(line), []).append(name)
    return {", ".join(together): list(line) for line, together in names.items()}


def _together(drawings: Iterable[str]) -> str:
    drawn = "\n".join(filter(None, drawings))
    return f'<div class="small">{drawn}</div>' if drawn else ""


def _part(name: str, title: str, content: str) -> str:
    """Render a part of the page that can be closed; the page remembers it by its name."""
    if not content:
        return ""
    return (
        f'<details id="{name}" open><summary>{shown(title)}</summary>\n'
        f'<div class="curves">{content}</div></details>'
    )
