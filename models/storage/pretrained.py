"""Start from the networks of another run: `--pretrained`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.storage.names import networks_of
from util.base.log import say
from util.storage import checkpoint
from util.storage.checkpoint import CheckpointError
from util.storage.run_folder import RunFolder

if TYPE_CHECKING:
    from models.base_model import BaseModel


def load_pretrained(model: "BaseModel", source: str) -> None:
    """Take what fits by name and shape, and say what does not.

    Args:
        model: its networks are filled.
        source: a run in `checkpoints_dir`, a folder of checkpoints, or one `.pth` file, which
            goes into the network that its name ends with, else into the first one.

    Raises:
        CheckpointError: there is nothing of that name, or it cannot be read.
    """
    networks = networks_of(model)
    for name, file in find_pretrained(source, model.opt.checkpoints_dir, list(networks)):
        if file is None:
            say(f"--pretrained {source} has no network {name}: it starts fresh")
            continue
        left_out = checkpoint.load_what_fits(networks[name], file)
        fitted = "all of it" if not left_out else f"without {len(left_out)} tensors"
        say(f"network {name} starts from {file}, {fitted}")
        for line in left_out:
            say(f"  {line}")


def find_pretrained(
    source: str, checkpoints_dir: str, networks: Sequence[str]
) -> Iterator[tuple[str, Path | None]]:
    """Yield each network's name and the file it starts from, None if there is none for it.

    Args:
        source: a run in `checkpoints_dir`, a folder, or one `.pth` file.
        checkpoints_dir: where runs are saved.
        networks: the names of the model's networks.

    Raises:
        CheckpointError: there is no such run, folder or file, or nothing in it fits by name.
    """
    path = Path(source)
    if path.is_file():
        target = _network_of(path, networks)
        yield from ((name, path if name == target else None) for name in networks)
        return
    folders = [folder for folder in (path, Path(checkpoints_dir, source)) if folder.is_dir()]
    if not folders:
        raise CheckpointError(
            f"--pretrained {source} is neither a file, nor a folder, nor a run in "
            f"{checkpoints_dir}. Give one of these."
        )
    found = {name: _newest(folders[0], name) for name in networks}
    if not any(found.values()):
        there = sorted(file.name for file in folders[0].glob("*.pth"))
        raise CheckpointError(
            f"--pretrained {source}: {folders[0]} holds no checkpoint of the networks "
            f"{', '.join(networks)}. It holds {', '.join(there) or 'no .pth file'}."
        )
    yield from found.items()


def _network_of(file: Path, networks: Sequence[str]) -> str:
    """Tell by a file's name which network it is; by default the first one, a generator."""
    by_length = sorted(networks, key=len, reverse=True)  # G_A before A
    return next((name for name in by_length if file.stem.endswith(f"net_{name}")), networks[0])


def _newest(folder: Path, network: str) -> Path | None:
    """Return `latest` if there is one, else the file written last."""
    run = RunFolder(folder)
    latest = run.network_file("latest", network)
    if latest.is_file():
        return latest
    return max(run.network_files(network), key=lambda file: file.stat().st_mtime, default=None)
