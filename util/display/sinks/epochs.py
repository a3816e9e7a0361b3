"""What each epoch brought, as one JSON object per line, in `metrics.jsonl`."""

import json
import sys
from pathlib import Path
from typing import Any, cast

from util.display.sinks.base import WHOLE_EPOCH, EpochRecord, ImageArray, LogStep, Sink
from util.display.sinks.jsonl import JsonLines, WrongLineError, latest, parse_lines, read_lines

OBJECTS = ("train", "val", "lr")
NUMBERS = ("total_iters", "seconds", "images_per_second", "memory_mib")


class MetricsSink(Sink):
    """Append every epoch to `metrics.jsonl`."""

    def __init__(self, path: str | Path) -> None:
        self._records = JsonLines(path, lambda record: (record["epoch"], WHOLE_EPOCH))

    def epoch(self, record: EpochRecord, samples: list[dict[str, ImageArray]]) -> None:
        """Append one line."""
        self._records.append(record)

    def go_on_after(self, when: LogStep) -> None:
        """Forget later epochs."""
        self._records.forget_after(when)


def flat(record: EpochRecord) -> dict[str, float]:
    """Return all numbers of an epoch by tags like `train/G_L1`, `val/PSNR`, `lr/G`."""
    values: dict[str, Any] = {}
    for key, value in record.items():
        if key in OBJECTS:
            values |= {f"{key}/{name}": number for name, number in cast(Any, value).items()}
        elif key in ("images_per_second", "memory_mib"):
            values[key] = value
    return {name: float(value) for name, value in values.items()}


def read_metrics(path: str | Path) -> list[EpochRecord]:
    """Read what `MetricsSink` wrote; of an epoch that was trained twice the later report counts.

    A line that is not what an epoch brought is a UserError; the last one, the writing of which may
    have been interrupted, only if it is JSON.
    """
    expected = "what an epoch brought, no JSON object"
    records = parse_lines(path, read_lines(path), _parse, expected)
    return latest(records, lambda record: record["epoch"])


def _parse(line: str) -> EpochRecord:
    found = json.loads(line)
    if problem := _problem(found):
        raise WrongLineError(f"what an epoch brought, {problem}")
    return cast(EpochRecord, {**found, "epoch": int(found["epoch"])})


def _problem(found: Any) -> str | None:
    """Say what is wrong with what a line holds, if anything; only the epoch must be there."""
    if not isinstance(found, dict):
        return "no JSON object"
    if not _is_whole(found.get("epoch")):
        return "it has no epoch that is a whole number"
    for name in OBJECTS:
        values = found.get(name, {})
        if not isinstance(values, dict) or not all(map(_is_number, values.values())):
            return f"{name} is no object of numbers"
    for name in NUMBERS:
        if not _is_number(found.get(name)):
            return f"{name} is no number"
    best = found.get("best")
    if best is None or (
        isinstance(best, dict)
        and isinstance(best.get("metric"), str)
        and _is_number(best.get("value"))
        and _is_whole(best.get("epoch"))
    ):
        return None
    return "best lacks metric, value or epoch"


def _is_number(value: Any) -> bool:
    """Tell whether JSON gave a number that is finite as a float, or null in its place."""
    if value is None:
        return True
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    return is_one and abs(value) <= sys.float_info.max


def _is_whole(value: Any) -> bool:
    """Tell whether JSON gave a whole number that a drawing can tell from its neighbours."""
    return value is not None and _is_number(value) and value == int(value) and abs(value) < 10**9
