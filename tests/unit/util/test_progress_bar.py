"""A progress line on a terminal, plain lines elsewhere."""

import fcntl
import os
import pty
import struct
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest
from tqdm import tqdm

from util.log import say, warn
from util.progress_bar import epoch_bar, progress_bar


class Terminal:
    """The other end of a pseudo-terminal, read all the time so that writers never wait."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
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
def on_terminal() -> Iterator[Terminal]:
    """Make standard error a terminal; afterwards its `output()` can be read."""
    terminal = Terminal()
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


def test_without_a_terminal_there_are_only_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("translating", 3) as bar:
        for number in range(3):
            say(f"line {number}")
            bar.update(1)
    captured = capsys.readouterr()
    assert captured.out == "line 0\nline 1\nline 2\n"
    assert captured.err == ""


def test_on_a_terminal_the_bar_appears_on_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with on_terminal() as terminal, epoch_bar(3, 200, 400) as bar:
        bar.update(100)
        bar.refresh()
        say("(epoch: 3) G: 1.000 ")
        bar.update(300)
    assert "epoch 3/200" in terminal.output
    assert "0/400" in terminal.output
    assert "100/400" in terminal.output
    assert "img/s" in terminal.output
    assert capsys.readouterr().out == "(epoch: 3) G: 1.000 \n"  # as without a bar


def test_the_bar_is_gone_afterwards() -> None:
    with on_terminal() as terminal, progress_bar("translating", 2) as bar:
        bar.update(2)
    assert "translating" in terminal.output
    assert screen(terminal.output) == [""]


def test_lines_appear_above_the_bar_if_both_go_to_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with on_terminal() as terminal:
        monkeypatch.setattr(sys, "stdout", terminal.stream)
        with progress_bar("translating", 4) as bar:
            for number in range(2):
                bar.update(1)
                bar.refresh()
                say(f"line {number}")
        monkeypatch.undo()
    assert screen(terminal.output) == ["line 0", "line 1", ""]


def test_a_warning_does_not_land_in_the_middle_of_the_bar() -> None:
    with on_terminal() as terminal, progress_bar("translating", 4) as bar:
        bar.update(1)
        bar.refresh()
        warn("PageSink failed (disk full)")
        bar.refresh()
    assert screen(terminal.output) == ["warning: PageSink failed (disk full)", ""]


def stop_half_way() -> None:
    with progress_bar("translating", 2):
        raise RuntimeError("stop")


@pytest.mark.parametrize("place", [on_terminal, nullcontext])
def test_lines_are_plain_again_after_an_error(
    place: Callable[[], AbstractContextManager[object]], capsys: pytest.CaptureFixture[str]
) -> None:
    with place():
        with pytest.raises(RuntimeError, match="stop"):
            stop_half_way()
        say("after")
    assert capsys.readouterr().out == "after\n"


def test_more_steps_than_announced_do_no_harm() -> None:
    with on_terminal() as terminal, progress_bar("translating", 2) as bar:
        bar.update(2)
        bar.update(2)  # the last batch counts as a whole one
        bar.refresh()
    assert "4" in terminal.output


def test_a_line_leaves_at_once_if_only_the_output_is_redirected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, writing = os.pipe()  # as in: python train.py | tee log.txt
    os.set_blocking(reading, False)
    try:
        with os.fdopen(writing, "w") as stdout, on_terminal(), progress_bar("translating", 2):
            monkeypatch.setattr(sys, "stdout", stdout)
            say("(epoch: 1) G: 1.000 ")
            try:
                arrived = os.read(reading, 1000)
            except BlockingIOError:
                arrived = b""
            monkeypatch.undo()
    finally:
        os.close(reading)
    assert arrived == b"(epoch: 1) G: 1.000 \n"
