"""Data and plugins for whole runs."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import data
import models
import util
from tests.support.commands import draw_pairs, draw_unpaired
from util.base import rng


@pytest.fixture(autouse=True)
def _own_world() -> Iterator[None]:
    """Take one thread, which small networks like best, and put global state back afterwards."""
    threads, state = torch.get_num_threads(), rng.state_dict()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    rng.load_state_dict(state)


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of pairs: 3 for training, 2 for testing."""
    root = tmp_path_factory.mktemp("pairs")
    draw_pairs(root, "train", 3)
    draw_pairs(root, "test", 2)
    return root


@pytest.fixture(scope="session")
def unpaired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two domains: 3 and 2 for training, 2 and 2 for testing."""
    root = tmp_path_factory.mktemp("unpaired")
    draw_unpaired(root, "train", 3, 2)
    draw_unpaired(root, "test", 2, 2)
    return root


@pytest.fixture
def add_plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Return a function that lets `models`, `data` and `util` find what is in a folder's.

    As if the files had been copied into the checkout; forgotten afterwards.
    """
    packages = {"models": models, "data": data, "util": util}
    loaded = set(sys.modules)
    added: list[Path] = []

    def add(folder: Path) -> None:
        added.append(folder)
        for name, package in packages.items():
            paths = [*package.__path__, str(folder / name)]
            monkeypatch.setattr(package, "__path__", paths)

    yield add
    for name in set(sys.modules) - loaded:
        is_plugin = name.startswith(("models.", "data.")) and name.endswith(("_model", "_dataset"))
        file = Path(getattr(sys.modules[name], "__file__", None) or "-")
        if is_plugin or any(file.is_relative_to(folder) for folder in added):
            del sys.modules[name]
            package, _, attribute = name.rpartition(".")
            if package in packages:
                vars(packages[package]).pop(attribute, None)
