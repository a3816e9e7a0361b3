"""What all tests share: a summary of all processes; signals; GPUs; large layers."""

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.summary import SUMMARY, Summary

STOPPING = (signal.SIGINT, signal.SIGTERM)  # SIGHUP stays: `nohup scripts/ci.sh` must go on


def pytest_configure(config: pytest.Config) -> None:
    """Begin with nothing."""
    config.stash[SUMMARY] = Summary()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests that need a GPU where there is none."""
    if item.get_closest_marker("gpu"):
        import torch  # here: runs without such tests begin sooner

        if not torch.cuda.is_available():
            pytest.skip("no GPU")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send this process's summary to the one that reports, which fails if one is missing."""
    summary = session.config.stash[SUMMARY]
    if summary.lost and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["summary"] = summary.plain()


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take in the summary of a process that has ended; one that crashed has sent none."""
    del error
    summary = node.config.stash[SUMMARY]
    sent = getattr(node, "workeroutput", {}).get("summary")
    if sent is None:
        summary.lost += 1
    else:
        summary.add(sent)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print it."""
    for title, lines in config.stash[SUMMARY].sections():
        terminalreporter.section(title)
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture(scope="module", autouse=True)  # for fixtures of modules too
def _signals_as_on_a_terminal() -> Iterator[None]:
    """Let signals work in tests, and in what they start, however the tests were started.

    A script's background jobs ignore Ctrl-C, and all that they start inherits it.
    """
    ignored = [number for number in STOPPING if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        is_ctrl_c = number == signal.SIGINT
        signal.signal(number, signal.default_int_handler if is_ctrl_c else signal.SIG_DFL)
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def fast_convolutions_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take our ways of convolving for small networks and images too, Winograd's in strips."""
    from models.architectures.fast import cpu_convolutions, winograd

    monkeypatch.setattr(winograd, "FEWEST_CHANNELS", 1)
    monkeypatch.setattr(winograd, "FEWEST_TILES", 0)
    monkeypatch.setattr(winograd, "LEAST_USED", 0)
    monkeypatch.setattr(winograd, "MOST_TILES", 4)
    monkeypatch.setattr(cpu_convolutions, "FEWEST_CHANNELS", 1)
    monkeypatch.setattr(cpu_convolutions, "FEWEST_PIXELS", 0)
    monkeypatch.setattr(cpu_convolutions, "FEWEST_WEIGHTS", 0)
    monkeypatch.setattr(cpu_convolutions, "MOST_PLACES", 10**9)
