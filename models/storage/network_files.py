"""Networks on disk: which files they have, writing and reading them, `--pretrained`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from models.architectures.describe import describe_generator
from models.storage.names import Model, names_in, networks_of
from util.base import system
from util.base.log import say
from util.base.plugins import own_method
from util.storage import checkpoint
from util.storage.run_folder import AVERAGE, RunFolder, label_of

# Where networks go instead of to the disk, while somebody collects them.
_collected: ContextVar[dict[Path, object] | None] = ContextVar("collected", default=None)


def default_files(model: Model, label: int | str) -> dict[str, Path]:
    """Return a file for each name in `model_names`: `<save_dir>/<label>_net_<name>.pth`."""
    folder = RunFolder(model.save_dir)
    return {name: folder.network_file(label, name) for name in names_in(model, "model_names")}


def files_of(model: Model, label: int | str) -> dict[str, Path]:
    """Return the files that belong to a label, as the model's `network_files` declares."""
    method = own_method(model, "network_files", arguments=1)
    declared: Any = None if method is None else method(label)
    if not isinstance(declared, Mapping) or not all(
        isinstance(name, str) and isinstance(file, str | Path) for name, file in declared.items()
    ):
        declared = {}
    return default_files(model, label) | {name: Path(file) for name, file in declared.items()}


@contextmanager
def collecting() -> Iterator[dict[Path, object]]:
    """Let `save` hand over what it would write: state dicts on the CPU, by file."""
    files: dict[Path, object] = {}
    before = _collected.set(files)
    try:
        yield files
    finally:
        _collected.reset(before)


def save(model: Model, label: int | str, more: Mapping[Path, object]) -> None:
    """Write every network to its file, as CPU tensors, and `more` state dicts to theirs."""
    files = files_of(model, label)
    states: dict[Path, object] = {
        files[name]: checkpoint.cpu_state_dict(net) for name, net in networks_of(model).items()
    }
    states |= more
    if (collected := _collected.get()) is not None:
        collected.update(states)
    elif system.is_main_process():  # it saves for all
        with checkpoint.FileSet() as save:
            for path, state in states.items():
                save.add(path, state)


def load(model: Model, label: int | str) -> None:
    """Read every network from its file; say what a network of another shape is."""
    files = files_of(model, label)
    networks = {files[name]: net for name, net in networks_of(model).items()}
    with checkpoint.open_save(list(networks)) as opened:
        for path, net in networks.items():
            say(f"loading the model from {path}")
            try:
                checkpoint.load_network(net, path, file=opened[path])
            except checkpoint.MismatchError as error:
                found = describe_generator(checkpoint.load_network_state(net, path))
                asked = describe_generator(net.state_dict())
                if found is None or asked is None:
                    raise
                raise checkpoint.MismatchError(
                    f"{error}\n  The checkpoint is {found}\n  The options ask for {asked}"
                ) from error


def load_pretrained(model: Model, source: str) -> None:
    """Fill the networks with what fits by name and shape, and say what does not.

    `source` is a run in `checkpoints_dir` or a folder of checkpoints, of which `--epoch` (or
    `--load_iter`) says which; or one `.pth` file, which goes into the network that its name ends
    with, else into the first one.
    """
    networks, path, runs = networks_of(model), Path(source), model.opt.checkpoints_dir
    label = label_of(model.opt.load_iter, model.opt.epoch)
    files: dict[str, Path | None]
    if path.is_file():
        by_length = sorted(networks, key=len, reverse=True)  # G_A before A
        stems = path.stem, path.stem.removesuffix(AVERAGE)  # a network may be called G_ema
        ends = (name for stem in stems for name in by_length if stem.endswith(f"net_{name}"))
        files = {next(ends, next(iter(networks))): path}
        if label != "latest":
            say(f"--pretrained {source} is one file: which epoch to take ({label}) means nothing.")
    elif folders := [folder for folder in (path, Path(runs, source)) if folder.is_dir()]:
        files = {name: _chosen(folders[0], label, name) for name in networks}
        if not any(files.values()):
            there = sorted(file.name for file in folders[0].glob("*.pth"))
            which = "" if label == "latest" else f" of {label}"
            raise checkpoint.CheckpointError(
                f"--pretrained {source}: {folders[0]} holds no checkpoint{which} of the networks "
                f"{', '.join(networks)}. It holds {', '.join(there) or 'no .pth file'}."
            )
    else:
        raise checkpoint.CheckpointError(
            f"--pretrained {source} is neither a file, nor a folder, nor a run in "
            f"{runs}. Give one of these."
        )
    for name, net in networks.items():
        if (file := files.get(name)) is None:
            say(f"--pretrained {source} has no network {name}: it starts fresh")
            continue
        left_out = checkpoint.load_what_fits(net, file)
        tensors = f"{len(left_out)} of {len(net.state_dict())} tensors"
        fitted = f"without {tensors}" if left_out else "all of it"
        say(f"network {name} starts from {file}, {fitted}")
        for line in left_out:
            say(f"  {line}")


def _chosen(folder: Path, label: str, network: str) -> Path | None:
    """Return the file of a label, if there is one; for want of `latest` the one written last."""
    run = RunFolder(folder)
    chosen = run.network_file(label, network)
    if chosen.is_file():
        return chosen
    others = run.network_files(network) if label == "latest" else []
    return max(others, key=lambda file: file.stat().st_mtime, default=None)
