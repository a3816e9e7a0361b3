"""Files that are whole or not there: written under a temporary name, then renamed."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO

from util.base.errors import writing

LONGEST_TAIL = 40  # characters of a name that its temporary one keeps: names have 255 bytes at most
_numbers = count()
OWNER = re.compile(r"\.(\d+)[-.]")  # how names of unfinished files begin: with their process


def temporary_name(path: Path) -> Path:
    """Return a new name beside `path`, which tells that this process writes there.

    It keeps the suffix, since Pillow chooses the format by it.
    """
    return path.with_name(f".{os.getpid()}-{next(_numbers)}.tmp-{path.name[-LONGEST_TAIL:]}")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success rename it, on failure remove it.

    Raises:
        WriteError: the system refused.
    """
    path = Path(path)
    temporary = temporary_name(path)
    try:
        with writing(path):
            yield temporary
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def fill_and_flush(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a file, and return when it is on the disk."""
    with path.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk."""
    with suppress(OSError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_file(path: str | Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a temporary file, flush it to the disk and rename it to `path`."""
    with replacing(path) as temporary:
        fill_and_flush(temporary, write)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file as UTF-8; bytes of file names that are none are written as they are."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def remove_leftovers(folder: str | Path) -> None:
    """Delete temporary files of processes that were killed while they wrote into a folder.

    Only for the start of a process, when nothing of its own is being written.
    """
    for path in Path(folder).glob(".*.tmp-*"):
        if is_left_over(path):
            path.unlink(missing_ok=True)


def is_left_over(path: Path) -> bool:
    """Tell whether the process that an unfinished file is named after has ended.

    A file named after this process is one too, if this process has not written it: containers
    give the same numbers again.
    """
    match = OWNER.match(path.name)
    return match is not None and (int(match[1]) == os.getpid() or not process_exists(int(match[1])))


def process_exists(number: int) -> bool:
    """Tell whether a process runs on this machine."""
    if os.name == "nt":  # signal 0 would end it there
        return True
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True
