"""What each epoch brought, as one JSON object per line, in `metrics.jsonl`."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, Protocol, TypedDict

from util.errors import UserError
from util.sinks.base import Picture
from util.sinks.jsonl import append_line


class BestRecord(TypedDict):
    """The best epoch so far."""

    metric: str
    value: float | None
    epoch: int


class EpochRecord(TypedDict):
    """What one epoch brought; numbers that are not finite are null in the file.

    Attributes:
        epoch: its number, from 1.
        total_iters: images seen since the first epoch.
        lr: learning rate of each optimiser, by its attribute's name.
        seconds: how long training took, without validation.
        images_per_second: images trained in this time, by this process.
        memory_mib: most memory so far, of the GPU if there is one, else of the process.
        train: means of the losses over the epoch.
        val: metrics on the validation pictures, in epochs that were validated.
        val_pictures: how many there were.
        val_statistics: `batch` or `running`.
        val_seconds: how long it took.
        best: the best epoch so far, with `--save_best`.
    """

    epoch: int
    total_iters: int
    lr: dict[str, float]
    seconds: float
    images_per_second: float
    memory_mib: float
    train: dict[str, float]
    val: NotRequired[dict[str, float]]
    val_pictures: NotRequired[int]
    val_statistics: NotRequired[str]
    val_seconds: NotRequired[float]
    best: NotRequired[BestRecord]


class EpochSink(Protocol):
    """A destination for what an epoch brought."""

    def epoch(self, record: EpochRecord, samples: list[dict[str, Picture]]) -> None:
        """Take an epoch's numbers, and what was made of some validation pictures."""


class MetricsSink:
    """Append every epoch to `metrics.jsonl`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def epoch(self, record: EpochRecord, samples: list[dict[str, Picture]]) -> None:
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
        UserError: a line before the last one is broken.
    """
    lines = Path(path).read_text(encoding="utf-8", errors="replace").split("\n")
    filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    kept: list[EpochRecord] = []
    for number, line in filled:
        try:
            record = json.loads(line)
            epoch = int(record["epoch"])
        except (ValueError, TypeError, KeyError) as error:
            if number == filled[-1][0]:
                break
            raise UserError(
                f"{path}, line {number} is no JSON object with an epoch: {line[:60]!r}. Remove or "
                "mend that line."
            ) from error
        while kept and kept[-1]["epoch"] >= epoch:
            kept.pop()
        kept.append(record)
    return kept


def finite(value: Any) -> Any:
    """Return what JSON can hold: null for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
