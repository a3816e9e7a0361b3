"""Start from the networks of another run: `--pretrained`."""

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
    """Fill the networks with what fits by name and shape, and say what does not.

    `source` is a run in `checkpoints_dir`, a folder of checkpoints, or one `.pth` file, which goes
    into the network that its name ends with, else into the first one.
    """
    networks, path, runs = networks_of(model), Path(source), model.opt.checkpoints_dir
    files: dict[str, Path | None]
    if path.is_file():
        by_length = sorted(networks, key=len, reverse=True)  # G_A before A
        ends = (name for name in by_length if path.stem.endswith(f"net_{name}"))
        files = {next(ends, next(iter(networks))): path}
    elif folders := [folder for folder in (path, Path(runs, source)) if folder.is_dir()]:
        files = {name: _newest(folders[0], name) for name in networks}
        if not any(files.values()):
            there = sorted(file.name for file in folders[0].glob("*.pth"))
            raise CheckpointError(
                f"--pretrained {source}: {folders[0]} holds no checkpoint of the networks "
                f"{', '.join(networks)}. It holds {', '.join(there) or 'no .pth file'}."
            )
    else:
        raise CheckpointError(
            f"--pretrained {source} is neither a file, nor a folder, nor a run in "
            f"{runs}. Give one of these."
        )
    for name, net in networks.items():
        if (file := files.get(name)) is None:
            say(f"--pretrained {source} has no network {name}: it starts fresh")
            continue
        left_out = checkpoint.load_what_fits(net, file)
        fitted = "all of it" if not left_out else f"without {len(left_out)} tensors"
        say(f"network {name} starts from {file}, {fitted}")
        for line in left_out:
            say(f"  {line}")


def _newest(folder: Path, network: str) -> Path | None:
    """Return `latest` if there is one, else the file written last."""
    run = RunFolder(folder)
    latest = run.network_file("latest", network)
    if latest.is_file():
        return latest
    return max(run.network_files(network), key=lambda file: file.stat().st_mtime, default=None)
