"""A sink beside training: the order stays, nothing is lost, memory is bounded."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from util.display.sinks import LogStep, Sink
from util.display.sinks import background as module
from util.display.sinks.background import BackgroundSink


class SlowSink(Sink):
    """Notes what it takes once it is allowed to."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.events: list[Any] = []
        self.broken = False

    def _take(self, *event: Any) -> None:
        assert self.open.wait(30)
        self.events.append(event)
        if self.broken:
            raise ConnectionError("gone")

    def scalars(self, when: LogStep, values: Mapping[str, float]) -> None:
        self._take("scalars", when.epoch, dict(values))

    def images(self, when: LogStep, images: Mapping[str, Any]) -> None:
        self._take("images", when.epoch, int(images["x"][0, 0, 0]))

    def epoch(self, record: Any, samples: list[Any]) -> None:
        self._take("epoch", record["epoch"], len(samples))

    def finish(self, text: str) -> None:
        self._take("finish", text)

    def close(self) -> None:
        self._take("close")


def images(number: int) -> dict[str, Any]:
    return {"x": np.full((2, 2, 3), number, np.uint8)}


def record(epoch: int) -> Any:
    return {"epoch": epoch}


def busy(sink: SlowSink, background: BackgroundSink[SlowSink]) -> None:
    """Let the sink be at work, so that what comes next waits."""
    sink.open.clear()
    background.scalars(LogStep(0), {})
    while background._waiting:
        time.sleep(0.001)


def within(seconds: float, call: Callable[[], None]) -> bool:
    """Tell whether a call returns in time; it goes on in its thread."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def test_everything_arrives_in_order_before_the_sink_is_closed() -> None:
    sink = SlowSink()
    background = BackgroundSink(sink)
    busy(sink, background)
    losses = {"G": 1.0}
    background.scalars(LogStep(1), losses)
    losses["G"] = 2.0  # a caller's dict is its own
    background.images(LogStep(1), images(1))
    background.images(LogStep(1), images(2))
    background.epoch(record(1), [])
    background.finish("done")
    sink.open.set()
    background.close()
    assert sink.events[1:] == [
        ("scalars", 1, {"G": 1.0}), ("images", 1, 1), ("images", 1, 2), ("epoch", 1, 0),
        ("finish", "done"), ("close",),
    ]  # fmt: skip


def test_the_caller_does_not_wait_for_the_sink() -> None:
    sink = SlowSink()
    background = BackgroundSink(sink, newest_only=True)
    busy(sink, background)

    def hand_over() -> None:
        for number in range(50):
            background.images(LogStep(1), images(number))

    assert within(10, hand_over)
    sink.open.set()
    background.wait()


def test_newer_images_of_an_epoch_replace_those_that_wait() -> None:
    sink = SlowSink()
    background = BackgroundSink(sink, newest_only=True)
    busy(sink, background)
    for epoch, number in ((1, 1), (1, 2), (2, 3), (2, 4), (1, 5)):
        background.images(LogStep(epoch), images(number))
        background.scalars(LogStep(epoch), {})
    assert sum(event.has_images for event in background._waiting) == 2
    sink.open.set()
    background.close()
    shown = [event[1:] for event in sink.events if event[0] == "images"]
    assert shown == [(2, 4), (1, 5)]
    assert sum(event[0] == "scalars" for event in sink.events) == 1 + 5  # none is lost


@pytest.mark.parametrize("kind", ["images", "scalars"])
def test_when_too_much_waits_the_caller_waits_and_nothing_is_lost(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_EVENTS", 6)
    monkeypatch.setattr(module, "MOST_IMAGES", 6)
    sink = SlowSink()
    background = BackgroundSink(sink, newest_only=True)
    busy(sink, background)

    def report() -> None:
        for epoch in range(1, 21):
            if kind == "images":
                background.images(LogStep(epoch), images(epoch))
            else:
                background.scalars(LogStep(epoch), {})

    reporter = threading.Thread(target=report)
    reporter.start()
    reporter.join(0.2)
    assert len(background._waiting) == 6
    sink.open.set()
    reporter.join(30)
    background.close()
    assert [event[1] for event in sink.events if event[0] == kind and event[1]] == [*range(1, 21)]


def test_a_failing_sink_warns_once_and_is_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    sink = SlowSink()
    sink.broken = True
    background = BackgroundSink(sink)
    for epoch in (1, 2, 3):
        background.scalars(LogStep(epoch), {})
    background.close()
    assert [event[0] for event in sink.events] == ["scalars"] * 3 + ["close"]
    assert capsys.readouterr().err.count("SlowSink failed, and training goes on") == 1


def test_no_thread_is_left_when_there_is_nothing_to_do() -> None:
    background = BackgroundSink(SlowSink())
    for epoch in range(50):
        background.scalars(LogStep(epoch), {})
        background.wait()
    time.sleep(0.05)
    assert not [thread for thread in threading.enumerate() if thread.name == "SlowSink"]
    background.close()


def test_a_thread_that_cannot_start_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    background = BackgroundSink(SlowSink())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for number in range(2 * module.MOST_IMAGES):
            with pytest.raises(RuntimeError, match="new thread"):
                background.images(LogStep(number), images(number))
    assert within(10, background.close)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_sink_that_ends_its_thread_keeps_nobody_waiting() -> None:
    class Ending(SlowSink):
        def scalars(self, when: LogStep, values: Mapping[str, float]) -> None:
            super().scalars(when, values)
            raise SystemExit(1)

    background = BackgroundSink(Ending())
    for number in range(3):
        background.scalars(LogStep(number), {})
    assert within(10, background.close)
    for thread in threading.enumerate():
        if thread.name == Ending.__name__:
            thread.join(10)  # pytest looks for its error when this test ends
