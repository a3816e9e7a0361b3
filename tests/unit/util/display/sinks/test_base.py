"""A sink may fail; training may not."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from util.display.sinks import LogStep, deliver


class Recorder:
    """A sink that fails while `broken`."""

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken
        self.calls: list[Any] = []

    def scalars(self, when: LogStep, values: Mapping[str, float]) -> None:
        self.calls.append((when, values))
        if self.broken:
            raise ConnectionError("no answer from http://localhost:8097")


def send(epoch: int) -> Callable[[Recorder], None]:
    return lambda sink: sink.scalars(LogStep(epoch), {"G": 1.0})


def test_every_sink_gets_the_event_in_order() -> None:
    order: list[int] = []
    deliver([1, 2, 3], order.append)
    assert order == [1, 2, 3]


def test_a_failing_sink_is_reported_on_stderr_and_the_others_are_served(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, broken, last = Recorder(), Recorder(broken=True), Recorder()
    deliver([first, broken, last], send(1))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "Recorder" in captured.err
    assert "no answer from http://localhost:8097" in captured.err
    assert "training goes on" in captured.err
    assert len(first.calls) == len(last.calls) == 1


def test_it_is_tried_again_at_every_event_but_reported_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sink = Recorder(broken=True)
    for epoch in range(1, 4):
        deliver([sink], send(epoch))
    assert [when.epoch for when, _ in sink.calls] == [1, 2, 3]
    assert capsys.readouterr().err.count("no answer") == 1


def test_it_takes_part_again_once_it_works(capsys: pytest.CaptureFixture[str]) -> None:
    sink = Recorder(broken=True)
    deliver([sink], send(1))
    sink.broken = False
    deliver([sink], send(2))
    assert sink.calls[-1] == (LogStep(2), {"G": 1.0})
    assert capsys.readouterr().err.count("no answer") == 1


def test_two_failing_sinks_are_both_reported(capsys: pytest.CaptureFixture[str]) -> None:
    sinks = [Recorder(broken=True), Recorder(broken=True)]
    deliver(sinks, send(1))
    assert capsys.readouterr().err.count("no answer") == 2


def test_a_sink_of_a_later_run_is_reported_too(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(20):  # several trainings in one process: nothing of one may silence the next
        deliver([Recorder(broken=True)], send(1))
    assert capsys.readouterr().err.count("no answer") == 20


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_wish_to_stop_is_not_held_back(stop: type[BaseException]) -> None:
    def interrupted(sink: Recorder) -> None:
        raise stop

    with pytest.raises(stop):
        deliver([Recorder()], interrupted)
