"""Lines for the person who watches."""

import os
import pty
import re
import sys
from collections.abc import Callable

import pytest

from util.base.commands import ScriptParser
from util.base.log import (
    forget_held_lines,
    holding_lines,
    lines_through,
    mute,
    printable,
    say,
    warn,
)


def test_say_prints_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    say("one")
    say("two\nthree")
    captured = capsys.readouterr()
    assert captured.out == "one\ntwo\nthree\n"
    assert captured.err == ""


def test_warn_prints_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    warn("careful")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "warning: careful\n"


def test_lines_can_be_led_elsewhere_for_a_while(capsys: pytest.CaptureFixture[str]) -> None:
    outer: list[str] = []
    inner: list[str] = []
    with lines_through(lambda text, stream: outer.append(text)):
        say("a")
        with lines_through(lambda text, stream: inner.append(text)):
            say("b")
        say("c")
    say("d")
    assert outer == ["a", "c"]
    assert inner == ["b"]
    assert capsys.readouterr().out == "d\n"


def test_an_error_meanwhile_does_not_leave_them_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="x"), lines_through(lambda text, stream: None):
        raise RuntimeError("x")
    say("here again")
    assert capsys.readouterr().out == "here again\n"


def test_lines_are_held_until_it_is_clear_that_they_are_to_be_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with holding_lines():
        say("forgotten")
        forget_held_lines()
        say("one")
        warn("two")
        assert capsys.readouterr() == ("", "")
    assert capsys.readouterr() == ("one\n", "warning: two\n")
    say("three")
    assert capsys.readouterr().out == "three\n"


def test_an_error_of_the_command_line_comes_after_the_lines_that_were_held(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def parse() -> None:
        with holding_lines():
            warn("first")
            ScriptParser().error("why")

    with pytest.raises(SystemExit):
        parse()
    said = capsys.readouterr().err
    assert said.index("first") < said.index("error: why")
    assert said.count("first") == 1


@pytest.mark.parametrize("make", [os.pipe, pty.openpty], ids=["a pipe", "a terminal"])
def test_work_goes_on_when_nobody_reads_any_more(
    make: Callable[[], tuple[int, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = make()
    os.close(reader)
    with open(writer, "w") as stream, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        say("one")
        say("two")
    said = capsys.readouterr().err
    assert re.fullmatch(r"warning: nobody reads the output any more \(.*\): going on .*\n", said)


def test_a_disk_that_takes_no_more_is_told() -> None:
    with open("/dev/full", "w") as full, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        with pytest.raises(OSError, match="No space left"):
            say("one")
        mute(full)  # else closing it would fail too


@pytest.mark.parametrize(
    ("text", "shown"),
    [("grün, 風 😀", "grün, 風 😀"), ("a\x1b[31m\0\rb", r"a\x1b[31m\x00\rb"),
     ("\udcff.png", r"\udcff.png"), ("two\nlines\t", "two\nlines\t")],
)  # fmt: skip
def test_what_no_page_can_hold_is_shown_by_its_code(text: str, shown: str) -> None:
    assert printable(text) == shown
