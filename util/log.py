"""Lines for the person who watches, without tearing a progress bar apart."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

Writer = Callable[[str, TextIO], object]


def _write_line(text: str, stream: TextIO) -> None:
    stream.write(f"{text}\n")


_write: Writer = _write_line


def say(text: str) -> None:
    """Print one line (or several) on standard output, at once."""
    _write(text, sys.stdout)
    sys.stdout.flush()


def warn(text: str) -> None:
    """Print advice on standard error, where it does not mix with what a program reads."""
    _write(f"warning: {text}", sys.stderr)
    sys.stderr.flush()


@contextmanager
def lines_through(write: Writer) -> Iterator[None]:
    """Send every line through `write` meanwhile, for example through a progress bar's."""
    global _write
    before, _write = _write, write
    try:
        yield
    finally:
        _write = before
