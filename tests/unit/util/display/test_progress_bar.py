"""A progress line on a terminal, plain lines elsewhere."""

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest

from tests.support.terminal import on_terminal, screen
from util.base.log import say, warn
from util.display.progress_bar import progress_bar


def test_without_a_terminal_there_are_only_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("translating", 3) as bar:
        for number in range(3):
            say(f"line {number}")
            bar.update(1)
    captured = capsys.readouterr()
    assert captured.out == "line 0\nline 1\nline 2\n"
    assert captured.err == ""


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


def test_what_the_line_says_is_asked_for_when_it_is_drawn() -> None:
    asked: list[int] = []
    with on_terminal(), progress_bar("x", 1000, more=lambda: f"{asked.append(1)}") as bar:
        before = len(asked)
        for _ in range(1000):
            bar.update(1)
    assert len(asked) - before < 100
    asked.clear()
    with progress_bar("x", 1000, more=lambda: f"{asked.append(1)}") as bar:  # no terminal
        bar.update(1000)
    assert not asked
