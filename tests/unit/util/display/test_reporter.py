"""What training reports reaches the sinks that take it, or a visualizer of somebody else's."""

from argparse import Namespace
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from util.base.errors import UserError
from util.display.create import create_sinks
from util.display.reporter import Reporter, reporter_of
from util.display.sinks import LogStep, Sink
from util.display.sinks.base import WHOLE_EPOCH, EpochRecord
from util.visualizer import Visualizer

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


def test_the_first_images_are_for_the_page_and_those_of_the_epoch_still_due() -> None:
    live, page = Recorder(images_every="display_freq"), Recorder(images_every="update_html_freq")
    reporter = Reporter([live, page])
    reporter.begin_epoch()
    reporter.first_images(LogStep(1), VISUALS)
    assert (live.events, page.events) == ([], [("images", 1)])
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
    assert reporter.state_dict()["sinks"] == []


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
        (KeyError("x"), "Training was stopped by an error. KeyError: &#x27;x&#x27;. "),
        (KeyboardInterrupt(), "Training was stopped by an error. KeyboardInterrupt. "),
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


# ---- states of sinks ----------------------------------------------------------------------------


class Counting(Sink):
    """A sink of a plugin's own, with a state."""

    def __init__(self, seen: int = 0) -> None:
        self.seen = seen

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seen = state["seen"]


class Other(Counting):
    """Another one."""


def test_every_sink_gets_its_own_state_back() -> None:
    state = Reporter([Counting(5), Recorder(), Other(9)]).state_dict()
    others, counting, new = Other(), Counting(), Recorder()
    Reporter([others, new, counting]).load_state_dict(state)
    assert (others.seen, counting.seen) == (9, 5)


def test_curves_of_earlier_versions_are_visdoms() -> None:
    state = Reporter([]).state_dict() | {"curves": {"seen": 3}}
    del state["sinks"]
    counting, visdom = Counting(), type("VisdomSink", (Counting,), {})()
    Reporter([counting, visdom]).load_state_dict(state)
    assert (counting.seen, visdom.seen) == (0, 3)


def test_a_sink_that_fails_to_save_or_load_stops_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @dataclass
    class Broken(Sink):  # without a hash, as data classes are
        states: tuple[int, ...] = ()

        def state_dict(self) -> dict[str, Any]:
            raise OSError("saving")

        def go_on_after(self, when: LogStep) -> None:
            raise OSError("going on")

    first, second = Broken(), Counting(2)
    for _ in range(2):
        state = Reporter([first, second]).state_dict()
    assert state["sinks"] == [("Counting", {"seen": 2})]
    Reporter([Broken(), second]).load_state_dict(state)
    said = capsys.readouterr().err
    assert said.count("Broken failed, and training goes on without it: OSError: saving (") == 1
    assert said.count("Broken failed, and training goes on without it: OSError: going on (") == 1


def test_every_sink_hears_that_an_epoch_begins_again() -> None:
    @dataclass
    class Forgetful(Sink):
        told: LogStep | None = None

        def go_on_after(self, when: LogStep) -> None:
            self.told = when

    sinks = [Forgetful(), Forgetful()]
    reporter = Reporter(sinks)
    reporter.begin_again_with(3, total_images=500)
    assert [sink.told for sink in sinks] == [LogStep(2, WHOLE_EPOCH, total_images=500)] * 2
    assert reporter.state_dict()["last_moment"] == [2, WHOLE_EPOCH]


def test_images_shown_since_the_last_losses_are_not_forgotten() -> None:
    reporter = Reporter([])
    reporter.total_images = 100
    reporter.print_losses(LogStep(1, 100), LOSSES)
    reporter.total_images = 150
    reporter.images(LogStep(1), VISUALS, for_page=False)
    assert reporter.state_dict()["total_images"] == 150
    assert reporter.state_dict()["last_moment"] == [1, 100]


# ---- a visualizer of somebody else's ------------------------------------------------------------


@pytest.mark.parametrize("sinks", [3, "text", ["text"], ()])
def test_somebody_elses_visualizer_reports_by_itself(sinks: object) -> None:
    assert list(reporter_of(Namespace(sinks=sinks)).sinks) == []


def test_what_is_no_sink_is_refused_before_training(tmp_path: Path) -> None:
    visualizer = Visualizer(page_options(tmp_path, no_html=True))
    visualizer.sinks.append(Namespace(scalars=print))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="is no sink. Derive its class from Sink"):
        reporter_of(visualizer)
    visualizer.sinks.pop()  # when Python ends, all that are left are closed
