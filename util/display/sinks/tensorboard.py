"""Losses, images and metrics for TensorBoard; its package is imported when a sink is made.

Torch's SummaryWriter is not used: its file is written by a thread of its own, which ends for good,
with a traceback on the console, when the disk is full for a moment or the folder is moved.
"""

import errno
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from io import BytesIO
from itertools import filterfalse
from pathlib import Path
from typing import IO, Any

from util.display.sinks.base import (
    WHOLE_EPOCH,
    EpochRecord,
    ImageArray,
    LogStep,
    Sink,
    import_for,
)
from util.display.sinks.epochs import flat
from util.images.ranges import for_display
from util.images.writing import as_pillow
from util.storage.files import write_file

PACKAGE = {  # and what is used of it
    "tensorboard.compat.proto.event_pb2": "Event",
    "tensorboard.summary.writer.record_writer": "RecordWriter",
}
FILE_NAME = re.compile(r"events\.out\.tfevents\.(\d+)\..*")
OVER_IMAGES = re.compile("(loss|images)/")  # tags of what stands over images, not epochs
HEAD, TAIL = 12, 4  # bytes around an event: its length and a checksum of that, a checksum of it


class TensorboardSink(Sink):
    """Append losses, images and metrics to an event file in a folder.

    Every process begins a file of its own with its first event. Each event is written at once and
    as a whole, so neither a killed process nor a full disk leaves a broken file. What an earlier
    process wrote counts up to `go_on_after`: TensorBoard no longer shows later points.
    """

    images_every = "display_freq"

    def __init__(self, folder: str | Path) -> None:
        self._events, self._writing = import_for("--tensorboard", PACKAGE)
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._path: Path | None = None
        self._forgotten_from: int | None = 0  # images, of a run that begins anew
        self._last_epoch: int | None = None  # after which numbers of epochs are forgotten

    def scalars(self, when: LogStep, losses: Mapping[str, float]) -> None:
        """Write losses as `loss/NAME` over the images seen."""
        self._write_numbers(_step(when), {f"loss/{name}": value for name, value in losses.items()})

    def images(self, when: LogStep, images: Mapping[str, ImageArray]) -> None:
        """Write images as `images/LABEL` over the images seen, or the epoch if that is all."""
        drawn = {label: _encoded(image) for label, image in images.items()}
        values = [{"tag": f"images/{label}", "image": image} for label, image in drawn.items()]
        self._write(_step(when) or when.epoch, values)

    def epoch(self, record: EpochRecord, samples: list[dict[str, ImageArray]]) -> None:
        """Write an epoch's numbers, and what was made of the first validation image."""
        when = LogStep(record["epoch"], total_images=record["total_iters"])
        self._write_numbers(when.epoch, flat(record))
        if samples and "val" in record:
            self.images(when, {f"validation/{label}": image for label, image in samples[0].items()})

    def go_on_after(self, when: LogStep) -> None:
        """Go on from an earlier save: later points no longer count once the next ones are there."""
        self._forgotten_from = (when.total_images or 0) + 1
        self._last_epoch = when.epoch if when.images == WHOLE_EPOCH else when.epoch - 1

    def _write_numbers(self, step: int, values: Mapping[str, float]) -> None:
        numbers = [{"tag": tag, "simple_value": float(value)} for tag, value in values.items()]
        self._write(step, numbers)

    def _write(self, step: int, values: list[dict[str, Any]]) -> None:
        """Append one event, and what must come before it."""
        if self._last_epoch is not None:
            last, self._last_epoch = self._last_epoch, None  # a file that is broken stays so
            self._drop_epochs_after(last)
        event = self._record(step=step, summary={"value": values})
        if self._forgotten_from is not None:
            restart = {"status": self._events.SessionLog.START}
            event = self._record(step=self._forgotten_from, session_log=restart) + event
        if self._path is None:
            self._path = self.folder / _next_name(self.folder)
        self.folder.mkdir(exist_ok=True)
        with self._path.open("ab", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            content = event if size else self._record(file_version="brain.Event:2") + event
            if file.write(content) != len(content):
                file.truncate(size)  # no reader gets past half an event
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        self._forgotten_from = None

    def _drop_epochs_after(self, last: int) -> None:
        """Take the numbers of later epochs out of the files.

        `SessionLog.START` lets readers forget what has at least a certain step. Those count images,
        but for these numbers, whose small steps would make it forget nearly all else.
        """

        def is_later(record: bytes) -> bool:
            event = self._events.Event.FromString(record[HEAD:-TAIL])
            tags = [value.tag for value in event.summary.value]
            return bool(tags) and event.step > last and not any(map(OVER_IMAGES.match, tags))

        for path in self.folder.glob("events.out.tfevents.*"):
            with path.open("rb") as file:
                if any(map(is_later, _records(file))):
                    file.seek(0)
                    kept = filterfalse(is_later, _records(file))
                    write_file(path, lambda new, kept=kept: new.writelines(kept))  # type: ignore[misc]

    def _record(self, **content: Any) -> bytes:
        """Return an event as it stands in a file: with its length and checksums."""
        buffer = BytesIO()
        event = self._events.Event(wall_time=time.time(), **content)
        self._writing.RecordWriter(buffer).write(event.SerializeToString())
        return buffer.getvalue()


def _records(file: IO[bytes]) -> Iterator[bytes]:
    """Yield what is in a file of events: each with its length before it, and checksums."""
    while len(head := file.read(HEAD)) == HEAD:
        yield head + file.read(int.from_bytes(head[:8], "little") + TAIL)


def _step(when: LogStep) -> int:
    return when.images if when.total_images is None else when.total_images


def _next_name(folder: Path) -> str:
    """Return a name behind those of all files there: TensorBoard reads them in this order."""
    matches = [FILE_NAME.fullmatch(path.name) for path in folder.iterdir()]
    number = max([int(time.time()), *(int(match[1]) + 1 for match in matches if match)])
    return f"events.out.tfevents.{number:010d}.{socket.gethostname()}.{os.getpid()}"


def _encoded(image: ImageArray) -> dict[str, Any]:
    """Turn (H, W, C) into what an event holds of an image."""
    image = for_display(image)
    height, width, channels = image.shape
    buffer = BytesIO()
    as_pillow(image).save(buffer, "PNG")
    content = {"encoded_image_string": buffer.getvalue()}
    return {"height": height, "width": width, "colorspace": channels} | content
