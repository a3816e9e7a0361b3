"""Networks in half precision: `--precision bf16` and `fp16`.

Only the networks compute in it, under torch's autocast; what comes out of them is float32 again, so
losses, and models that never heard of it, go on as ever. Weights and optimisers stay in float32.
fp16 has too few exponents for small gradients, so losses are scaled up before the backward pass and
gradients down after it (Micikevicius et al. 2018, "Mixed Precision Training", section 3.2); step.py
does that.
"""

from typing import Any

import torch
from torch import Tensor, nn

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """Let networks compute in `--precision`.

    By hooks, neither a wrapper around the network nor around its `forward`: copies of the network,
    its keys and its attributes stay what they are.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.name = name
        self.device = device
        self.dtype = PRECISIONS[name]
        self._before: list[tuple[bool, torch.dtype, bool]] = []

    def attach(self, net: nn.Module) -> None:
        """Let a network compute in this precision from now on; twice does no harm."""
        if self.dtype is not None and not hasattr(net, "computes_in"):
            net.__dict__["computes_in"] = self.name
            net.register_forward_pre_hook(self._enter)
            net.register_forward_hook(self._leave, always_call=True)

    # As `torch.autocast` does, in calls that torch.compile follows from one function to another.

    def _enter(self, net: nn.Module, inputs: Any) -> None:
        kind = self.device.type
        enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
        self._before.append((enabled, dtype, torch.is_autocast_cache_enabled()))
        self._set(True, self.dtype, True)

    def _leave(self, net: nn.Module, inputs: Any, output: Any) -> Any:
        self._set(*self._before.pop())
        torch.clear_autocast_cache()  # weights may change before the next pass
        return _in_float32(output)

    def _set(self, enabled: bool, dtype: Any, cached: bool) -> None:
        torch.set_autocast_enabled(self.device.type, enabled)
        torch.set_autocast_dtype(self.device.type, dtype)
        torch.set_autocast_cache_enabled(cached)


def _in_float32(value: Any) -> Any:
    match value:
        case Tensor() if value.dtype in PRECISIONS.values():
            return value.float()
        case dict():
            return {key: _in_float32(item) for key, item in value.items()}
        case list():
            return [_in_float32(item) for item in value]
        case tuple():
            return tuple(_in_float32(item) for item in value)
    return value
