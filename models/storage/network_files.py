"""Networks on disk: which files they have, writing and reading them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.architectures.describe import describe_generator
from models.storage.names import names_in, networks_of
from util.base.log import say
from util.base.plugins import own_method
from util.storage import checkpoint
from util.storage.run_folder import RunFolder

if TYPE_CHECKING:
    from models.base_model import BaseModel

# Where networks go instead of to the disk, while somebody collects them.
_collected: ContextVar[dict[Path, object] | None] = ContextVar("collected", default=None)


def default_files(model: "BaseModel", label: int | str) -> dict[str, Path]:
    """Return a file for each name in `model_names`: `<save_dir>/<label>_net_<name>.pth`."""
    folder = RunFolder(model.save_dir)
    return {name: folder.network_file(label, name) for name in names_in(model, "model_names")}


def files_of(model: "BaseModel", label: int | str) -> dict[str, Path]:
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


def save(model: "BaseModel", label: int | str) -> None:
    """Write every network to its file, as CPU tensors."""
    files = files_of(model, label)
    states: dict[Path, object] = {
        files[name]: checkpoint.cpu_state_dict(net) for name, net in networks_of(model).items()
    }
    if (collected := _collected.get()) is None:
        checkpoint.save_set(states)
    else:
        collected.update(states)


def load(model: "BaseModel", label: int | str) -> None:
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
