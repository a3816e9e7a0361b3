"""Networks in half precision: `--precision bf16` and `fp16`.

Only the networks compute in it, under torch's autocast; what comes out of them is float32 again, so
losses, and models that never heard of it, go on as ever. Weights and optimisers stay in float32.
fp16 has too few exponents for small gradients, so losses are scaled up before the backward pass and
gradients down after it (Micikevicius et al. 2018, "Mixed Precision Training", section 3.2).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from util.base.errors import UserError

PRECISIONS: dict[str, torch.dtype | None] = {
    "fp32": None,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


class Precision:
    """Let networks compute in `--precision`, and scale losses where it needs that."""

    def __init__(self, name: str, device: torch.device) -> None:
        self.name = name
        self.device = device
        self.dtype = PRECISIONS[name]
        self._scalers: dict[Optimizer, GradScaler] = {}
        self._scaled: set[Optimizer] = set()  # whose losses were scaled since their last step

    @property
    def scales_losses(self) -> bool:
        """Tell whether losses are scaled."""
        return self.dtype is torch.float16

    def attach(self, net: nn.Module) -> None:
        """Let a network compute in this precision from now on; twice does no harm."""
        if self.dtype is None or hasattr(net, "computes_in"):
            return
        net.__dict__["computes_in"] = self.name
        region = _Region(self.device.type, self.dtype)
        net.register_forward_pre_hook(region.enter)
        net.register_forward_hook(region.leave, always_call=True)

    def scaled(self, loss: Tensor, optimizer: Optimizer) -> Tensor:
        """Return what to call `backward` of, for the gradients of this optimiser."""
        if not self.scales_losses:
            return loss
        self._scaled.add(optimizer)
        return self._scaler(optimizer).scale(loss)

    def unscale(self, optimizer: Optimizer) -> None:
        """Bring gradients back to their true size.

        Raises:
            UserError: their loss was never scaled.
        """
        if not self.scales_losses:
            return
        if optimizer not in self._scaled:
            raise UserError(
                "--precision fp16 needs a model that computes its gradients by self.backward(loss, "
                "optimizer), which this one does not. Use --precision bf16, or change the model."
            )
        self._scalers[optimizer].unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> None:
        """Take the step; with fp16 not if a gradient is infinite, and the scale falls then."""
        if not self.scales_losses:
            optimizer.step()
            return
        self._scaled.discard(optimizer)
        self._scalers[optimizer].step(optimizer)
        self._scalers[optimizer].update()

    def state_dict(self, optimizers: Sequence[Optimizer]) -> list[dict[str, Any]]:
        """Return the scale of each optimiser's losses."""
        if not self.scales_losses:
            return []
        return [self._scaler(optimizer).state_dict() for optimizer in optimizers]

    def load_state_dict(
        self, state: Sequence[dict[str, Any]], optimizers: Sequence[Optimizer]
    ) -> None:
        """Take back what `state_dict` returned; a run of another precision has none of use."""
        if self.scales_losses:
            for optimizer, scale in zip(optimizers, state, strict=False):
                self._scaler(optimizer).load_state_dict(scale)

    def _scaler(self, optimizer: Optimizer) -> GradScaler:
        if optimizer not in self._scalers:
            self._scalers[optimizer] = GradScaler(self.device.type)
        return self._scalers[optimizer]


class _Region:
    """Hooks that put a network's forward pass under autocast.

    Not a wrapper around the network, nor around its `forward`: copies of the network, its keys and
    its attributes stay what they are.
    """

    def __init__(self, device_type: str, dtype: torch.dtype) -> None:
        self.device_type = device_type
        self.dtype = dtype
        self._before: list[tuple[bool, torch.dtype, bool]] = []

    # As `torch.autocast` does, in calls that torch.compile follows from one function to another.

    def enter(self, net: nn.Module, inputs: Any) -> None:
        kind = self.device_type
        enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
        self._before.append((enabled, dtype, torch.is_autocast_cache_enabled()))
        torch.set_autocast_enabled(kind, True)
        torch.set_autocast_dtype(kind, self.dtype)
        torch.autocast_increment_nesting()
        torch.set_autocast_cache_enabled(True)

    def leave(self, net: nn.Module, inputs: Any, output: Any) -> Any:
        enabled, dtype, cached = self._before.pop()
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled(self.device_type, enabled)
        torch.set_autocast_dtype(self.device_type, dtype)
        torch.set_autocast_cache_enabled(cached)
        return _in_float32(output)


def _in_float32(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype in PRECISIONS.values() else value
    if isinstance(value, dict):
        return {key: _in_float32(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_in_float32(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value
