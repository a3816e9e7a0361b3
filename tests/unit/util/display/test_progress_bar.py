"""A progress line on a terminal, plain lines elsewhere."""

import os
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest

from tests.support.terminal import on_terminal, screen
from util.base.log import say, warn
from util.display.progress_bar import TimeLeft, epoch_bar, progress_bar
from util.training.progress import Progress


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
    with on_terminal() as terminal, epoch_bar(TimeLeft(Progress(epoch=3), 200, 400)) as bar:
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


# ---- the bar of an epoch ------------------------------------------------------------------------


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time, which only the test changes."""
    time = [1000.0]
    monkeypatch.setattr("util.display.progress_bar.time.monotonic", lambda: time[0])
    return time


def test_time_left_goes_by_the_mean_over_what_was_trained(now: list[float]) -> None:
    progress = Progress()
    clock = TimeLeft(progress, last_epoch=3, images=10)
    assert clock.seconds_left() is None
    assert clock.in_words() == "run ?"
    progress.advance(4)
    now[0] += 8
    assert clock.seconds_left() == 26 * 2
    assert clock.in_words() == "run 00:52"
    progress.advance(6)
    progress.next_epoch()
    now[0] += 32  # of which validation and saving took a part
    assert clock.seconds_left() == 20 * 4
    for _ in range(2):
        progress.advance(10)
        progress.next_epoch()
    assert clock.seconds_left() == 0


def test_what_an_earlier_process_has_trained_says_nothing_of_the_speed(now: list[float]) -> None:
    progress = Progress(epoch=2, epoch_images=5, total_images=15)
    clock = TimeLeft(progress, last_epoch=2, images=10)
    now[0] += 7
    assert clock.seconds_left() is None
    progress.advance(1)
    assert clock.seconds_left() == 4 * 7


def test_the_last_batch_may_be_larger_than_what_is_left(now: list[float]) -> None:
    progress = Progress()
    clock = TimeLeft(progress, last_epoch=1, images=10)
    now[0] += 1
    progress.advance(12)
    assert clock.seconds_left() == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(59, "00:59"), (3600, "1:00:00"), (47 * 3600, "47:00:00"), (75 * 3600 + 60, "3d 3h")],
)
def test_days_are_written_as_days(now: list[float], seconds: int, words: str) -> None:
    progress = Progress()
    clock = TimeLeft(progress, last_epoch=2, images=1)
    progress.advance(1)
    now[0] += seconds
    progress.next_epoch()
    assert clock.in_words() == f"run {words}"


def test_one_line_tells_epoch_speed_and_time_left_for_epoch_and_run(now: list[float]) -> None:
    progress = Progress(epoch=2, epoch_images=100, total_images=500)
    clock = TimeLeft(progress, last_epoch=4, images=400)
    with on_terminal() as terminal, epoch_bar(clock) as bar:
        bar.start_t = bar._time() - 10
        now[0] += 10
        progress.advance(100)
        bar.update(100)
        bar.refresh()
    shown = terminal.output.split("\r")[-3]  # then the line is cleared
    assert re.fullmatch(
        r"epoch 2/4:  50%\|.+\| 200/400, +\d+\.\d+img/s, left: epoch 00:\d\d, run 01:40", shown
    ), shown
    assert len(shown) <= 80


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
