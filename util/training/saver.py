"""Save all that a training run needs to go on, and bring it back.

A save is one set of files: the networks, and `<label>_state.pth` with everything else. The training
thread only copies tensors; a thread beside it writes them.
"""

import math
import re
import sys
from argparse import Namespace
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from util.base import rng, system
from util.base.commands import command
from util.base.errors import UserError, system_error
from util.base.log import say, warn
from util.base.new_options import new_option
from util.processes import group, launching
from util.processes.together import LAST_SAVE
from util.storage import checkpoint
from util.storage.checkpoint import CheckpointError
from util.storage.run_folder import RunFolder, is_numbered, option_for
from util.training.asked import Stateful, TrainedModel
from util.training.meters import LossMeter

FORMAT = 1
# numpy's float64 is a float, but not a safe one.
PLAIN: dict[type, Any] = {int: int.__int__, float: float.__float__, str: str.__str__}
NETWORK_FILE = re.compile(r"[^/\\\0]{1,200}")


class SaveError(UserError):
    """A checkpoint that could not be written."""


class Saver:
    """Write the saves of one run, in the background, one after the other.

    `parts` is what the run must remember beside the model and its losses, by name.

    Attributes:
        last_label: the newest save, by this process or the one it continues; of one that is being
            written still it is known after `wait` whether it became one.
        numbered: labels of the numbered saves that are this run's, so that what others left stays:
            earlier versions, which kept every state, and people.
    """

    def __init__(
        self, opt: Namespace, trained: TrainedModel, losses: LossMeter, parts: dict[str, Stateful]
    ) -> None:
        self.opt, self.trained, self.losses, self.parts = opt, trained, losses, parts
        self.folder = RunFolder(opt.checkpoints_dir, opt.name)
        self.last_label: str | None = None
        self.numbered: list[str] = []
        self.saves = 0  # that this process has begun
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="saver")
        self._running: Future[None] | None = None
        self._before: str | None = None  # the save before the one that is being written

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._thread.shutdown()  # finishes what is being written
        try:
            self.wait()
        except SaveError as failed:
            if error is None:
                raise
            warn(str(failed))

    def save(self, *labels: int | str) -> None:
        """Save under each label (`latest`, an epoch's number); returns when all is copied.

        Raises:
            SaveError: this save or the one before could not be written.
        """
        if not system.is_main_process():  # the first one saves for all
            self.trained.training_state()  # to which all contribute
            self._before, self.last_label = self.last_label, str(labels[0])
            self.saves += 1
            return
        self.wait()  # one copy in memory is enough
        try:
            files = {str(label): self.trained.save_networks(label) for label in labels}
            outdated = [path for label in labels for path in self.trained.outdated_files(label)]
        except OSError as error:  # from a plugin that writes by itself
            raise self._failure(error) from error
        new = [label for label in files if is_numbered(label) and label not in self.numbered]
        self.numbered += new
        state = {
            "format": FORMAT,
            "versions": {"python": sys.version.split()[0], "torch": str(torch.__version__)},
            "options": plain(vars(self.opt)),
            "numbered": self.numbered,
            "model": self.trained.training_state(),
            "random": rng.state_dict(),
            **self.losses.state_dict(),
            **{name: part.state_dict() for name, part in self.parts.items()},
        }
        self._running = self._thread.submit(self._write, files, snapshot(state), outdated)
        self._before, self.last_label = self.last_label, str(labels[0])
        self.saves += 1

    def check(self) -> None:
        """Raise the SaveError of a save that could not be written, if any; costs nothing."""
        if self._running is not None and self._running.done():
            self.wait()

    def wait(self) -> None:
        """Return when the save that was begun is on the disk, or raise its SaveError."""
        running, self._running = self._running, None
        try:
            if running is not None:
                running.result()
        except (OSError, RuntimeError) as error:  # torch's writer turns some OSErrors into these
            self.last_label = self._before
            raise self._failure(error) from error

    def roll_back(self) -> None:
        """Bring networks, optimisers and image pools back to the last save; time goes on.

        The random numbers and the order of the images stay where they are: the same steps again
        would end in the same way. Learning rates stay too, since they belong to the epoch.
        """
        assert self.last_label is not None
        self.wait()
        group.wait_for_all()  # for the first one, which writes
        state = read_state(self.folder, self.last_label)
        self.trained.load_networks(self.last_label)
        if state is not None:
            self.trained.load_training_state(state["model"], keep_rates=True)

    def how_to_continue(self) -> str:
        """Return a sentence with the command that goes on with this run."""
        if self.last_label is None:
            return "Nothing had been saved yet."
        return f"Continue with:\n  {command_to_continue(self.opt, self.last_label)}"

    def _write(
        self,
        files: Mapping[str, Mapping[Path, object]],
        state: dict[str, Any],
        outdated: Sequence[Path],
    ) -> None:
        written: dict[str, Path] = {}  # state files by what they say
        with checkpoint.FileSet() as save:
            for label, networks in files.items():
                for path, network in networks.items():
                    save.add(path, network)
                digests = {
                    self.folder.short_name(path, label): save.digest(path)
                    for path in networks
                    if path.parent == self.folder.path
                }
                path = self.folder.state_file(label)
                if str(digests) in written:
                    save.add_link(path, written[str(digests)])
                else:
                    save.add(path, state | {"networks": digests})
                    written[str(digests)] = path
        group.remember(LAST_SAVE, next(iter(files)))
        for path in outdated:
            path.unlink(missing_ok=True)
        for label in files:
            prune(self.folder, label, *kept_saves(self.opt), state["numbered"])

    def _failure(self, error: Exception) -> SaveError:
        cause = system_error(error)
        reason = str(error).split("\n")[0] if cause is None else cause.strerror
        whole = "" if self.last_label is None else "The save before it is whole. "
        return SaveError(
            f"The checkpoint could not be written to {self.folder}: {reason}. {whole}"
            f"Look at the space on the disk and your rights there. {self.how_to_continue()}"
        )


def read_state(folder: RunFolder, label: int | str) -> dict[str, Any] | None:
    """Read a training state; None if there are networks alone, or networks of another save."""
    path = folder.state_file(label)
    try:
        state = checkpoint.load_state(path)
    except CheckpointError:
        if path.exists():
            raise
        return None
    if not isinstance(state, dict) or not _are_digests(state.get("networks")):
        raise CheckpointError(f"{path} is no training state. Delete it to continue without it.")
    if state.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has the format {state.get('format')}, this version reads {FORMAT}. Continue "
            "with the version that wrote it, or delete it to continue with the networks alone."
        )
    known = state["networks"].items()
    if changed := [name for name, digest in known if digest != _digest(folder, label, name)]:
        say(
            f"{path} was saved with other networks than there are now ({', '.join(changed)}), so "
            "it is left alone."
        )
        return None
    return state


def _are_digests(networks: object) -> bool:
    """Tell whether these can be checksums by the names of files that lie beside the state."""
    return isinstance(networks, dict) and all(
        isinstance(name, str) and NETWORK_FILE.fullmatch(name) and isinstance(value, str)
        for name, value in networks.items()
    )


def _digest(folder: RunFolder, label: int | str, name: str) -> str | None:
    path = folder.file_of(label, name)
    with suppress(CheckpointError), checkpoint.open_save([path]) as files:
        return checkpoint.digest(files[path])
    return None


def kept_saves(opt: Namespace) -> tuple[float, float]:
    """Return how many numbered saves stay, and how many of these with their state."""
    states = new_option(opt, "keep_states")
    return new_option(opt, "keep_last") or math.inf, math.inf if states == "all" else int(states)


def prune(
    folder: RunFolder,
    label: str,
    keep: float,
    states: float = math.inf,
    written: Collection[str] = (),
) -> None:
    """Delete from the numbers below that of the save just written: `keep` saves are left.

    Only the newest `states` of them keep more than their networks, as far as the older ones were
    `written` by this run.
    """
    superfluous = {folder.state_file(each) for each in written}
    for number, files in enumerate(folder.saves_before(label), 2):
        for path in files:
            if number > keep or (number > states and path in superfluous):
                path.unlink(missing_ok=True)


def snapshot(value: Any, where: str = "") -> Any:
    """Copy a nest of containers; tensors are copied to the host's memory.

    Raises:
        UserError: there is something in it that could not be loaded safely again.
    """
    if isinstance(value, Tensor):
        return value.detach().as_subclass(Tensor).to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {
            snapshot(key, f"{where}, key {key!r}"): snapshot(item, f"{where}[{key!r}]")
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        items = [snapshot(item, f"{where}[{index}]") for index, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    if value is None or isinstance(value, bool):
        return value
    for plain_type, convert in PLAIN.items():
        if isinstance(value, plain_type):
            return convert(value)
    raise UserError(
        f"The training state cannot hold state{where}, a {type(value).__name__}: reading it could "
        "run code. Let extra_state() return tensors, numbers, strings, lists and dicts."
    )


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as plain values; what else a plugin made, as text."""

    def convert(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): convert(item) for key, item in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [convert(item) for item in value]
        return value if value is None or isinstance(value, str | int | float) else str(value)

    return {name: convert(value) for name, value in sorted(values.items())}


def command_to_continue(opt: Namespace, label: str) -> str:
    """Return the command line that goes on with a run."""
    save = {**option_for(label), "checkpoints_dir": opt.checkpoints_dir}
    options = {"name": opt.name, "continue_train": True, **save}
    return command("train.py", options, starter=launching.starter())
