"""When optimisers take their steps: after every batch, or after several (`--accumulate`)."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from models.architectures.fast.memory_format import laid_out_as
from models.optimization.precision import Precision
from util.base.errors import UserError
from util.base.torch_private import multiply_each


class GradientAccumulation:
    """Clear gradients and take steps, every `every` batches.

    A batch then counts as a part of one that is `every` times larger: its gradients are added to
    those of the batches before, and the step is taken with their mean.
    """

    def __init__(self, precision: Precision, every: int = 1) -> None:
        self.precision = precision
        self.every = every
        self._batches: dict[Optimizer, int] = {}  # since each optimiser's last step
        self._taking = False

    def watch(self, optimizers: Sequence[Optimizer]) -> None:
        """Find out models that take their steps by themselves, where they must not."""
        if self.every > 1 or self.precision.scales_losses:
            for optimizer in optimizers:
                optimizer.register_step_pre_hook(self._refuse_others)

    def clear(self, optimizer: Optimizer) -> None:
        """Forget the gradients of the last step, if this batch is the first one after it."""
        if self._batches.get(optimizer, 0) == 0:
            optimizer.zero_grad(set_to_none=True)

    def take(self, optimizer: Optimizer) -> None:
        """Take a step, if this batch is the last one that is waited for."""
        batches = self._batches.get(optimizer, 0) + 1
        self._batches[optimizer] = batches % self.every
        if batches < self.every:
            return
        if not _gradients(optimizer):  # all its networks are frozen
            return
        self.precision.unscale(optimizer)
        if self.every > 1:
            multiply_each(_gradients(optimizer), 1 / self.every)
        self._taking = True
        try:
            self.precision.step(optimizer)
        finally:
            self._taking = False

    def _refuse_others(self, *_: Any) -> None:
        if not self._taking:
            asked = f"--accumulate {self.every}" if self.every > 1 else "--precision fp16"
            raise UserError(
                f"{asked} needs a model that takes its steps by self.step(optimizer, network), "
                "which this one does not. Leave the option out, or change the model as "
                "models/template_model.py shows."
            )

    def state_dict(self, optimizers: Sequence[Optimizer]) -> dict[str, Any]:
        """Return what the next steps depend on: gradients that wait, and the losses' scales."""
        waiting = [self._batches.get(optimizer, 0) for optimizer in optimizers]
        return {
            "waiting": waiting,
            "gradients": [
                [p.grad for group in optimizer.param_groups for p in group["params"]]
                if batches
                else []
                for optimizer, batches in zip(optimizers, waiting, strict=True)
            ],
            "scales": self.precision.state_dict(optimizers),
        }

    def load_state_dict(self, state: Mapping[str, Any], optimizers: Sequence[Optimizer]) -> None:
        """Take back what `state_dict` returned; a run of another `every` begins a new step."""
        self.precision.load_state_dict(state.get("scales", []), optimizers)
        self._batches.clear()
        for optimizer, batches, gradients in zip(
            optimizers, state.get("waiting", []), state.get("gradients", []), strict=False
        ):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            if not 0 < batches < self.every or len(gradients) != len(parameters):
                continue
            self._batches[optimizer] = batches
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = None if gradient is None else laid_out_as(parameter, gradient)


def _gradients(optimizer: Optimizer) -> list[Tensor]:
    return [
        p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None
    ]
