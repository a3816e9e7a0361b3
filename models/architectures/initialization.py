"""Initial weights."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import init

from models.architectures.layers import guard_instance_norm
from util.base.errors import ChoiceError, UserError, suggest
from util.base.log import say

INIT_TYPES: dict[str, Callable[[Tensor, float], object]] = {
    "normal": lambda weight, gain: init.normal_(weight, 0.0, gain),
    "xavier": lambda weight, gain: init.xavier_normal_(weight, gain=gain),
    # fan_in for a leaky slope of 0, that is for ReLU (He et al. 2015)
    "kaiming": lambda weight, gain: init.kaiming_normal_(weight, a=0, mode="fan_in"),
    "orthogonal": lambda weight, gain: init.orthogonal_(weight, gain=gain),
}


def init_weights(net: nn.Module, init_type: str = "normal", init_gain: float = 0.02) -> None:
    """Draw weights of all convolutions, linear layers and batch norms anew; biases become 0.

    Layers are taken in the order of `net.apply`, the draws come from torch's global generator:
    with the same seed the reference starts from the same weights.
    """
    if init_type not in INIT_TYPES:
        hint = suggest(init_type, INIT_TYPES)
        raise ChoiceError(f"initialization method [{init_type}] is not implemented. {hint}")
    if init_type in ("normal", "xavier") and not 0 <= init_gain < math.inf:  # nan neither
        raise UserError(
            f"--init_gain {init_gain} cannot work with --init_type {init_type}: it must be finite, "
            "and 0 or more."
        )
    draw = INIT_TYPES[init_type]

    def init_layer(layer: nn.Module) -> None:
        kind = type(layer).__name__  # by name, so that third-party layers take part
        weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
        if weight is None:
            return
        if "Conv" in kind or "Linear" in kind:
            draw(weight.data, init_gain)
        elif "BatchNorm2d" in kind:
            init.normal_(weight.data, 1.0, init_gain)
        else:
            return
        if bias is not None:
            init.constant_(bias.data, 0.0)

    say(f"initialize network with {init_type}")
    net.apply(init_layer)


def init_net(
    net: nn.Module, init_type: str = "normal", init_gain: float = 0.02, gpu_ids: Sequence[int] = ()
) -> nn.Module:
    """Move a network to its device, draw its weights there, and return it, not wrapped."""
    if gpu_ids:
        net.to(torch.device("cuda", gpu_ids[0]))
        # The reference wraps networks on GPUs, so plugins for GPUs reach through `.module`.
        object.__setattr__(net, "module", net)  # past nn.Module: not a submodule, not in keys
    guard_instance_norm(net)
    init_weights(net, init_type, init_gain=init_gain)
    return net
