"""What training reports reaches the sinks that take it, or a visualizer of somebody else's."""

from argparse import Namespace
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from util.base.errors import UserError
from util.display.create import create_sinks
from util.display.reporter import ForeignReporter, Reporter, reporter_of
from util.display.sinks import LogStep, Sink
from util.display.sinks.base import EpochRecord

LOSSES = {"G": 0.5, "D": 0.25}
VISUALS = {"fake_B": torch.zeros(1, 3, 4, 6)}
ROW = EpochRecord(
    epoch=3, total_iters=30, lr={}, seconds=1.0, images_per_second=1.0, memory_mib=1.0,
    train={"G": 1.0},
)  # fmt: skip


class Recorder(Sink):
    """A sink that remembers, and fails if `broken`."""

    def __init__(self, broken: bool = False, **declared: Any) -> None:
        vars(self).update(declared)
        self.broken = broken
        self.events: list[Any] = []

    def _take(self, *event: Any) -> None:
        self.events.append(event)
        if self.broken:
            raise ConnectionError("gone")

    def begin(self, overview: Mapping[str, Mapping[str, str]]) -> None:
        self._take("begin", overview)

    def scalars(self, when: LogStep, losses: Mapping[str, float]) -> None:
        self._take("scalars", when)

    def images(self, when: LogStep, images: Mapping[str, Any]) -> None:
        self._take("images", when.epoch)

    def epoch(self, record: EpochRecord, samples: list[Any]) -> None:
        self._take("epoch", record["epoch"])

    def finish(self, text: str) -> None:
        self._take("finish", text)

    def close(self) -> None:
        self._take("close")


def page_options(folder: Path, **changed: Any) -> Namespace:
    values = {"isTrain": True, "no_html": False, "display_winsize": 128, "display_id": 0}
    return Namespace(checkpoints_dir=str(folder), name="run", **(values | changed))


# ---- who gets what ------------------------------------------------------------------------------


def test_losses_are_printed_or_plotted() -> None:
    printer, plotter = Recorder(), Recorder(losses_as="plot")
    reporter = Reporter([printer, plotter])
    reporter.print_losses(LogStep(1, 4), LOSSES)
    reporter.plot_losses(LogStep(1, fraction=0.5), LOSSES)
    assert printer.events == [("scalars", LogStep(1, 4))]
    assert plotter.events == [("scalars", LogStep(1, fraction=0.5))]


def test_images_come_as_often_as_a_sink_says() -> None:
    live, page = Recorder(images_every="display_freq"), Recorder(images_every="update_html_freq")
    text = Recorder()
    reporter = Reporter([live, page, text])
    for epoch in (1, 2):
        reporter.begin_epoch()
        for for_page in (False, False, True, False):
            reporter.images(LogStep(epoch), VISUALS, for_page=for_page)
            assert reporter.shown
    assert [epoch for _, epoch in live.events] == [1] * 4 + [2] * 4
    assert [epoch for _, epoch in page.events] == [1, 1, 2, 2]
    assert text.events == []


def test_without_a_page_nothing_is_shown_on_it() -> None:
    reporter = Reporter([Recorder(images_every="display_freq")])
    reporter.images(LogStep(1), VISUALS, for_page=True)
    assert not reporter.shown


def test_everybody_hears_of_the_beginning_and_of_epochs() -> None:
    sinks = [Recorder(), Recorder(losses_as="plot")]
    reporter = Reporter(sinks)
    reporter.begin({"Data": {"images": "5"}})
    reporter.epoch(ROW, [])
    for sink in sinks:
        assert sink.events == [("begin", {"Data": {"images": "5"}}), ("epoch", 3)]


def test_a_sink_that_takes_nothing_is_a_sink() -> None:
    reporter = Reporter([Sink()])
    with reporter.session(str):
        reporter.begin({})
        reporter.print_losses(LogStep(1), LOSSES)
        reporter.images(LogStep(1), VISUALS, for_page=True)
        reporter.epoch(ROW, [])
        reporter.wait()
    assert reporter.state_dict()["curves"] is None


def test_close_closes_every_sink_even_if_one_fails() -> None:
    first, second, third = Recorder(broken=True), Recorder(broken=True), Recorder()
    Reporter([first, second, third]).close()
    assert first.events == second.events == third.events == [("close",)]


# ---- the end ------------------------------------------------------------------------------------


def page_after(folder: Path, error: BaseException | None) -> str:
    """Return the text of the page of a run that ended in some way."""
    reporter = Reporter(create_sinks(page_options(folder)))
    with suppress(BaseException), reporter.session(lambda: "Continue with:\n  train <again>"):
        reporter.images(LogStep(1, total_images=4), VISUALS, for_page=True)
        if error is not None:
            raise error
    return (folder / "run" / "web" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SystemExit(143), "Training was stopped by SIGTERM. "),
        (SystemExit(130), "Training was stopped by SIGINT. "),
        (SystemExit(1), "Training was stopped. "),
        (UserError("No space.\n  Do this."), "Training was stopped by an error. No space. "),
        (KeyError("x"), "Training was stopped by an error. KeyError: &#x27;x&#x27; "),
        (KeyboardInterrupt(), "Training was stopped by an error. KeyboardInterrupt: "),
    ],
    ids=str,
)
def test_the_page_says_what_stopped_training_and_how_to_continue(
    tmp_path: Path, error: BaseException, said: str
) -> None:
    text = page_after(tmp_path, error)
    assert said in text
    assert "<pre>Continue with:\n  train &lt;again&gt;</pre>" in text
    assert 'data-refresh="0"' in text


def test_the_page_of_a_run_that_has_ended_needs_no_advice(tmp_path: Path) -> None:
    text = page_after(tmp_path, None)
    assert "Training has ended." in text
    assert "<pre>" not in text
    assert 'data-refresh="0"' in text


def test_what_is_raised_inside_comes_out_and_everything_is_closed() -> None:
    recorder = Recorder()
    with pytest.raises(KeyError), Reporter([recorder]).session(str):
        raise KeyError("x")
    assert [event[0] for event in recorder.events] == ["finish", "close"]


def test_a_continued_run_keeps_the_epochs_in_which_nothing_was_printed(tmp_path: Path) -> None:
    """Losses may be printed rarely; what an epoch brought counts as shown too."""
    first = Reporter(create_sinks(page_options(tmp_path)))
    first.images(LogStep(3, total_images=30), VISUALS, for_page=True)
    first.epoch(ROW, [])
    state = first.state_dict()
    assert state["total_images"] == 30
    first.close()
    again = Reporter(create_sinks(page_options(tmp_path, continue_train=True)))
    again.load_state_dict(state)
    again.wait()
    text = (tmp_path / "run" / "web" / "index.html").read_text(encoding="utf-8")
    assert "epoch003_fake_B.png" in text
    assert "images/s over epochs" in text
    assert 'data-refresh="1"' in text
    again.close()


# ---- a visualizer of somebody else's ------------------------------------------------------------


class Foreign:
    """What the original's Visualizer has, and nothing else."""

    def __init__(self, display_id: int = 1) -> None:
        self.display_id = display_id
        self.calls: list[Any] = []

    def reset(self) -> None:
        self.calls.append("reset")

    def display_current_results(
        self, visuals: Mapping[str, Any], epoch: int, save_result: bool
    ) -> None:
        self.calls.append((list(visuals), epoch, save_result))

    def plot_current_losses(self, epoch: int, counter_ratio: float, losses: Any) -> None:
        self.calls.append(("plot", epoch, counter_ratio, losses))

    def print_current_losses(
        self, epoch: int, iters: int, losses: Any, t_comp: float, t_data: float
    ) -> None:
        self.calls.append(("print", epoch, iters, losses, t_comp, t_data))


@pytest.mark.parametrize("display_id", [-1, 1])
def test_a_foreign_visualizer_gets_the_originals_calls(display_id: int) -> None:
    foreign = Foreign(display_id)
    reporter = reporter_of(foreign)
    assert isinstance(reporter, ForeignReporter)
    with reporter.session(str):
        reporter.begin({})
        reporter.begin_epoch()
        reporter.images(LogStep(2), VISUALS, for_page=False)
        assert reporter.shown
        reporter.print_losses(LogStep(2, 5, compute_seconds=0.5, load_seconds=0.25), LOSSES)
        reporter.plot_losses(LogStep(2, fraction=0.5), LOSSES)
        reporter.epoch(ROW, [])
    plotted = [("plot", 2, 0.5, LOSSES)] if display_id > 0 else []
    printed = ("print", 2, 5, LOSSES, 0.5, 0.25)
    assert foreign.calls == ["reset", (["fake_B"], 2, False), printed, *plotted]
    again = reporter_of(Foreign())
    again.load_state_dict(reporter.state_dict())
    assert again.state_dict() == reporter.state_dict()


def test_a_foreign_visualizer_that_fails_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = reporter_of(object.__new__(Foreign))  # its constructor has not run
    for _ in range(2):
        reporter.begin_epoch()
    assert "Foreign failed" in capsys.readouterr().err


@pytest.mark.parametrize("sinks", [3, "text", ["text"], ()])
def test_sinks_of_another_kind_are_somebody_elses(sinks: object) -> None:
    foreign = Foreign()
    foreign.sinks = sinks  # type: ignore[attr-defined]
    assert isinstance(reporter_of(foreign), ForeignReporter)
