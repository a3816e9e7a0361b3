"""Lines for the person who watches: standard output, without tearing a progress bar apart."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def _print_line(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the project's only print outside scripts


_write: Callable[[str], object] = _print_line


def say(text: str) -> None:
    """Print one line (or several) on standard output."""
    _write(text)


def warn(text: str) -> None:
    """Print advice on standard error, where it does not mix with what a program reads."""
    sys.stderr.write(f"warning: {text}\n")
    sys.stderr.flush()


@contextmanager
def lines_through(write: Callable[[str], object]) -> Iterator[None]:
    """Send every `say` through `write` meanwhile, for example through a progress bar's."""
    global _write
    before, _write = _write, write
    try:
        yield
    finally:
        _write = before
