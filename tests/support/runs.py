"""Small training runs that can be stopped anywhere, and the comparison of what they leave."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.commands import draw, draw_pairs, draw_unpaired, scene, script
from util.display.sinks.jsonl import continued, read_losses
from util.storage import checkpoint
from util.training.progress import Progress

# Small networks, but every kind of state: image pools in use, dropout, batch norm, identity loss.
MODELS: Mapping[str, list[str]] = {
    "cycle_gan": ["--model", "cycle_gan", "--netG", "resnet_6blocks", "--crop_size", "32",
                  "--load_size", "36", "--pool_size", "3"],
    "pix2pix": ["--model", "pix2pix", "--netG", "unet_128", "--crop_size", "128",
                "--load_size", "132"],
    "stargan_v2": ["--model", "stargan_v2", "--crop_size", "16", "--ngf", "1", "--ndf", "1",
                   "--batch_size", "1", "--total_steps", "0"],
    "colorization": ["--model", "colorization", "--netG", "resnet_6blocks", "--crop_size", "32",
                     "--load_size", "36"],
    "foo": ["--model", "foo", "--netG", "resnet_6blocks", "--crop_size", "32", "--load_size", "36",
            "--lr_policy", "plateau"],
}  # fmt: skip


IN_FOLDERS = {"stargan_v2": "domains"}  # models whose data lie in a folder of their own


def draw_data(root: Path) -> Path:
    """Draw 5 pairs, 5 + 4 unpaired images, and 5 in three domains."""
    draw_pairs(root, "train", 5)
    draw_unpaired(root, "train", 5, 4)
    for number, domain in enumerate(("cat", "cat", "dog", "dog", "wild")):
        draw(root / "domains" / "train" / domain / f"{number}.png", scene(number))
    return root


def command(root: Path, checkpoints: Path, model: str, *more: str) -> list[str]:
    """Return the command line of a run that saves often, in three epochs or `--total_steps`."""
    length = [] if "--total_steps" in more else ["--n_epochs", "1", "--n_epochs_decay", "2"]
    root = root / IN_FOLDERS.get(model, "")
    argv = ["--dataroot", str(root), "--name", "run", "--checkpoints_dir", str(checkpoints)]
    argv += ["--ngf", "2", "--ndf", "2", *MODELS[model], "--gpu_ids", "-1", "--display_id", "-1"]
    argv += ["--seed", "7", "--print_freq", "1", "--save_epoch_freq", "2", "--display_freq", "4"]
    return [*argv, *length, *more]


def run(argv: Sequence[str]) -> None:
    """Train to the end."""
    script("train", argv)


def run_until(argv: Sequence[str], step: int, number: int = signal.SIGTERM) -> bool:
    """Train until this process gets a signal during a step; False if it ended before."""
    status = None
    with signal_at(step, number):
        try:
            script("train", argv)
        except SystemExit as ended:
            status = ended.code
    assert status in (None, 128 + number)
    return status is not None


def resume(checkpoints: Path, *more: str) -> list[str]:
    """Return the command line that continues, which need not repeat a thing."""
    return ["--name", "run", "--checkpoints_dir", str(checkpoints), "--continue_train", *more]


@contextmanager
def signal_at(step: int, number: int) -> Iterator[None]:
    """Send this process a signal while the given step of training is under way."""
    with at_step(step, lambda: os.kill(os.getpid(), number)):
        yield


@contextmanager
def at_step(step: int, do: Callable[[], object]) -> Iterator[None]:
    """Do something while the given step of training is under way."""
    advance = Progress.advance

    def advance_and_do(self: Progress, *images: int) -> None:
        advance(self, *images)
        if self.step == step:
            do()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Progress, "advance", advance_and_do)
        yield


def outcome(folder: Path, label: str = "latest") -> dict[str, Any]:
    """Return everything that a run has left and that must not depend on interruptions."""
    state = checkpoint.load_state(folder / f"{label}_state.pth")
    for options in ("continue_train", "checkpoints_dir"):
        del state["options"][options]
    networks = {
        path.name: checkpoint.load_state(path) for path in sorted(folder.glob(f"{label}_net_*.pth"))
    }
    losses = [
        (record["epoch"], record["iters"], record["total_iters"], record["losses"])
        for record in continued(read_losses(folder / "losses.jsonl"))
    ]
    return {"state": state, "networks": networks, "losses": losses}


def differences(a: Any, b: Any, where: str = "") -> list[str]:
    """Return the places where two nests of containers differ by as little as a bit."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        same = a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
        return [] if same else [where]
    if isinstance(a, Mapping) and isinstance(b, Mapping) and list(a) == list(b):
        return [text for key in a for text in differences(a[key], b[key], f"{where}.{key}")]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        pairs = enumerate(zip(a, b, strict=True))
        return [text for i, (x, y) in pairs for text in differences(x, y, f"{where}[{i}]")]
    return [] if type(a) is type(b) and a == b else [f"{where}: {a!r} != {b!r}"]
