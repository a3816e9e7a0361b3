"""A terminal for tests: what is written to it, and what its screen shows in the end."""

import fcntl
import os
import pty
import struct
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tqdm import tqdm


class Terminal:
    """The other end of a pseudo-terminal, read all the time so that writers never wait."""

    def __init__(self, columns: int = 80) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.stream = os.fdopen(slave, "w", encoding="utf-8")
        self._bytes = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                self._bytes += os.read(self._master, 4096)
            except OSError:  # the writing end was closed
                return

    def close(self) -> None:
        """Close both ends; what was written is in `output`."""
        self.stream.close()
        self._reader.join(timeout=10)
        assert not self._reader.is_alive()
        os.close(self._master)

    @property
    def output(self) -> str:
        return self._bytes.decode("utf-8")


@contextmanager
def on_terminal(columns: int = 80) -> Iterator[Terminal]:
    """Make standard error a terminal; afterwards its `output()` can be read."""
    terminal = Terminal(columns)
    with pytest.MonkeyPatch.context() as patch:  # in the test itself: pytest replaces it between
        patch.setattr(tqdm, "monitor_interval", 0)  # no thread that outlives the test
        patch.setattr(sys, "stderr", terminal.stream)
        try:
            yield terminal
        finally:
            terminal.close()


def screen(written: str) -> list[str]:
    """Return the lines that end up on an endless screen: a carriage return begins a line anew."""
    lines = [""]
    column = 0
    for character in written.replace("\x1b[A", ""):
        if character == "\r":
            column = 0
        elif character == "\n":
            lines.append("")
            column = 0
        else:
            line = lines[-1].ljust(column)
            lines[-1] = line[:column] + character + line[column + 1 :]
            column += 1
    return [line.rstrip() for line in lines]
