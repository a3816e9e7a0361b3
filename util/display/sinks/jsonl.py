"""Losses as one JSON object per line, in `losses.jsonl`, and how such records are read back."""

import errno
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, TypedDict

from util.base.errors import UserError, writing
from util.display.sinks.base import LogStep, Sink

# what parsing raises
BROKEN = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
HEADER = "= Training Loss ("  # a part of it, since a torn line may stand before it
LOSS = r"(\S+): (\S+)"
LOSS_LINE = re.compile(  # the reference wrote no `data` before 2018
    rf"\(epoch: (\d+), iters: (\d+), time: (\S+?)(?:, data: (\S+?))?\)((?: {LOSS})+)"
)


class LossRecord(TypedDict):
    """The losses of one moment.

    In the file `time` and `data` stand together in `times`, and null for what is not a finite
    number.

    Attributes:
        epoch: number of the epoch, from 1.
        iters: images seen in that epoch.
        total_iters: images seen since the first epoch, None where that is unknown.
        time: computing time per image in seconds, nan if unknown.
        data: seconds waited for the data, nan if unknown.
        losses: the losses by name, nan for those that were not finite.
    """

    epoch: int
    iters: int
    total_iters: int | None
    time: float
    data: float
    losses: dict[str, float]


class JsonlSink(Sink):
    """Append losses to `losses.jsonl`, one JSON object a line.

    Each line is written at once, so a process that is killed leaves at most one broken line, the
    last. The next one to append removes it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def scalars(self, when: LogStep, losses: Mapping[str, float]) -> None:
        """Append one line."""
        record = {
            "epoch": when.epoch,
            "iters": when.images,
            "total_iters": when.total_images,
            "times": {
                "time": _finite(when.compute_seconds),
                "data": _finite(when.load_seconds),
            },
            "losses": {name: _finite(value) for name, value in losses.items()},
        }
        append_line(self.path, json.dumps(record, ensure_ascii=False, allow_nan=False))


def append_line(path: Path, text: str) -> None:
    """Append one JSON object as a line, at once; a torn line before it is removed.

    Raises:
        WriteError: there is no room for the whole line.
    """
    line = f"{text}\n".encode()
    with writing(path), path.open("a+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size and _last_byte(file, size) != b"\n":
            whole, torn = _split_torn(path.read_bytes())
            file.truncate(len(whole))
            line = (b"\n" if torn is None else b"") + line
        if file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _last_byte(file: IO[bytes], size: int) -> bytes:
    file.seek(size - 1)
    return file.read(1)


def read_losses(path: str | Path) -> list[LossRecord]:
    """Read what `JsonlSink` wrote; a broken last line is passed over.

    Raises:
        UserError: a line before the last one is broken.
    """
    lines = Path(path).read_bytes().decode("utf-8", errors="replace").split("\n")
    return _parse_lines(path, lines, _parse_json, "a JSON object with epoch, iters and losses")


def parse_loss_log(path: str | Path) -> list[LossRecord]:
    """Read the `loss_log.txt` of this program or of the reference; its headers are passed over.

    A last line without an end may have lost digits, so it is passed over as well.

    Raises:
        UserError: a line is neither losses nor a header.
    """
    lines = Path(path).read_bytes().decode("utf-8", errors="replace").split("\n")
    # a header can follow a torn line without a break between them
    whole = [line if HEADER not in line else "" for line in lines[:-1]]
    expected = "losses as in '(epoch: 1, iters: 100, time: 0.391, data: 0.016) G_A: 0.510 '"
    return _parse_lines(path, whole, _parse_text, expected)


def continued(records: Iterable[LossRecord]) -> list[LossRecord]:
    """Return the one history that several runs into the same file tell.

    A run that was killed and continued from its last save reports the images after that save
    again, a new one starts over: what was said first no longer counts from there on.
    """
    kept: list[LossRecord] = []
    for record in records:
        while kept and (kept[-1]["epoch"], kept[-1]["iters"]) >= (record["epoch"], record["iters"]):
            kept.pop()
        kept.append(record)
    return kept


def _parse_lines(
    path: str | Path, lines: Iterable[str], parse: Callable[[str], LossRecord], expected: str
) -> list[LossRecord]:
    filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    records: list[LossRecord] = []
    for number, line in filled:
        try:
            records.append(parse(line))
        except BROKEN as error:
            if number == filled[-1][0]:
                break
            shown = line if len(line) <= 60 else f"{line[:60]}..."
            raise UserError(
                f"{path}, line {number} is not {expected}: {shown!r}. Remove or mend that line."
            ) from error
    return records


def _parse_json(line: str) -> LossRecord:
    found = json.loads(line)
    total, times = found.get("total_iters"), found.get("times") or {}
    return LossRecord(
        epoch=int(found["epoch"]),
        iters=int(found["iters"]),
        total_iters=None if total is None else int(total),
        time=_number(times.get("time")),
        data=_number(times.get("data")),
        losses={str(name): _number(value) for name, value in found["losses"].items()},
    )


def _parse_text(line: str) -> LossRecord:
    match = LOSS_LINE.fullmatch(line.strip())
    if match is None:
        raise ValueError(line)
    return LossRecord(
        epoch=int(match[1]),
        iters=int(match[2]),
        total_iters=None,
        time=float(match[3]),
        data=_number(match[4]),
        losses={name: float(value) for name, value in re.findall(LOSS, match[5])},
    )


def _split_torn(content: bytes) -> tuple[bytes, bytes | None]:
    """Separate a torn last line from the rest; one that only lacks its end belongs to the rest."""
    start = content.rfind(b"\n") + 1
    try:
        json.loads(content[start:].decode())
    except BROKEN:
        return content[:start], content[start:]
    return content, None


def _finite(value: float) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def _number(value: float | str | None) -> float:
    return math.nan if value is None else float(value)
