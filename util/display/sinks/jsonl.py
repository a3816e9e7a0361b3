"""Losses as one JSON object per line, in `losses.jsonl`, and how such records are read back."""

import errno
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from util.base.errors import UserError, writing
from util.display.sinks.base import LogStep, Sink
from util.storage.files import write_file

T = TypeVar("T")
Moment = tuple[int, int]  # epoch, images seen in it
# what parsing raises
BROKEN = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
HEADER = "= Training Loss ("  # a part of it, since a torn line may stand before it
LOSS = r"(\S+): (\S+)"
LOSS_LINE = re.compile(  # the reference wrote no `data` before 2018
    rf"\(epoch: (\d+), iters: (\d+), time: (\S+?)(?:, data: (\S+?))?\)((?: {LOSS})+)"
)
OF_RANK = re.compile(r"\[Rank 0\] (\(.*?\)) ,(.*)")  # a line of 2025's: commas between losses
OF_OTHERS = re.compile(r"\[Rank [1-9]")  # processes, of which the first one's losses count


class WrongLineError(Exception):
    """A whole line that is not what was expected: its text says what that is."""


class LossRecord(TypedDict):
    """The losses of one moment.

    In the file `time` and `data` stand together in `times`, and null for what is not finite.
    """

    epoch: int  # from 1
    iters: int  # images seen in that epoch
    total_iters: int | None  # images seen since the first epoch, None where that is unknown
    time: float  # computing time per image in seconds, nan if unknown
    data: float  # seconds waited for the data, nan if unknown
    losses: dict[str, float]  # nan for those that were not finite


class JsonLines:
    """A file with one JSON object a line, in the order of their moments."""

    def __init__(self, path: str | Path, moment: Callable[[Any], Moment]) -> None:
        self.path = Path(path)
        self._moment = moment  # of a record
        self._last: Moment | None = None  # after which nothing counts

    def append(self, record: Mapping[str, Any]) -> None:
        """Append a line."""
        if self._last is not None:
            self._drop_lines_after(self._last)
            self._last = None
        append_record(self.path, record)

    def forget_after(self, when: LogStep) -> None:
        """Drop the records of later moments, as soon as there is something new to report."""
        moment = (when.epoch, when.images)
        self._last = moment if self._last is None else min(moment, self._last)

    def _drop_lines_after(self, last: Moment) -> None:
        def counts(line: bytes) -> bool:
            try:
                return self._moment(json.loads(line)) <= last
            except BROKEN:
                return True  # no record, as the end of the file

        lines = self.path.read_bytes().split(b"\n") if self.path.exists() else []
        kept = [line for line in lines if counts(line)]
        if len(kept) < len(lines):
            write_file(self.path, lambda file: file.write(b"\n".join(kept)))


class JsonlSink(Sink):
    """Append losses to `losses.jsonl`, one JSON object a line."""

    def __init__(self, path: str | Path) -> None:
        self._records = JsonLines(path, lambda record: (record["epoch"], record["iters"]))

    def scalars(self, when: LogStep, losses: Mapping[str, float]) -> None:
        """Append one line."""
        record = {
            "epoch": when.epoch,
            "iters": when.images,
            "total_iters": when.total_images,
            "times": {"time": float(when.compute_seconds), "data": float(when.load_seconds)},
            "losses": {name: float(value) for name, value in losses.items()},
        }
        self._records.append(record)

    def go_on_after(self, when: LogStep) -> None:
        """Forget later losses."""
        self._records.forget_after(when)


def append_record(path: Path, record: Mapping[str, Any]) -> None:
    """Append a JSON object as a line, with null for numbers that are not finite.

    It is written at once, so a process that is killed leaves at most one torn line, the last; the
    next one to append removes it. A WriteError says that there is no room for the whole line.
    """
    text = json.dumps(_finite(record), ensure_ascii=False, allow_nan=False)
    line = f"{text}\n".encode()
    with writing(path), path.open("a+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        if size and file.read(1) != b"\n":
            content = path.read_bytes()
            start = content.rfind(b"\n") + 1
            try:
                json.loads(content[start:].decode())
                line = b"\n" + line  # the last one is whole and only lacks its end
            except BROKEN:
                file.truncate(start)
        if file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_losses(path: str | Path) -> list[LossRecord]:
    """Read what `JsonlSink` wrote; a broken last line is passed over, others are a UserError."""
    expected = "a JSON object with epoch, iters and losses"
    return parse_lines(path, read_lines(path), _parse_json, expected)


def parse_loss_log(path: str | Path) -> list[LossRecord]:
    """Read the `loss_log.txt` of this program or of the reference (2024 or 2025), without headers.

    A last line without an end may have lost digits, so it is passed over as well. A line that is
    neither losses nor a header is a UserError.
    """
    # a header can follow a torn line without a break between them
    lines = read_lines(path)[:-1]
    whole = ["" if HEADER in line or OF_OTHERS.match(line) else line for line in lines]
    expected = "losses as in '(epoch: 1, iters: 100, time: 0.391, data: 0.016) G_A: 0.510 '"
    return parse_lines(path, whole, _parse_text, expected)


def continued(records: Iterable[LossRecord]) -> list[LossRecord]:
    """Return the one history that several runs into the same file tell."""
    return latest(records, lambda record: (record["epoch"], record["iters"]))


def latest(records: Iterable[T], moment: Callable[[T], Any]) -> list[T]:
    """Return records in the order of their moments.

    A run that was killed and continued from its last save reports what came after that save again,
    a new one starts over: what was said first no longer counts from there on.
    """
    kept: list[T] = []
    for record in records:
        while kept and moment(kept[-1]) >= moment(record):
            kept.pop()
        kept.append(record)
    return kept


def read_lines(path: str | Path) -> list[str]:
    """Return the lines of a file; only a line feed ends one."""
    return Path(path).read_bytes().decode("utf-8", errors="replace").split("\n")


def parse_lines(
    path: str | Path, lines: Iterable[str], parse: Callable[[str], T], expected: str
) -> list[T]:
    """Parse lines that are not empty; a broken last one is passed over, others are a UserError."""
    filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    records: list[T] = []
    for number, line in filled:
        try:
            records.append(parse(line))
        except (WrongLineError, *BROKEN) as error:
            wrong = isinstance(error, WrongLineError)
            if number == filled[-1][0] and not wrong:
                break
            shown = line if len(line) <= 60 else f"{line[:60]}..."
            raise UserError(
                f"{path}, line {number} is not {error if wrong else expected}: {shown!r}. "
                "Remove or mend that line."
            ) from error
    return records


def _parse_json(line: str) -> LossRecord:
    found = json.loads(line)
    times = found.get("times") or {}
    seconds = times.get("time"), times.get("data")
    total, losses = found.get("total_iters"), found["losses"]
    return _record(found["epoch"], found["iters"], total, seconds, losses)


def _parse_text(line: str) -> LossRecord:
    line = line.strip()
    if of_rank := OF_RANK.fullmatch(line):
        line = of_rank[1] + of_rank[2].replace(",", "")
    match = LOSS_LINE.fullmatch(line)
    if match is None:
        raise ValueError(line)
    return _record(match[1], match[2], None, (match[3], match[4]), dict(re.findall(LOSS, match[5])))


def _record(epoch: Any, iters: Any, total_iters: Any, seconds: Any, losses: Any) -> LossRecord:
    time, data = map(_number, seconds)
    return LossRecord(
        epoch=int(epoch),
        iters=int(iters),
        total_iters=None if total_iters is None else int(total_iters),
        time=time,
        data=data,
        losses={str(name): _number(value) for name, value in losses.items()},
    )


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: float | str | None) -> float:
    return math.nan if value is None else float(value)
