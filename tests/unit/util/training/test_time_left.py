"""How long a run will go on, and the progress line of an epoch."""

import re

import pytest

from tests.support.terminal import on_terminal
from util.base.log import say
from util.training.length import InEpochs, InSteps
from util.training.progress import Progress
from util.training.time_left import TimeLeft, epoch_bar


def test_on_a_terminal_the_bar_appears_on_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with (
        on_terminal() as terminal,
        epoch_bar(TimeLeft(Progress(epoch=3), InEpochs(100, 100, images=400))) as bar,
    ):
        bar.update(100)
        bar.refresh()
        say("(epoch: 3) G: 1.000 ")
        bar.update(300)
    assert "epoch 3/200" in terminal.output
    assert " 0%|" in terminal.output
    assert " 25%|" in terminal.output
    assert "img/s" in terminal.output
    assert capsys.readouterr().out == "(epoch: 3) G: 1.000 \n"  # as without a bar


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time, which only the test changes."""
    time = [1000.0]
    monkeypatch.setattr("util.training.time_left.time.monotonic", lambda: time[0])
    return time


def test_time_left_goes_by_the_mean_over_what_was_trained(now: list[float]) -> None:
    progress = Progress()
    clock = TimeLeft(progress, InEpochs(3, 0, images=10))
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
    clock = TimeLeft(progress, InEpochs(2, 0, images=10))
    now[0] += 7
    assert clock.seconds_left() is None
    progress.advance(1)
    assert clock.seconds_left() == 4 * 7


def test_time_goes_by_the_images_that_there_are(now: list[float]) -> None:
    progress = Progress()
    clock = TimeLeft(progress, InEpochs(3, 0, images=9))
    progress.advance(8)
    progress.advance(8, 1)
    progress.next_epoch()
    now[0] += 9
    assert clock.seconds_left() == 18


def test_the_last_batch_may_be_larger_than_what_is_left(now: list[float]) -> None:
    progress = Progress()
    clock = TimeLeft(progress, InEpochs(1, 0, images=10))
    now[0] += 1
    progress.advance(12)
    assert clock.seconds_left() == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(59, "00:59"), (3600, "1:00:00"), (47 * 3600, "47:00:00"), (75 * 3600 + 60, "3d 3h")],
)
def test_days_are_written_as_days(now: list[float], seconds: int, words: str) -> None:
    progress = Progress()
    clock = TimeLeft(progress, InEpochs(2, 0, images=1))
    progress.advance(1)
    now[0] += seconds
    progress.next_epoch()
    assert clock.in_words() == f"run {words}"


def test_one_line_tells_epoch_speed_and_time_left_for_epoch_and_run(now: list[float]) -> None:
    progress = Progress(epoch=2, epoch_images=100, total_images=500)
    clock = TimeLeft(progress, InEpochs(4, 0, images=400))
    with on_terminal() as terminal, epoch_bar(clock) as bar:
        bar.start_t = bar._time() - 10
        now[0] += 10
        progress.advance(100)
        bar.update(100)
        bar.refresh()
    shown = terminal.output.split("\r")[-3]  # then the line is cleared
    assert re.fullmatch(r"epoch 2/4  50%\|.+\| +\d+\.\d+img/s, left 00:\d\d, run 01:40", shown), (
        shown
    )
    assert len(shown) <= 80


def test_the_line_of_a_run_in_steps_is_about_the_epoch_too() -> None:
    progress = Progress(epoch=4, step=12)
    clock = TimeLeft(progress, InSteps(13, 0, images=5, batch_size=2, val_steps=4))
    with on_terminal() as terminal, epoch_bar(clock) as bar:
        assert bar.total == 2  # images in the last step
        bar.refresh()
    assert "epoch 4/4" in terminal.output


def test_the_whole_line_fits_into_60_columns(
    now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = Progress(epoch=198, epoch_images=1000, total_images=200_000)
    clock = TimeLeft(progress, InEpochs(1000, 1000, images=2000))
    with on_terminal(columns=60) as terminal, epoch_bar(clock) as bar:
        bar.start_t = bar._time() - 60
        now[0] += 3.3
        progress.advance(100)
        bar.update(100)
        bar.refresh()
    shown = terminal.output.split("\r")[-3]
    assert re.fullmatch(
        r"epoch 198/2000  55%\|.+\| +\d+\.\d+img/s, left \d\d:\d\d, run 33:\d\d:\d\d", shown
    ), shown
    assert len(shown) <= 60
