"""The marker of this folder's tests, and a table of how much they tried."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from util import rng

FOLDER = Path(__file__).resolve().parent
COUNTS = pytest.StashKey[Counter[str]]()

Count = Callable[..., None]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COUNTS] = Counter()


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder; pytest hands over those of all folders."""
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.reliability)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what was counted."""
    counts = config.stash[COUNTS]
    if not counts:
        return
    terminalreporter.write_sep("=", "reliability")
    for name, number in sorted(counts.items()):
        terminalreporter.write_line(f"{number:>9,}  {name}")


@pytest.fixture(scope="session")
def count(pytestconfig: pytest.Config) -> Count:
    """Return a function that adds to a counter by name: `count("stops tried")`."""
    counts = pytestconfig.stash[COUNTS]

    def add(name: str, n: int = 1) -> None:
        counts[name] += n

    return add


@pytest.fixture(autouse=True)
def _own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a folder of the test's own, on one thread; put global state back afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    threads, state = torch.get_num_threads(), rng.state_dict()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    rng.load_state_dict(state)
