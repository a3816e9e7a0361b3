"""Images of any size: as large as a network needs while it runs, then as large as they were."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Translate = Callable[[Tensor], Tensor]
DIVISOR = 4  # of networks that state none: what --preprocess none rounds sides to


class Sides(NamedTuple):
    """Which sides a network takes: multiples of `divisor`, and not below `shortest`."""

    divisor: int
    shortest: int

    @classmethod
    def of(cls, net: nn.Module) -> "Sides":
        """Ask a network; built-in ones state both."""
        divisor = getattr(net, "divisor", DIVISOR)
        shortest = getattr(net, "shortest_side", divisor)
        stated = isinstance(divisor, int) and isinstance(shortest, int) and divisor > 0
        return cls(divisor, shortest) if stated else cls(DIVISOR, DIVISOR)

    def above(self, side: int) -> int:
        """Return the shortest side that the network takes, and that is not below this one."""
        return -(-max(side, self.shortest) // self.divisor) * self.divisor


def translate_any_size(net: nn.Module, x: Tensor, translate: Translate | None = None) -> Tensor:
    """Return what a network makes of images (N, C, H, W), of the same size.

    They are continued at the right and at the bottom, and the result is cut. Sides that fit the
    network stay as they are. `translate` is how to run it, if not simply by calling it.
    """
    height, width = x.shape[-2:]
    made = (translate or net)(pad(x, Sides.of(net)))
    return _cut(made, height, width)


def pad(x: Tensor, sides: Sides) -> Tensor:
    """Continue images (N, C, H, W) at the right and at the bottom until their sides fit."""
    height, width = x.shape[-2:]
    wanted = sides.above(height), sides.above(width)
    for dimension, (side, longer) in enumerate(zip((height, width), wanted, strict=True), start=-2):
        if longer > side:
            x = x.index_select(dimension, mirrored(side, longer).to(x.device))
    return x


def keep_sizes(net: nn.Module) -> None:
    """Let a network take images of any size from now on, and make such of their size.

    One that states no divisor may make something else than images, and is left as it is.
    """
    if not hasattr(net, "divisor"):
        return
    sides = Sides.of(net)
    sizes: list[torch.Size] = []

    def before(net: nn.Module, inputs: Any) -> Any:
        x, *others = inputs
        sizes.append(x.shape[-2:])
        return pad(x, sides), *others

    def after(net: nn.Module, inputs: Any, made: Tensor) -> Tensor:
        return _cut(made, *sizes.pop())

    net.register_forward_pre_hook(before)
    net.register_forward_hook(after)


def mirrored(side: int, longer: int) -> Tensor:
    """Return which pixels of a side continue it by its mirror image.

    The outermost pixel is not repeated, unless the side is too short for that.
    """
    repeats = longer >= 2 * side
    period = 2 * side if repeats else 2 * side - 2
    place = torch.arange(longer) % period
    return torch.minimum(place, period - int(repeats) - place)


def _cut(made: Tensor, height: int, width: int) -> Tensor:
    """Return the upper left part of this size; all, untouched, if that is its size."""
    return made if made.shape[-2:] == (height, width) else made[..., :height, :width].contiguous()
