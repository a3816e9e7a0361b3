"""Checkpoint files: the only place that calls `torch.load` and `torch.save`.

Network files are what the reference writes: one plain state dict of CPU tensors for each network,
called `<epoch>_net_<Name>.pth`.
"""

import pickle
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from util.errors import UserError
from util.files import write_file

OLD_INSTANCE_NORM_KEYS = ("running_mean", "running_var", "num_batches_tracked")


class CheckpointError(UserError):
    """A checkpoint that is missing, broken or made for another network."""


class MismatchError(CheckpointError):
    """A checkpoint made for another network."""


def save_state(state: object, path: str | Path) -> None:
    """Write `state` so that `path` is always either the old file or the whole new one."""
    write_file(path, lambda file: torch.save(state, file))  # noqa: TID251


def save_set(files: Mapping[Path, object]) -> None:
    """Write files that belong together (all networks of one save)."""
    for path, state in files.items():
        save_state(state, path)


def load_state(path: str | Path, device: torch.device | str = "cpu") -> Any:
    """Read what `save_state` or the reference wrote; never runs code that the file contains.

    Raises:
        CheckpointError: no such file, a truncated or foreign file, or one that would run code.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist. {_neighbours(path)}")
    try:
        return torch.load(path, map_location=device, weights_only=True)  # noqa: TID251
    except Exception as error:  # whatever makes the reader of a damaged file fail
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        if isinstance(error, pickle.UnpicklingError):  # torch would advise to switch safety off
            reason = "it holds something else than tensors, which could run code"
        raise CheckpointError(
            f"{path} ({path.stat().st_size} bytes) cannot be read as a checkpoint: {reason}. "
            "The file is incomplete, or not a plain state dict. Copy or download it again."
        ) from error


def cpu_state_dict(net: nn.Module) -> "OrderedDict[str, Tensor]":
    """Return a copy of a network's state dict on the CPU; the network itself is left alone."""
    live = net.state_dict()
    copy = OrderedDict(
        (key, value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format))
        for key, value in live.items()
    )
    copy._metadata = getattr(live, "_metadata", None)  # type: ignore[attr-defined]
    return copy


def load_network_state(net: nn.Module, path: str | Path) -> "OrderedDict[str, Tensor]":
    """Read a state dict for `net` from a checkpoint file, one written long ago included.

    Raises:
        CheckpointError: the file cannot be read, or holds no state dict.
    """
    state = load_state(path)
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path} holds no state dict (tensors by name) but a {type(state)}.")
    if not any(key.startswith("module.") for key in net.state_dict()):
        state = without_module_prefix(state)
    return without_old_instance_norm_keys(state, net)


def load_network(net: nn.Module, path: str | Path) -> None:
    """Fill a network from a checkpoint file.

    Raises:
        CheckpointError: the file cannot be read.
        MismatchError: it belongs to a network of another shape.
    """
    state = load_network_state(net, path)
    wanted = net.state_dict()
    if problems := list(_mismatches(state, wanted)):
        raise MismatchError(
            f"{path} does not fit the network that the options describe: "
            f"{'; '.join(problems[:3])}{'; ...' if len(problems) > 3 else ''}.\n"
            "  Give the options that it was trained with: --netG, --norm, --ngf, --input_nc, "
            "--output_nc, --no_dropout, for discriminators --netD, --ndf, --n_layers_D."
        )
    net.load_state_dict(state)


def load_what_fits(net: nn.Module, path: str | Path) -> list[str]:
    """Fill a network with the tensors of a checkpoint that have its names and shapes.

    Returns:
        One line for each name that was left out, on either side.
    """
    state, wanted = load_network_state(net, path), net.state_dict()
    fitting = {
        key: value
        for key, value in state.items()
        if key in wanted and value.shape == wanted[key].shape
    }
    net.load_state_dict({**wanted, **fitting})
    return list(_mismatches(state, wanted))


def _mismatches(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Iterator[str]:
    for key in wanted:
        if key not in state:
            # torch itself fills this counter in, which batch norm has since 0.4
            if not key.endswith("num_batches_tracked"):
                yield f"{key} is missing"
        elif state[key].shape != wanted[key].shape:
            shapes = (tuple(state[key].shape), tuple(wanted[key].shape))
            yield f"{key} has the shape {shapes[0]} instead of {shapes[1]}"
    yield from (f"{key} is not wanted" for key in state if key not in wanted)


def without_module_prefix(state: Mapping[str, Tensor]) -> "OrderedDict[str, Tensor]":
    """Drop the `module.` that DataParallel puts before every key."""
    if not state or not all(key.startswith("module.") for key in state):
        return OrderedDict(state)
    return OrderedDict((key.removeprefix("module."), value) for key, value in state.items())


def without_old_instance_norm_keys(
    state: Mapping[str, Tensor], net: nn.Module
) -> "OrderedDict[str, Tensor]":
    """Drop the running statistics that PyTorch before 0.4 saved for every instance norm."""
    modules = dict(net.named_modules())

    def is_left_over(key: str) -> bool:
        owner, _, name = key.rpartition(".")
        module = modules.get(owner)
        return (
            name in OLD_INSTANCE_NORM_KEYS
            and isinstance(module, nn.modules.instancenorm._InstanceNorm)
            and getattr(module, name) is None
        )

    return OrderedDict((key, value) for key, value in state.items() if not is_left_over(key))


def _neighbours(path: Path) -> str:
    """Say what could have been meant: the checkpoints that lie in the same folder."""
    if not path.parent.is_dir():
        return f"Nor does the folder {path.parent}: check --checkpoints_dir and --name."
    there = sorted(file.name for file in path.parent.glob("*_net_*.pth"))
    if not there:
        return f"{path.parent} holds no checkpoint at all: check --checkpoints_dir and --name."
    shown = ", ".join(there[:12]) + (", ..." if len(there) > 12 else "")
    return f"{path.parent} holds {shown}. Check --name, --epoch, --load_iter and --model_suffix."
