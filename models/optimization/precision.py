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
        torch.autocast_increment_nesting()

    def _leave(self, net: nn.Module, inputs: Any, output: Any) -> Any:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        self._set(*self._before.pop())
        return _in_float32(output)

    def _set(self, enabled: bool, dtype: Any, cached: bool) -> None:
        torch.set_autocast_enabled(self.device.type, enabled)
        torch.set_autocast_dtype(self.device.type, dtype)
        torch.set_autocast_cache_enabled(cached)


def _in_float32(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype in PRECISIONS.values() else value
    if isinstance(value, dict):
        return {key: _in_float32(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_in_float32(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


class LossScaling:
    """Scale losses up before the backward pass, and gradients down before the step.

    There is one scale in a run. It is looked at again once all gradients that were made with it
    have had their step; so a loss may train several optimisers, and an optimiser may step several
    times in a batch.
    """

    def __init__(self, precision: Precision) -> None:
        self.is_used = precision.dtype is torch.float16
        self._scaler = GradScaler(precision.device.type, enabled=self.is_used)
        self._scaled: set[Optimizer] = set()  # whose gradients wait for their step
        self._stepped: set[Optimizer] = set()  # since the scale was looked at

    def backward(self, loss: Tensor, optimizers: Sequence[Optimizer]) -> None:
        """Compute the gradients of a loss, for the parameters of these optimisers."""
        if not self._stepped.isdisjoint(optimizers):
            self._look_at_the_scale()
        if not self._stepped.isdisjoint(optimizers):
            raise UserError(
                "--precision fp16 has one scale for all losses, but an optimiser is to step again "
                "while gradients of an earlier loss still wait for their step. Take all steps of a "
                "loss before the next one's backward pass, leave out --accumulate if an optimiser "
                "steps twice in a batch, or use --precision bf16."
            )
        if self.is_used:
            self._scaled.update(optimizers)
        self._scaler.scale(loss).backward()

    def step(self, optimizer: Optimizer, *, more_wait: bool = False) -> None:
        """Take the step; with fp16 not if a gradient is infinite, and the scale falls then.

        `more_wait`: other scaled gradients of the optimiser wait for other steps.
        """
        if not self.is_used:
            optimizer.step()
            return
        if optimizer not in self._scaled:
            raise UserError(
                "--precision fp16 needs a model that computes its gradients by "
                "self.optimization.backward(loss, optimizer), which this one does not. Use "
                "--precision bf16, or change the model."
            )
        self._scaler.unscale_(optimizer)
        self._scaler.step(optimizer)
        self._stepped.add(optimizer)
        if not more_wait:
            self._scaled.discard(optimizer)

    def forget(self, optimizer: Optimizer) -> None:
        """Take note that an optimiser's gradients were thrown away."""
        self._scaled.discard(optimizer)

    def _look_at_the_scale(self) -> None:
        if self._stepped and not self._scaled:
            self._scaler.update()
            self._stepped.clear()

    def state_dict(self) -> list[dict[str, Any]]:
        """Return the scale, in a list; empty if there is none."""
        self._look_at_the_scale()
        return [self._scaler.state_dict()] if self.is_used else []

    def load_state_dict(self, state: Sequence[dict[str, Any]]) -> None:
        """Take back what `state_dict` returned; a run of another precision has none of use.

        Earlier versions had a scale for each optimiser: the smallest suits all of them.
        """
        if self.is_used and state:
            self._scaler.load_state_dict(min(state, key=lambda each: float(each["scale"])))
