"""The marker of this folder's tests, and counts of what they tried."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.summary import SUMMARY
from util.base import rng

FOLDER = Path(__file__).resolve().parent

Count = Callable[..., None]


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder; pytest hands over those of all folders."""
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.reliability)


@pytest.fixture(scope="session")
def count(pytestconfig: pytest.Config) -> Count:
    """Return a function that adds to a counter by name: `count("stops tried")`."""
    counts = pytestconfig.stash[SUMMARY].counts

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
