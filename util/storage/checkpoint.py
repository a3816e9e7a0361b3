"""Checkpoint files: the only place that calls `torch.load` and `torch.save`.

Network files are what the reference writes: one plain state dict of CPU tensors for each network,
called `<epoch>_net_<Name>.pth`. What else a run needs to go on exactly stands beside them in
`<epoch>_state.pth`.
"""

import hashlib
import os
import pickle
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Self

import torch
from torch import Tensor, nn

from util.base.errors import UserError, suggest, writing
from util.storage import journal
from util.storage.files import fill_and_flush, temporary_name
from util.storage.run_folder import RunFolder

MOST_NAMED = 12  # files or saves, in a message


class CheckpointError(UserError):
    """A checkpoint that is missing, broken or made for another network."""


class MismatchError(CheckpointError):
    """A checkpoint made for another network."""


class FileSet:
    """Files that replace older ones together, at the end of a `with` block unless it fails.

    Together means those of one folder: a plugin that saves elsewhere as well has a set in each.
    """

    def __init__(self) -> None:
        self._temporaries: dict[Path, dict[Path, Path]] = defaultdict(dict)  # by folder
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with self._stack, journal.one_at_a_time:
            if error is not None:
                return
            for folder in self._temporaries:
                journal.recover(folder)  # before newer ones
            written = [journal.write_journal(files) for files in self._temporaries.values()]
            self._stack.pop_all()  # nothing to clear away: the journals know them
            for each in written:
                journal.replay(each)

    def add(self, path: Path, state: object) -> None:
        """Write a file under a temporary name."""
        with writing(path):
            fill_and_flush(self._new(path), lambda file: torch.save(state, file))  # noqa: TID251

    def add_link(self, path: Path, added: Path) -> None:
        """Let a file have the content of one that was added, without a copy where that works."""
        source, target = self._temporaries[added.parent][added], self._new(path)
        try:
            target.hardlink_to(source)
        except (OSError, NotImplementedError):  # not every disk knows links, nor every system
            with writing(path):
                shutil.copyfile(source, target)

    def digest(self, path: Path) -> str:
        """Return a checksum of a file that was added."""
        with self._temporaries[path.parent][path].open("rb") as file:
            return digest(file)

    def _new(self, path: Path) -> Path:
        if path.parent not in self._temporaries:
            # A killed process may have had our number, and so the name of our first file.
            journal.recover(path.parent)
        temporary = temporary_name(path)
        self._stack.callback(temporary.unlink, missing_ok=True)
        self._temporaries[path.parent][path] = temporary
        return temporary


def digest(file: BufferedReader) -> str:
    """Return a checksum of an open file."""
    return hashlib.file_digest(file, "sha256").hexdigest()


def load_state(path: str | Path, *, file: IO[bytes] | None = None) -> Any:
    """Read what this program or the reference wrote, onto the CPU; never runs code from the file.

    `file` is the file if it is open already, as for the functions below.

    Raises:
        CheckpointError: no such file, a truncated or foreign file, or one that would run code.
    """
    path = Path(path)
    if file is None:
        with open_save([path]) as files:
            return load_state(path, file=files[path])
    try:
        return torch.load(file, map_location="cpu", weights_only=True)  # noqa: TID251
    except Exception as error:  # whatever makes the reader of a damaged file fail
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        if isinstance(error, pickle.UnpicklingError):  # torch would advise to switch safety off
            reason = "it holds something else than tensors, which could run code"
        size = os.fstat(file.fileno()).st_size
        raise CheckpointError(
            f"{path} ({size} bytes) cannot be read as a checkpoint: {reason}. "
            "The file is incomplete, or not a plain state dict. Copy or download it again."
        ) from error


@contextmanager
def open_save(paths: Sequence[Path]) -> Iterator[dict[Path, BufferedReader]]:
    """Open files of one save, though a run may be replacing them; they must exist."""
    with ExitStack() as stack:
        try:
            files = stack.enter_context(journal.open_together(paths))
        except IsADirectoryError as error:
            raise CheckpointError(
                f"{error.filename} is no plain file, as a save must be. Move it away, or name "
                "another one with --epoch."
            ) from None
        except (FileNotFoundError, NotADirectoryError) as error:
            missing = Path(str(error.filename))
            raise CheckpointError(f"{missing} does not exist. {_neighbours(missing)}") from None
        yield files


def cpu_state_dict(net: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a network's state dict on the CPU."""
    state = net.state_dict()
    for key, live in state.items():
        state[key] = live.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
    return state


def load_state_dict(path: str | Path, *, file: IO[bytes] | None = None) -> Mapping[str, Tensor]:
    """Read a state dict, or the only one that other values stand around: `{"epoch", "state_dict"}`.

    Raises:
        CheckpointError: as `load_state`; or there is none, or several.
    """
    found = load_state(path, file=file)
    if _is_state_dict(found):
        return found
    inside = found if isinstance(found, Mapping) else {}
    inner = {key: value for key, value in inside.items() if _is_state_dict(value) and value}
    if len(inner) == 1:
        return next(iter(inner.values()))
    if inner:
        raise CheckpointError(
            f"{path} holds several state dicts, called {', '.join(map(str, inner))}: which one is "
            "meant is not clear. Save the one you need to a file of its own."
        )
    raise CheckpointError(f"{path} holds no state dict (tensors by name) but a {type(found)}.")


def _is_state_dict(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in value.items()
    )


def load_network_state(
    net: nn.Module, path: str | Path, *, file: IO[bytes] | None = None
) -> dict[str, Tensor]:
    """Read a state dict for `net` from a checkpoint file, one written long ago included."""
    state = load_state_dict(path, file=file)
    if not any(key.startswith("module.") for key in net.state_dict()):
        state = without_module_prefix(state)
    return without_old_instance_norm_keys(state, net)


def load_network(net: nn.Module, path: str | Path, *, file: IO[bytes] | None = None) -> None:
    """Fill a network from a checkpoint file; one for another network is a MismatchError."""
    state = load_network_state(net, path, file=file)
    if problems := list(mismatches(state, net.state_dict())):
        raise MismatchError(
            f"{path} does not fit the network that the options describe: "
            f"{'; '.join(problems[:3])}{'; ...' if len(problems) > 3 else ''}.\n"
            "  Give the options that it was trained with: --netG, --norm, --ngf, --input_nc, "
            "--output_nc, --no_dropout, for discriminators --netD, --ndf, --n_layers_D."
        )
    net.load_state_dict(state)


def load_what_fits(net: nn.Module, path: str | Path) -> list[str]:
    """Fill a network with what fits by name and shape; return a line for each name left out."""
    state, wanted = load_network_state(net, path), net.state_dict()
    fitting = {k: v for k, v in state.items() if k in wanted and v.shape == wanted[k].shape}
    net.load_state_dict({**wanted, **fitting})
    return list(mismatches(state, wanted))


def mismatches(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield in what a state dict differs from the `wanted` one, by names and shapes."""
    for key in wanted:
        if key not in state:
            # torch itself fills this counter in, which batch norm has since 0.4
            if not key.endswith("num_batches_tracked"):
                yield f"{key} is missing"
        elif state[key].shape != wanted[key].shape:
            found, needed = tuple(state[key].shape), tuple(wanted[key].shape)
            yield f"{key} has the shape {found} instead of {needed}"
    yield from (f"{key} is not wanted" for key in state if key not in wanted)


def without_module_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop the `module.` that DataParallel puts before every key."""
    prefix = "module." if all(key.startswith("module.") for key in state) else ""
    return {key.removeprefix(prefix): value for key, value in state.items()}


def without_old_instance_norm_keys(
    state: Mapping[str, Tensor], net: nn.Module
) -> dict[str, Tensor]:
    """Drop the running statistics that PyTorch before 0.4 saved for every instance norm."""
    left_over = {
        f"{path}.{name}".lstrip(".")
        for path, module in net.named_modules()
        if isinstance(module, nn.modules.instancenorm._InstanceNorm)
        for name in ("running_mean", "running_var", "num_batches_tracked")
        if getattr(module, name) is None
    }
    return {key: value for key, value in state.items() if key not in left_over}


def require_run(checkpoints_dir: str | Path, name: str) -> RunFolder:
    """Return the folder of a run; a CheckpointError says which runs there are instead."""
    run = RunFolder(checkpoints_dir, name)
    if not run.path.is_dir():
        raise CheckpointError(f"{run} does not exist. {_other_runs(Path(checkpoints_dir), name)}")
    return run


def require_save(checkpoints_dir: str | Path, name: str, label: str) -> None:
    """Raise a CheckpointError that says which saves there are, unless a run has this one."""
    run = require_run(checkpoints_dir, name)
    if not journal.exists(run.state_file(label)) and not run.has_files_of(label):
        raise CheckpointError(
            f"{run} has no save {label}: it has {_some(run.labels()) or 'none'}. Check --epoch "
            "(latest, best or a number) and --load_iter."
        )


def _neighbours(path: Path) -> str:
    """Say what could have been meant."""
    if not path.parent.is_dir():
        others = _other_runs(path.parent.parent, path.parent.name)
        return f"Nor does the folder {path.parent}. {others}"
    there = [file.name for file in RunFolder(path.parent).network_files()]
    if not there:
        return f"{path.parent} holds no checkpoint at all: check --checkpoints_dir and --name."
    return (
        f"{path.parent} holds {_some(there)}. Check --name, --epoch, --load_iter and "
        "--model_suffix."
    )


def _other_runs(checkpoints_dir: Path, name: str) -> str:
    patterns = ("*/*_net_*.pth", "*/*/*_net_*.pth")  # names may have a slash
    files = (file for pattern in patterns for file in checkpoints_dir.glob(pattern))
    runs = sorted({file.parent.relative_to(checkpoints_dir).as_posix() for file in files})
    if not runs:
        return f"{checkpoints_dir} holds no runs: check --checkpoints_dir and --name."
    return f"{suggest(name, runs)} Check --checkpoints_dir and --name."


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")
