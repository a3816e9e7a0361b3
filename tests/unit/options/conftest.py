"""What the tests of `options` share."""

import importlib
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import data
import models
from options.base_options import BaseOptions
from options.test_options import TestOptions
from options.train_options import TrainOptions

PACKAGES = {"model": models, "dataset": data}


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep default folders out of the checkout, and GPUs out of the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


class Parse:
    """Parse command lines; `--dataroot` and `--checkpoints_dir` are added."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def _arguments(self, argv: tuple[str, ...]) -> list[str]:
        return ["--dataroot", "X", "--checkpoints_dir", str(self.folder), *argv]

    def train(self, *argv: str) -> Namespace:
        return TrainOptions().parse(self._arguments(argv))

    def test(self, *argv: str) -> Namespace:
        return TestOptions().parse(self._arguments(argv))

    def refused(self, *argv: str, options: Callable[[], BaseOptions] = TrainOptions) -> str:
        """Return what is said on standard error; nothing may have been written."""
        before = sorted(self.folder.rglob("*"))
        with pytest.raises(SystemExit) as caught:
            options().parse(self._arguments(argv))
        assert caught.value.code == 2
        assert sorted(self.folder.rglob("*")) == before
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        return captured.err


@pytest.fixture
def parse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Parse:
    return Parse(tmp_path / "checkpoints", capsys)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Return a function (name, source) that adds `NAME_model.py` or `NAME_dataset.py`."""
    added: list[tuple[str, str]] = []
    # What is compiled may be taken for that of the next file of this name: as long, as old.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for kind, package in PACKAGES.items():
        (tmp_path / kind).mkdir()
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / kind)])

    def add(name: str, source: str) -> None:
        kind = name.rpartition("_")[2]
        (tmp_path / kind / f"{name}.py").write_text(source)
        sys.modules.pop(f"{PACKAGES[kind].__name__}.{name}", None)  # one of this name before
        importlib.invalidate_caches()
        added.append((kind, name))

    yield add
    for kind, name in added:
        sys.modules.pop(f"{PACKAGES[kind].__name__}.{name}", None)
        vars(PACKAGES[kind]).pop(name, None)
