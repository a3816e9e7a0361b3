"""Lines for the person who watches, without tearing a progress bar apart.

Imported before PyTorch, which takes seconds: nothing slow is needed here.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from util.base import system

Writer = Callable[[str, TextIO], object]


def _write_line(text: str, stream: TextIO) -> None:
    stream.write(f"{text}\n")


_write: Writer = _write_line


def say(text: str) -> None:
    """Print one line (or several) on standard output, at once; of several processes one does."""
    _tell(text, sys.stdout)


def warn(text: str) -> None:
    """Print advice on standard error, where it does not mix with what a program reads."""
    _tell(f"warning: {text}", sys.stderr)


def note(text: str) -> None:
    """Print what people want to know beside the lines of the original, which programs read."""
    _tell(text, sys.stderr)


def tell_of_loading() -> None:
    """Say on a terminal why nothing happens yet, before the imports that take seconds."""
    if sys.stderr.isatty():
        note("loading PyTorch ...")


def link_to(path: str | Path) -> str:
    """Return the address of a file, which most terminals open at a click."""
    return Path(path).absolute().as_uri()


def _tell(text: str, stream: TextIO) -> None:
    if system.is_main_process():
        _write(showable(text, stream), stream)
        stream.flush()


def mute() -> None:
    """Let standard output go nowhere, since nobody reads it any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def showable(text: str, stream: TextIO) -> str:
    """Replace characters that a console cannot show by their codes: names may hold anything."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


@contextmanager
def lines_through(write: Writer) -> Iterator[None]:
    """Send every line through `write` meanwhile, for example through a progress bar's."""
    global _write
    before, _write = _write, write
    try:
        yield
    finally:
        _write = before
