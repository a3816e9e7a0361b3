"""Lines for the person who watches, without tearing a progress bar apart.

Imported before PyTorch, which takes seconds: nothing slow is needed here.
"""

import errno
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TextIO

from util.base import system

Writer = Callable[[str, TextIO], object]

# What neither XML nor a console can show: control characters, Python's stand-ins for odd bytes.
ODD = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
NOBODY_READS = (errno.EPIPE, errno.EIO, errno.EBADF)  # a closed pipe, terminal or descriptor


def _write_line(text: str, stream: TextIO) -> None:
    stream.write(f"{text}\n")


_write: Writer = _write_line
_is_silent = ContextVar("silent", default=False)  # of one thread
_held: list[tuple[Writer, str, TextIO]] = []  # lines, perhaps to be said, and by what


def say(text: str) -> None:
    """Print one line (or several) on standard output, at once; of several processes one does."""
    _tell(text, sys.stdout)


def warn(text: str) -> None:
    """Print advice on standard error, where it does not mix with what a program reads."""
    _tell(f"warning: {text}", sys.stderr)


def note(text: str) -> None:
    """Print what people want to know beside the lines of the original, which programs read."""
    _tell(text, sys.stderr)


def note_of_process(text: str) -> None:
    """Print what only this one of several processes knows."""
    which = "" if system.is_main_process() else f"process {os.environ['RANK']}: "
    _print(f"{which}{text}", sys.stderr)


def tell_of_loading() -> None:
    """Say on a terminal why nothing happens yet, before the imports that take seconds."""
    if sys.stderr and sys.stderr.isatty():  # None where it is closed
        note("loading PyTorch ...")


def link_to(path: str | Path) -> str:
    """Return the address of a file, which most terminals open at a click."""
    return Path(path).absolute().as_uri()


def _tell(text: str, stream: TextIO) -> None:
    if not _is_silent.get() and system.is_main_process():
        _print(text, stream)


def _print(text: str, stream: TextIO) -> None:
    """Print a line; work goes on if nobody can read it any more."""
    try:
        _write(showable(text, stream), stream)
        stream.flush()
    except OSError as error:
        if error.errno not in NOBODY_READS:
            raise
        mute(stream)
        if stream is sys.stdout:
            warn(f"nobody reads the output any more ({error.strerror}): going on without it.")


def mute(stream: TextIO) -> None:
    """Let what is written go nowhere, since nobody reads it any more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def flush_or_mute(stream: TextIO) -> None:
    """Write what waits to be written; if that fails, let it and all later lines go nowhere."""
    try:
        stream.flush()
    except OSError:
        mute(stream)


def open_missing_streams() -> None:
    """Let standard input, output and error be there, as files that say and keep nothing.

    Else the next files to be opened would get their numbers, and what is said go into them.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # as after: train.py >&-
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for good


def showable(text: str, stream: TextIO) -> str:
    """Replace characters that a console cannot show by their codes: names may hold anything."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def printable(text: str) -> str:
    r"""Replace what no page and no console can show by its code: names of files hold any byte.

    >>> printable("grün, \x1b")
    'grün, \\x1b'
    """
    return ODD.sub(lambda odd: odd[0].encode("unicode_escape").decode(), text)


@contextmanager
def lines_through(write: Writer) -> Iterator[None]:
    """Send every line through `write` meanwhile, for example through a progress bar's."""
    global _write
    before, _write = _write, write
    try:
        yield
    finally:
        _write = before


@contextmanager
def holding_lines() -> Iterator[None]:
    """Hold lines back in a `with` block, and say at its end those that are not forgotten by then.

    For a process that may find out that others will say the same.
    """
    write = _write
    try:
        with lines_through(lambda text, stream: _held.append((write, text, stream))):
            yield
    finally:
        say_held_lines()


def say_held_lines() -> None:
    """Say what has been held back until now, as before an error that ends the process."""
    while _held:
        write, text, stream = _held.pop(0)
        with lines_through(write):
            _print(text, stream)


def forget_held_lines() -> None:
    """Never say what has been held back until now."""
    _held.clear()


@contextmanager
def silently() -> Iterator[None]:
    """Say nothing in this thread meanwhile: whoever calls from Python has not asked."""
    before = _is_silent.set(True)
    try:
        yield
    finally:
        _is_silent.reset(before)
