"""Stopping on request: the running work is finished first, a second request is obeyed at once."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.paths import ROOT
from util.base import stop_signals
from util.base.stop_signals import (
    NOTICES,
    REQUESTS,
    SIGNALS,
    Stopped,
    StopSignals,
    end_in_order,
    leave_stopping_to_the_parent,
    may_stop,
)

WORK = """
import sys, time
from util.base.stop_signals import StopSignals

with StopSignals() as stop:
    print("working", flush=True)
    while stop.received is None or "for ever" in sys.argv:
        time.sleep(0.01)
    print("saved", flush=True)
    sys.exit(stop.status)
"""

WORKER = """
import sys, time
from util.base.stop_signals import leave_stopping_to_the_parent

leave_stopping_to_the_parent()
print("working", flush=True)
for line in sys.stdin:
    print("still working", flush=True)
"""

Start = Callable[..., "subprocess.Popen[str]"]

both = pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)


@pytest.fixture(autouse=True)
def _own_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that runs a script and returns once it works; it ends with the test."""
    running: list[subprocess.Popen[str]] = []

    def begin(script: str, *arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


@both
def test_what_the_process_was_started_to_ignore_stays_ignored(
    start: Start, number: signal.Signals
) -> None:
    signal.signal(number, signal.SIG_IGN)  # which the script inherits
    process = start(WORK)
    process.send_signal(number)
    other = next(one for one in SIGNALS if one != number)
    process.send_signal(other)
    out, error = process.communicate(timeout=30)
    assert (process.returncode, out) == (128 + other, "saved\n")
    assert number.name not in error


@both
def test_a_block_leaves_ignored_signals_alone(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_IGN)
    for block in (StopSignals, end_in_order):
        with block():
            assert signal.getsignal(number) is signal.SIG_IGN
        assert signal.getsignal(number) is signal.SIG_IGN


def line_of_stderr(process: "subprocess.Popen[str]") -> str:
    assert process.stderr is not None
    return process.stderr.readline()


@both
def test_a_signal_is_noted_and_the_work_goes_on(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    with StopSignals() as stop:
        assert stop.received is None
        os.kill(os.getpid(), number)
        assert stop.received is number
        assert stop.status == 128 + number
    said = capfd.readouterr().err
    assert f"{number.name}: saving after this iteration" in said
    assert ("once more stops at once" in said) == (number in REQUESTS)


@both
def test_afterwards_signals_do_what_they_did_before(number: signal.Signals) -> None:
    got: list[int] = []
    signal.signal(number, lambda number, frame: got.append(number))
    with StopSignals() as stop:
        os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)
    assert stop.received is number
    assert got == [number]


def test_in_another_thread_nothing_is_touched() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    seen: list[object] = []

    def run() -> None:
        with StopSignals() as stop:
            seen.extend(signal.getsignal(number) for number in SIGNALS)
            seen.append(stop.received)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [*before, None]


@both
def test_the_process_ends_with_the_status_of_the_signal(
    number: signal.Signals, start: Start
) -> None:
    process = start(WORK)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (128 + number, "saved\n")
    assert "Traceback" not in errors


@pytest.mark.parametrize("second", REQUESTS)
@pytest.mark.parametrize("first", REQUESTS)
def test_a_second_request_ends_the_process_at_once(
    first: signal.Signals, second: signal.Signals, start: Start
) -> None:
    process = start(WORK, "for ever")
    process.send_signal(first)
    assert line_of_stderr(process) == "\n"
    assert first.name in line_of_stderr(process)  # so the first has arrived
    process.send_signal(second)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (128 + second, "", "")


@pytest.mark.parametrize("number", NOTICES)
def test_a_notice_that_comes_again_ends_nothing(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    """A closed terminal sends SIGHUP twice, a limit of processor time SIGXCPU every second."""
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("ignored since these tests began, as under nohup")
    with StopSignals() as stop:
        for sent in (number, number, signal.SIGTERM, number):
            os.kill(os.getpid(), sent)
        assert stop.received is number
    said = capfd.readouterr().err.split()
    assert said.count(f"{number.name}:") == said.count("SIGTERM:") == 1


@both
def test_a_signal_is_obeyed_where_nothing_is_lost(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop_signals, "PATIENCE", 0.05)
    done: list[str] = []

    def receive_and_go_on() -> None:
        with may_stop():
            os.kill(os.getpid(), number)
            done.append("what comes soon")
            time.sleep(60)
            done.append("what never comes")

    with StopSignals():
        with pytest.raises(Stopped):
            receive_and_go_on()
        with pytest.raises(Stopped), may_stop():  # it has come already
            done.append("the next block")
    with may_stop():
        done.append("after all that")
    assert done == ["what comes soon", "after all that"]


def test_notices_that_keep_coming_put_nothing_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_signals, "PATIENCE", 0.2)
    sent: list[int] = []

    def go_on_sending() -> None:
        with may_stop():
            while len(sent) < 40:
                os.kill(os.getpid(), signal.SIGUSR1)
                time.sleep(0.05)
                sent.append(1)

    with StopSignals(), pytest.raises(Stopped):
        go_on_sending()
    assert len(sent) < 20


@pytest.mark.parametrize("number", [one for one in SIGNALS if one != signal.SIGINT])
def test_a_signal_ends_a_block_through_its_exits(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as ended, end_in_order():
        os.kill(os.getpid(), number)
    assert ended.value.code == 128 + number
    assert signal.getsignal(number) is before


def test_that_nobody_reads_the_answer_does_not_matter(start: Start) -> None:
    """Ctrl-C ends both sides of `train.py 2>&1 | tee log`."""
    process = start(WORK)
    assert process.stderr is not None
    process.stderr.close()
    process.stderr = None
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "saved\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
def test_a_worker_that_has_just_been_forked_ignores_it(capfd: pytest.CaptureFixture[str]) -> None:
    with StopSignals() as stop:
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0 if stop.received is None else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert capfd.readouterr().err == ""


def test_a_worker_outlives_the_signals_that_reach_its_whole_group(start: Start) -> None:
    process = start(WORKER)
    assert process.stdin is not None
    assert process.stdout is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        process.send_signal(number)
        process.stdin.write("work\n")
        process.stdin.flush()
        assert process.stdout.readline() == "still working\n"
    process.terminate()  # as its parent does in the end
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (-signal.SIGTERM, "")


def test_leaving_it_to_the_parent_changes_these_signals_only() -> None:
    before = signal.getsignal(signal.SIGUSR2)
    leave_stopping_to_the_parent()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGUSR2) is before
