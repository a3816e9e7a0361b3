"""Saves: all that a run needs, copied at once, written in the background, pruned, taken back."""

import errno
import os
import re
import shlex
import threading
from argparse import Namespace
from collections.abc import Iterator, Mapping
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from options.train_options import TrainOptions
from tests.support.checkpoints import save_set, save_state
from tests.support.corpus import NAMES
from util.base.errors import UserError
from util.storage import checkpoint, files, journal
from util.storage.checkpoint import CheckpointError
from util.storage.run_folder import RunFolder
from util.training.meters import LossMeter
from util.training.progress import Progress
from util.training.saver import (
    FORMAT,
    SaveError,
    Saver,
    command_to_continue,
    plain,
    prune,
    read_state,
    snapshot,
)


class Part:
    """Something that has a state."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = state


class FakeModel:
    """Two networks of one tensor each, and the other parts of its run."""

    def __init__(self, folder: Path) -> None:
        self.model = self
        self.folder = folder
        self.networks = {"G": torch.zeros(3), "D": torch.zeros(3)}
        self.state: dict[str, Any] = {"moments": torch.zeros(2)}
        self.loaded: list[Any] = []
        self.progress, self.losses, self.reporter = Progress(), LossMeter(), Part()

    def save_networks(self, label: int | str) -> dict[Path, object]:
        return {
            self.folder / f"{label}_net_{name}.pth": {"w": tensor.clone()}
            for name, tensor in self.networks.items()
        }

    def outdated_files(self, label: int | str) -> list[Path]:
        return []

    def load_networks(self, label: int | str) -> None:
        for name in self.networks:
            path = self.folder / f"{label}_net_{name}.pth"
            self.networks[name] = checkpoint.load_state(path)["w"]

    def training_state(self) -> dict[str, Any]:
        return self.state

    def load_training_state(self, state: Mapping[str, Any], *, keep_rates: bool = False) -> None:
        self.loaded.append(keep_rates)
        self.state = dict(state)

    def update_learning_rate(self) -> None:
        raise AssertionError("no epoch ends here")

    def fill(self, number: float) -> None:
        """Let one more step of training pass, in place."""
        for tensor in self.networks.values():
            tensor.fill_(number)
        self.state["moments"].fill_(number)


def options(folder: Path, **changed: Any) -> Namespace:
    values = {"checkpoints_dir": str(folder.parent), "name": folder.name, "keep_last": 0, "lr": 0.1}
    return Namespace(**{**values, **changed})


def new_saver(folder: Path, **changed: Any) -> Saver:
    opt = options(folder, **changed)
    model: Any = FakeModel(folder)
    parts = {"data": Part(), "progress": model.progress, "visualizer": model.reporter}
    return Saver(opt, model, model.losses, parts)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def made(folder: Path) -> Iterator[Saver]:
    made = new_saver(folder)
    yield made
    made._thread.shutdown()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def of_label(label: str) -> list[str]:
    return [f"{label}_net_D.pth", f"{label}_net_G.pth", f"{label}_state.pth"]


def model_of(made: Saver) -> FakeModel:
    assert isinstance(made.trained, FakeModel)
    return made.trained


# ---- what is written ----------------------------------------------------------------------------


def test_a_save_holds_the_networks_and_all_states(folder: Path, made: Saver) -> None:
    model_of(made).fill(3)
    model_of(made).progress.advance(4)
    model_of(made).reporter.load_state_dict({"saved": True})
    model_of(made).losses.add(["G"], torch.tensor([2.5]))
    with made:
        made.save("latest", 7)
    assert names(folder) == [*of_label("7"), *of_label("latest")]
    for label in ("latest", 7):
        assert checkpoint.load_state(folder / f"{label}_net_G.pth")["w"].tolist() == [3, 3, 3]
        state = read_state(RunFolder(folder), label)
        assert state is not None
        assert state["progress"]["total_images"] == 4
        assert state["visualizer"] == {"saved": True}
        assert float(state["epoch_loss"]["sum"]) == 2.5
        assert torch.equal(state["model"]["moments"], torch.full((2,), 3.0))
        assert set(state) >= {"random", "data", "versions", "options"}


def test_a_state_that_serves_two_labels_is_on_the_disk_once(folder: Path, made: Saver) -> None:
    with made:
        made.save("latest", 7)
    first, second = ((folder / f"{label}_state.pth").stat() for label in ("latest", 7))
    assert first.st_ino == second.st_ino
    with new_saver(folder) as other:
        other.save("latest")
    assert (folder / "7_state.pth").stat().st_ino == second.st_ino


def test_a_disk_without_links_gets_copies(
    folder: Path, made: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: Path) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    with made:
        made.save("latest", 7)
    assert read_state(RunFolder(folder), 7) is not None
    assert (folder / "7_state.pth").read_bytes() == (folder / "latest_state.pth").read_bytes()


class Gate:
    """Keeps files from being written until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        self.fill = files.fill_and_flush
        self.error: Exception | None = None
        monkeypatch.setattr(checkpoint, "fill_and_flush", self.wait)

    def wait(self, *arguments: Any) -> None:
        self.reached.set()
        assert self.opened.wait(60)
        if self.error is not None:
            raise self.error
        self.fill(*arguments)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.opened.set()


def test_what_training_changes_after_save_is_not_in_it(
    folder: Path, made: Saver, gate: Gate
) -> None:
    model_of(made).fill(1)
    model_of(made).progress.advance(1)
    made.save("latest")
    assert gate.reached.wait(60)
    model_of(made).fill(2)
    model_of(made).progress.advance(1)
    gate.opened.set()
    made.wait()
    state = read_state(RunFolder(folder), "latest")
    assert state is not None
    assert state["progress"]["total_images"] == 1
    assert state["model"]["moments"].tolist() == [1, 1]
    assert checkpoint.load_state(folder / "latest_net_G.pth")["w"].tolist() == [1, 1, 1]


def test_check_waits_for_nothing(folder: Path, made: Saver, gate: Gate) -> None:
    made.check()
    made.save("latest")
    made.check()
    assert names(folder) == []
    gate.opened.set()
    made.wait()
    made.check()
    assert names(folder) == of_label("latest")


def test_a_plugin_that_writes_its_networks_itself_gets_a_state(folder: Path, made: Saver) -> None:
    def save_networks(label: int | str) -> dict[Path, object]:
        save_state({"w": torch.ones(1)}, folder / f"{label}_net_X.pth")
        return {}

    made.trained.save_networks = save_networks
    with made:
        made.save("latest", 1)
    assert names(folder) == ["1_net_X.pth", "1_state.pth", "latest_net_X.pth", "latest_state.pth"]
    assert read_state(RunFolder(folder), "latest") is not None


def test_a_plugin_that_keeps_its_networks_elsewhere_gets_a_state(
    folder: Path, tmp_path: Path
) -> None:
    made = new_saver(folder)
    model_of(made).folder = tmp_path / "weights"
    (tmp_path / "weights").mkdir()
    with made:
        made.save("latest")
    assert names(folder) == ["latest_state.pth"]
    assert names(tmp_path / "weights") == of_label("latest")[:2]
    assert read_state(RunFolder(folder), "latest") is not None


# ---- what goes wrong ----------------------------------------------------------------------------

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail(gate: Gate, error: Exception) -> None:
    gate.error = error
    gate.opened.set()


def test_a_save_that_fails_is_told_by_whoever_asks_next(
    folder: Path, made: Saver, gate: Gate
) -> None:
    fail(gate, FULL)
    for ask in (made.wait, lambda: made.save("latest")):
        made.save("latest")
        with pytest.raises(SaveError, match="No space left on device") as caught:
            ask()
        assert str(folder) in str(caught.value)
        made.check()  # it is said once
    assert names(folder) == []


def test_check_tells_it_as_soon_as_it_is_known(made: Saver, gate: Gate) -> None:
    fail(gate, FULL)
    made.save("latest")
    assert made._running is not None
    made._running.exception(60)
    with pytest.raises(SaveError):
        made.check()


def test_the_end_of_training_waits_for_the_last_save_and_tells(made: Saver, gate: Gate) -> None:
    def train() -> None:
        with made:
            made.save("latest")
            fail(gate, FULL)

    with pytest.raises(SaveError):
        train()


def test_an_error_of_training_is_not_hidden_by_one_of_the_save(
    made: Saver, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    def train() -> None:
        with made:
            made.save("latest")
            fail(gate, FULL)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()
    assert "No space left on device" in capsys.readouterr().err
    assert "Nothing had been saved" in made.how_to_continue()


def test_an_error_of_training_lets_the_save_be_finished(
    folder: Path, made: Saver, gate: Gate
) -> None:
    def train() -> None:
        with made:
            made.save("latest")
            gate.opened.set()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()
    assert read_state(RunFolder(folder), "latest") is not None


def test_a_first_save_that_fails_promises_nothing(made: Saver, gate: Gate) -> None:
    fail(gate, FULL)
    made.save("latest")
    with pytest.raises(SaveError, match="Nothing had been saved yet") as caught:
        made.wait()
    assert "whole" not in str(caught.value)
    assert "--continue_train" not in str(caught.value)
    assert made.last_label is None


def test_a_later_save_that_fails_leads_back_to_the_one_before(
    folder: Path, made: Saver, gate: Gate
) -> None:
    gate.opened.set()
    made.save("iter_100")
    made.wait()
    before = {path: path.read_bytes() for path in folder.iterdir()}
    gate.error = FULL
    made.save("iter_200")
    with pytest.raises(SaveError, match="The save before it is whole") as caught:
        made.wait()
    assert "--continue_train --load_iter 100 " in str(caught.value)
    assert made.how_to_continue() in str(caught.value)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_the_systems_reason_is_told_though_the_writer_complains_later(
    made: Saver, gate: Gate
) -> None:
    """torch's writer closes the file it could not write, and complains about that."""
    error = RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 64 vs 0\n...")
    error.__context__ = FULL
    fail(gate, error)
    made.save("latest")
    with pytest.raises(SaveError, match="No space left on device") as caught:
        made.wait()
    assert "enforce" not in str(caught.value)


def test_a_writer_that_knows_no_reason_is_quoted(made: Saver, gate: Gate) -> None:
    fail(gate, RuntimeError("PytorchStreamWriter failed\nframe #0: ..."))
    made.save("latest")
    with pytest.raises(SaveError, match=r": PytorchStreamWriter failed\. "):
        made.wait()


def test_a_folder_that_is_gone_is_an_error(folder: Path, made: Saver) -> None:
    folder.rmdir()
    made.save("latest")
    with pytest.raises(SaveError, match="No such file or directory"):
        made.wait()


def test_networks_that_a_plugin_cannot_write_are_an_error_too(made: Saver) -> None:
    def save_networks(label: int | str) -> dict[Path, object]:
        raise FULL

    made.trained.save_networks = save_networks
    with pytest.raises(SaveError, match="No space left on device"):
        made.save("latest")


# ---- what a state can hold ----------------------------------------------------------------------

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.lists(st.floats(-9, 9), max_size=3).map(torch.tensor),
    st.floats(-9, 9).map(np.float64),
    st.text(max_size=3).map(np.str_),
)
KEYS = st.one_of(st.text(max_size=3), st.integers(-3, 3), st.text(max_size=3).map(np.str_))
NESTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=3),
        st.tuples(inner, inner),
    ),
    max_leaves=8,
)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, Mapping):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


@given(nest=NESTS)
def test_whatever_a_snapshot_takes_is_read_safely(
    nest: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "snapshot.pth"
    save_state(snapshot(nest), path)
    assert same(nest, checkpoint.load_state(path))  # with weights_only=True


def test_a_snapshot_shares_no_memory() -> None:
    tensor = torch.ones(3)
    inner = [tensor]
    copy = snapshot({"a": {"b": inner}, "view": tensor[:2]})
    tensor.fill_(7)
    inner.append(tensor)
    assert [item.tolist() for item in copy["a"]["b"]] == [[1, 1, 1]]
    assert copy["view"].tolist() == [1, 1]


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Marked(Tensor):
    """A tensor of a kind of its own, as torchvision has."""


@pytest.mark.parametrize(
    ("value", "expected"),
    [(Colour.RED, "red"), (Level.HIGH, 3), (np.str_("x"), "x"), (np.float64(2), 2.0)],
)
def test_values_of_derived_types_become_plain(value: Any, expected: Any) -> None:
    for found in (snapshot(value), *snapshot({value: 0})):
        assert found == expected
        assert type(found) is type(expected)


def test_tensors_of_derived_types_become_plain() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    for tensor in (parameter, torch.ones(2).as_subclass(Marked)):
        found = snapshot([tensor])[0]
        assert type(found) is Tensor
        assert not found.requires_grad


@pytest.mark.parametrize(
    "value",
    [np.ones(2), np.bool_(True), np.int64(3), {1, 2}, object(), 1j, b"x", len, slice(3)],
    ids=lambda value: type(value).__name__,
)
def test_what_could_not_be_read_safely_is_named_with_its_place(
    value: Any, made: Saver, folder: Path
) -> None:
    model_of(made).state = {"extra": {"centres": [0, value]}}
    with pytest.raises(
        UserError, match=re.escape("state['model']['extra']['centres'][1]")
    ) as error:
        made.save("latest")
    assert type(value).__name__ in str(error.value)
    assert "extra_state()" in str(error.value)
    assert names(folder) == []


def test_a_key_that_could_not_be_read_safely_is_named(made: Saver) -> None:
    model_of(made).state = {"extra": {np.int64(3): "x"}}
    with pytest.raises(UserError, match=r"state\['model'\]\['extra'\], key .*3.*, a int64"):
        made.save("latest")


def test_options_are_kept_as_plain_values() -> None:
    found = plain({"path": Path("a"), "ids": (0, 1), "none": None, "x": 1.5, "on": True, "f": len,
                   "ours": {"lr_G": None, 3: (4,)}})  # fmt: skip
    assert found == {
        "path": "a", "ids": [0, 1], "none": None, "x": 1.5, "on": True, "f": str(len),
        "ours": {"lr_G": None, "3": [4]},
    }  # fmt: skip
    assert list(found) == sorted(found)
    snapshot(found)


# ---- reading it back ----------------------------------------------------------------------------


def test_networks_alone_have_no_state(folder: Path) -> None:
    save_state({"w": torch.ones(1)}, folder / "latest_net_G.pth")
    assert read_state(RunFolder(folder), "latest") is None


def test_a_state_of_other_networks_is_left_alone_and_said(
    folder: Path, made: Saver, capsys: pytest.CaptureFixture[str]
) -> None:
    with made:
        made.save("latest")
    assert read_state(RunFolder(folder), "latest") is not None
    assert capsys.readouterr().out == ""
    save_state({"w": torch.ones(3)}, folder / "latest_net_G.pth")
    assert read_state(RunFolder(folder), "latest") is None
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "latest_state.pth" in said
    assert "net_G.pth" in said
    assert "net_D" not in said
    (folder / "latest_net_D.pth").unlink()
    assert read_state(RunFolder(folder), "latest") is None


def test_a_state_is_found_though_its_save_was_interrupted(
    folder: Path, made: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(journal: Path) -> None:
        raise OSError(errno.EIO, "cut")

    monkeypatch.setattr(journal, "replay", stop)
    made.save("latest")
    with pytest.raises(SaveError):
        made.wait()
    assert "latest_state.pth" not in names(folder)
    assert read_state(RunFolder(folder), "latest") is not None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"networks": {}, "format": FORMAT + 1}, "Continue with the version that wrote it"),
        ({"format": FORMAT}, "is no training state"),
        ([1, 2], "is no training state"),
        (None, "cannot be read"),
    ],
)
def test_a_state_that_cannot_be_used_is_an_error(
    folder: Path, content: object, message: str
) -> None:
    path = folder / "latest_state.pth"
    save_state(content, path)
    if content is None:
        path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match=message) as caught:
        read_state(RunFolder(folder), "latest")
    assert str(path) in str(caught.value)


def test_rolling_back_restores_the_last_save_and_keeps_the_rates(folder: Path, made: Saver) -> None:
    assert made.last_label is None
    model = model_of(made)
    for number, label in ((1, "latest"), (2, 5), (3, "latest")):
        model.fill(number)
        made.save(label)
    model.fill(float("nan"))
    assert made.last_label is not None
    made.roll_back()
    assert model.networks["G"].tolist() == [3, 3, 3]
    assert model.state["moments"].tolist() == [3, 3]
    assert model.loaded == [True]
    made.last_label = "5"
    made.roll_back()
    assert model.networks["D"].tolist() == [2, 2, 2]


def test_rolling_back_to_networks_alone_takes_these(folder: Path, made: Saver) -> None:
    model_of(made).fill(4)
    save_set(model_of(made).save_networks("latest"))
    made.last_label = "latest"
    model_of(made).fill(float("nan"))
    made.roll_back()
    assert model_of(made).networks["G"].tolist() == [4, 4, 4]
    assert model_of(made).loaded == []


# ---- --keep_last --------------------------------------------------------------------------------


@given(
    epochs=st.lists(st.integers(1, 300), min_size=1, max_size=8, unique=True).map(sorted),
    keep=st.integers(1, 4),
)
def test_the_newest_epochs_are_kept_and_nothing_else_is_touched(
    epochs: list[int], keep: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("pruned")
    others = [*of_label("latest"), *of_label("best"), "999_net_G.pth", "web", "loss_log.txt"]
    others += ["3_net_G.pth.bak", "x3_net_G.pth", "iter_1_net_G.pth", "iter_1_state.pth", ".lock"]
    for name in others:
        (folder / name).touch()
    for epoch in epochs:
        for name in of_label(str(epoch)):
            (folder / name).touch()
        prune(RunFolder(folder), str(epoch), keep)
        prune(RunFolder(folder), "latest", keep)
    kept = [name for epoch in epochs[-keep:] for name in of_label(str(epoch))]
    assert names(folder) == sorted([*others, *kept])


def test_saves_by_iteration_are_pruned_among_themselves(folder: Path) -> None:
    for label in ("iter_5", "iter_10", "iter_20", "5", "10", "20"):
        for name in of_label(label):
            (folder / name).touch()
    prune(RunFolder(folder), "iter_20", 2)
    left = [name for label in ("5", "10", "20", "iter_10", "iter_20") for name in of_label(label)]
    assert names(folder) == sorted(left)


def test_continued_in_the_middle_later_epochs_stay(folder: Path) -> None:
    for epoch in (1, 2, 3, 9):
        (folder / f"{epoch}_net_G.pth").touch()
    prune(RunFolder(folder), "3", 1)
    assert names(folder) == ["3_net_G.pth", "9_net_G.pth"]


@pytest.mark.parametrize("keep", [0, 2])
def test_saving_prunes_after_the_new_one_is_whole(folder: Path, keep: int) -> None:
    with new_saver(folder, keep_last=keep, keep_states="all") as made:
        for epoch in range(1, 6):
            made.save("latest", epoch)
            made.wait()
    kept = range(1, 6)[-keep:] if keep else range(1, 6)
    expected = [name for epoch in kept for name in of_label(str(epoch))]
    assert names(folder) == sorted([*expected, *of_label("latest")])
    assert read_state(RunFolder(folder), "5") is not None


def test_saving_leaves_older_numbers_their_networks_alone(folder: Path) -> None:
    with new_saver(folder) as made:
        for epoch in range(1, 6):
            made.save("latest", epoch)
            made.wait()
    states = [name for name in names(folder) if "state" in name]
    assert states == ["4_state.pth", "5_state.pth", "latest_state.pth"]
    assert len(names(folder)) == 6 * 2 + 3


def test_a_save_that_fails_prunes_nothing(
    folder: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = new_saver(folder, keep_last=1)
    gate.opened.set()
    made.save("latest", 1)
    made.wait()
    gate.error = FULL
    made.save("latest", 2)
    with pytest.raises(SaveError):
        made.wait()
    assert names(folder) == [*of_label("1"), *of_label("latest")]
    made._thread.shutdown()


# ---- how to continue ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NAMES if len(name) < 100])
@pytest.mark.parametrize(
    ("label", "expected"),
    [("latest", ("latest", 0)), ("12", ("12", 0)), ("iter_300", ("latest", 300))],
)
def test_the_command_continues_that_run(
    name: str, label: str, expected: tuple[str, int], tmp_path: Path
) -> None:
    for folder in ("./checkpoints", str(tmp_path), "-odd folder"):
        opt = Namespace(name=name, checkpoints_dir=folder)
        words = shlex.split(command_to_continue(opt, label))
        assert words[:2] == ["python", "train.py"]
        parsed = TrainOptions().gather_options([*words[2:], "--dataroot", "x"])
        assert parsed.continue_train
        assert (parsed.name, parsed.checkpoints_dir) == (name, folder)
        assert (parsed.epoch, parsed.load_iter) == expected


def test_without_a_save_there_is_nothing_to_continue(made: Saver) -> None:
    assert made.how_to_continue() == "Nothing had been saved yet."
