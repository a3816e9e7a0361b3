"""What the names stand for that a model lists: `G` is the network `netG`, or the loss `loss_G`."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from models.optimization.step import Optimization
from util.base.errors import UserError, suggest

IMAGE_DIMENSIONS = 3  # at least: (H, W, C) or (N, C, H, W)


class Model(Protocol):
    """What is asked of a `BaseModel` from below it: the original's names, and the step's tools."""

    opt: Namespace
    device: torch.device
    save_dir: str
    metric: float
    optimizers: list[Optimizer]
    schedulers: list[LRScheduler]
    _optimization: Optimization


def names_in(model: Model, listed_in: str) -> list[str]:
    """Return the names in one of a model's lists; what is no string is left out."""
    return [name for name in getattr(model, listed_in) if isinstance(name, str)]


def networks_of(model: Model) -> dict[str, nn.Module]:
    """Return the networks in `model_names`, by name; all of them must have been made."""
    made = {
        key.removeprefix("net"): value
        for key, value in vars(model).items()
        if key.startswith("net") and isinstance(value, nn.Module)
    }
    nets: dict[str, nn.Module] = {}
    for name in names_in(model, "model_names"):
        if not isinstance(net := getattr(model, f"net{name}", None), nn.Module):
            raise UserError(
                f"{type(model).__name__} lists {name!r} in model_names but has no network "
                f"self.net{name}. {suggest(name, made)}"
            )
        nets[name] = net
    return nets


def named_values(model: Model, listed_in: str, prefix: str = "") -> dict[str, Any]:
    """Return what a model has set under the names in a list, with a prefix before each."""
    names = names_in(model, listed_in)
    for name in names:
        if not hasattr(model, f"{prefix}{name}"):
            known = [key for key in _values(model, prefix) if key != listed_in]
            raise UserError(
                f"{type(model).__name__} lists {name!r} in {listed_in} but has not set "
                f"self.{prefix}{name}. {suggest(f'{prefix}{name}', known)}"
            )
    return {name: getattr(model, f"{prefix}{name}") for name in names}


def _values(model: Model, prefix: str) -> list[str]:
    """Return the names that begin so; without a prefix, those of images."""
    if prefix:
        return [key for key in vars(model) if key.startswith(prefix)]
    return [
        key for key, value in vars(model).items() if getattr(value, "ndim", 0) >= IMAGE_DIMENSIONS
    ]


def together(values: Sequence[Tensor | float], device: torch.device) -> Tensor:
    """Return losses as one vector on the device; several numbers count as their sum."""
    scalars = [
        value.detach().to(device)
        if isinstance(value, Tensor)
        else torch.full((), float(value), dtype=torch.float64, device=device)
        for value in values
    ]
    if not scalars:
        return torch.zeros(0, device=device)
    return torch.stack([scalar.sum() if scalar.dim() else scalar for scalar in scalars])
