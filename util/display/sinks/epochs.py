"""What each epoch brought, as one JSON object per line, in `metrics.jsonl`."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from util.base.errors import UserError
from util.display.sinks.base import EpochRecord, ImageArray, Sink
from util.display.sinks.jsonl import append_line


class MetricsSink(Sink):
    """Append every epoch to `metrics.jsonl`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def epoch(self, record: EpochRecord, samples: list[dict[str, ImageArray]]) -> None:
        """Append one line."""
        append_line(self.path, json.dumps(finite(record), ensure_ascii=False, allow_nan=False))


def flat(record: EpochRecord) -> dict[str, float]:
    """Return all numbers of an epoch by tags like `train/G_L1`, `val/PSNR`, `lr/G`."""
    values: dict[str, float] = {}
    for key, value in record.items():
        if isinstance(value, Mapping) and key in ("train", "val", "lr"):
            values |= {f"{key}/{name}": float(number) for name, number in value.items()}
        elif key in ("images_per_second", "memory_mib"):
            values[key] = float(value)  # type: ignore[arg-type]
    return values


def read_metrics(path: str | Path) -> list[EpochRecord]:
    """Read what `MetricsSink` wrote; of an epoch that was trained twice the later report counts.

    Raises:
        UserError: a line is not what an epoch brought. Of the last one, the writing of which may
            have been interrupted, only if it is JSON.
    """
    lines = Path(path).read_text(encoding="utf-8", errors="replace").split("\n")
    filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    kept: list[EpochRecord] = []
    for number, line in filled:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            if number == filled[-1][0]:
                break
            found = None
        if problem := record_problem(found):
            raise UserError(
                f"{path}, line {number} is not what an epoch brought, {problem}: {line[:60]!r}. "
                "Remove or mend that line."
            )
        record = cast(EpochRecord, {**found, "epoch": int(found["epoch"])})
        while kept and kept[-1]["epoch"] >= record["epoch"]:
            kept.pop()
        kept.append(record)
    return kept


def record_problem(found: Any) -> str | None:
    """Say what is wrong with what a line holds, if anything; only the epoch must be there."""
    if not isinstance(found, dict):
        return "no JSON object"
    if not _is_whole(found.get("epoch")):
        return "it has no epoch that is a whole number"
    for name in ("train", "val", "lr"):
        values = found.get(name, {})
        if not isinstance(values, dict) or not all(map(_is_number, values.values())):
            return f"{name} is no object of numbers"
    for name in ("total_iters", "seconds", "images_per_second", "memory_mib"):
        if not _is_number(found.get(name)):
            return f"{name} is no number"
    best = found.get("best")
    if best is not None and not _is_best(best):
        return "best lacks metric, value or epoch"
    return None


def _is_number(value: Any) -> bool:
    """Tell whether JSON gave a number that is finite as a float, or null in its place."""
    if value is None:
        return True
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    return is_one and abs(value) <= sys.float_info.max


def _is_whole(value: Any) -> bool:
    """Tell whether JSON gave a whole number that a drawing can tell from its neighbours."""
    return value is not None and _is_number(value) and value == int(value) and abs(value) < 10**9


def _is_best(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("metric"), str)
        and _is_number(value.get("value"))
        and _is_whole(value.get("epoch"))
    )


def finite(value: Any) -> Any:
    """Return what JSON can hold: null for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
