"""What the names stand for that a model lists: `G` is the network `netG`, or the loss `loss_G`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from util.base.errors import UserError, suggest

if TYPE_CHECKING:
    from models.base_model import BaseModel


def networks_of(model: "BaseModel") -> dict[str, nn.Module]:
    """Return the networks in `model_names`, by name.

    Raises:
        UserError: one of them was never made.
    """
    return {name: _network(model, name) for name in model.model_names if isinstance(name, str)}


def _network(model: "BaseModel", name: str) -> nn.Module:
    net = getattr(model, f"net{name}", None)
    if isinstance(net, nn.Module):
        return net
    made = [
        key.removeprefix("net")
        for key, value in vars(model).items()
        if key.startswith("net") and isinstance(value, nn.Module)
    ]
    raise UserError(
        f"{type(model).__name__} lists {name!r} in model_names but has no network "
        f"self.net{name}. {suggest(name, made)}"
    )


def named_values(model: "BaseModel", listed_in: str, prefix: str = "") -> dict[str, Any]:
    """Return what a model has set under the names in one of its lists, with a prefix before each.

    Raises:
        UserError: it has not set one of them.
    """
    names = [name for name in getattr(model, listed_in) if isinstance(name, str)]
    for name in names:
        if not hasattr(model, f"{prefix}{name}"):
            known = [key for key in vars(model) if key.startswith(prefix) and key != listed_in]
            raise UserError(
                f"{type(model).__name__} lists {name!r} in {listed_in} but has not set "
                f"self.{prefix}{name}. {suggest(f'{prefix}{name}', known)}"
            )
    return {name: getattr(model, f"{prefix}{name}") for name in names}


def together(values: Sequence[Tensor | float], device: torch.device) -> Tensor:
    """Return losses as one vector, on the device; several numbers count as their sum."""
    scalars = [
        value.detach().to(device)
        if isinstance(value, Tensor)
        else torch.full((), float(value), dtype=torch.float64, device=device)
        for value in values
    ]
    if not scalars:
        return torch.zeros(0, device=device)
    return torch.stack([scalar.sum() if scalar.dim() else scalar for scalar in scalars])
