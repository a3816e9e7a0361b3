"""Files that are whole or not there: written under a temporary name, then renamed."""

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO

from util.base.errors import WriteError, writing

LONGEST_TAIL = 40  # characters of a name that its temporary one keeps: names have 255 bytes at most
OWNER = re.compile(r"\.(\d+)[-.]")  # how names of unfinished files begin: with their process
_numbers = count()


def temporary_name(path: Path) -> Path:
    """Return a new name beside `path`; it tells who writes there, and has the same suffix."""
    return path.with_name(f".{os.getpid()}-{next(_numbers)}.tmp-{path.name[-LONGEST_TAIL:]}")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success rename it, on failure remove it.

    Of a link, what it leads to is replaced, as by anybody who writes there; the link stays.

    Raises:
        WriteError: it cannot be written, or is a device, which would be lost (as /dev/null, by
            root).
    """
    there = Path(os.path.realpath(path) if os.path.islink(path) else path)
    temporary = temporary_name(there)
    if there.exists() and not (there.is_file() or there.is_dir()):
        raise WriteError(path, OSError(errno.EINVAL, "It is no file that can be replaced"))
    try:
        with writing(path):
            yield temporary
            os.replace(temporary, there)
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


def remove_leftovers(folder: str | Path, name: str = "*") -> None:
    """Delete temporary files of processes that were killed while they wrote into a folder.

    Of files that are called like `name`, a pattern, where others may write beside them.
    Only for the start of a process: one that had its number before may have left files as well,
    since containers give the same numbers again.
    """
    for path in Path(folder).glob(f".*.tmp-{name}"):
        owner = OWNER.match(path.name)
        if owner and (int(owner[1]) == os.getpid() or not process_exists(int(owner[1]))):
            path.unlink(missing_ok=True)


def process_exists(number: int) -> bool:
    """Tell whether a process runs on this machine."""
    try:
        if os.name != "nt":  # signal 0 would end it there
            os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        pass
    return True
