"""Small helpers that plugins and forks import by these names."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Image  # for other people's code
from torch import nn

from util.base import rng
from util.base.log import say
from util.base.new_options import DEFAULTS
from util.base.system import claim_device, is_launched, processes_here
from util.images.ranges import tensor2im as tensor2im
from util.images.writing import save_image as save_image
from util.processes import group


def diagnose_network(net: nn.Module, name: str = "network") -> None:
    """Print the mean absolute gradient over a network's parameters."""
    means = [p.grad.abs().mean() for p in net.parameters() if p.grad is not None]
    say(name)
    say(str(float(torch.stack(means).mean()) if means else 0.0))


def print_numpy(x: NDArray[Any], val: bool = True, shp: bool = False) -> None:
    """Print the statistics of an array, its shape if `shp`, its values' if `val`."""
    x = x.astype(np.float64)
    if shp:
        say(f"shape, {x.shape}")
    if val:
        say(
            f"mean = {x.mean():3.3f}, min = {x.min():3.3f}, max = {x.max():3.3f}, "
            f"median = {np.median(x):3.3f}, std={x.std():3.3f}"
        )


def mkdirs(paths: str | Path | Iterable[str | Path]) -> None:
    """Create one folder or several, with their parents, unless they exist."""
    for path in [paths] if isinstance(paths, str | Path) else paths:
        os.makedirs(path, exist_ok=True)


def mkdir(path: str | Path) -> None:
    """Create a folder, with its parents, unless it exists."""
    mkdirs(path)


def init_ddp() -> torch.device:
    """Return where to train; scripts for the original of 2025 ask.

    Started by torchrun, this process joins the others, and takes the GPU of its number.
    """
    number, _ = processes_here()
    device = claim_device([number] if torch.cuda.is_available() else [])
    if is_launched():
        group.join(device.type, DEFAULTS["dist_timeout"])
        rng.seed_all(group.of_first(torch.initial_seed()))  # all draw the same order of images
    say(f"Initialized with device {device}")
    return device


def cleanup_ddp() -> None:
    """Leave the other processes, if there are any; scripts for the original of 2025 ask."""
    group.leave()
