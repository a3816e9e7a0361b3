"""Scores as a table for people, and as JSON for programs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from util.base.log import printable
from util.scores.comparisons import shown
from util.scores.images import METRICS
from util.scores.networks import Identity
from util.scores.scorer import Result, Score

BETTER = {"min": "lower", "max": "higher"}
HEADINGS = ("metric", "value", "95% interval", "better", "unit")


def lines_of(result: Result, said: set[str]) -> Iterator[str]:
    """Yield a comparison's table, and remarks that are not `said` yet: they are added there."""
    comparison = result.comparison
    fake = len(comparison.fake)
    unpaired = f"{fake} generated, {len(comparison.real)} real images"
    yield f"{printable(comparison.title)}: {f'{fake} pairs' if comparison.paired else unpaired}"
    if result.scores:
        yield from table([HEADINGS, *(_row(*entry) for entry in result.scores.items())])
    for remark in _remarks(result):
        if remark not in said:
            yield f"  {remark}"
            said.add(remark)


def _remarks(result: Result) -> Iterator[str]:
    for reason in dict.fromkeys(result.missing.values()):
        names = [name for name, why in result.missing.items() if why == reason]
        yield f"not computed: {', '.join(names)}. {reason}"
    yield from (f"note: {note}" for note in result.notes)
    if alone := result.comparison.alone:
        yield f"note: {len(alone)} images without partner, left out: {shown(alone)}"


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield lines with aligned columns: the second to the right, the others to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        cells[1] = row[1].rjust(widths[1])
        yield "  " + "  ".join(cells).rstrip()


def _row(name: str, score: Score) -> tuple[str, ...]:
    metric, interval = METRICS[name], "-"
    if score.low is not None and score.high is not None:
        interval = f"{_rounded(name, score.low)} to {_rounded(name, score.high)}"
    return name, _rounded(name, score.value), interval, BETTER[metric.better], metric.unit


def _rounded(name: str, value: float) -> str:
    return f"{value:z.{METRICS[name].digits}f}"  # z: no -0.00


def identity_lines(identities: Mapping[str, Identity]) -> Iterator[str]:
    """Yield which networks the scores come from."""
    for names, identity in identities.items():
        yield f"{names}: {identity.network}"
        yield f"  weights {identity.file}, sha256 {identity.sha256}"
        if identity.remark:
            yield f"  note: {identity.remark}"
        if not identity.published:
            yield "  note: these are not the published weights: do not compare with papers."


def as_json(results: Sequence[Result], identities: Mapping[str, Identity]) -> dict[str, Any]:
    """Return everything for programs; infinity is null."""
    return {
        "comparisons": [_result_as_json(result) for result in results],
        "weights": {names: asdict(identity) for names, identity in identities.items()},
        "versions": {"torch": torch.__version__},
    }


def _result_as_json(result: Result) -> dict[str, Any]:
    comparison = result.comparison
    columns = {name: map(_finite, values.tolist()) for name, values in result.per_image.items()}
    names = [printable(image.name) for image in comparison.units] if columns else []
    return {
        "title": printable(comparison.title),
        "paired": comparison.paired,
        "generated": len(comparison.fake),
        "real": len(comparison.real),
        "without_partner": [printable(path) for path in comparison.alone],
        "scores": {name: _score_as_json(name, score) for name, score in result.scores.items()},
        "missing": result.missing,
        "notes": result.notes,
        "images": [
            dict(zip(("name", *columns), row, strict=True))
            for row in zip(names, *columns.values(), strict=True)
        ],
    }


def _score_as_json(name: str, score: Score) -> dict[str, Any]:
    metric = METRICS[name]
    values = {key: _finite(value) for key, value in asdict(score).items()}
    return {**values, "better": BETTER[metric.better], "unit": metric.unit}


def _finite(value: Any) -> Any:
    """Return None in place of what JSON cannot hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
