"""The tools of a training step: `self.optimization` of every model.

    self.optimization.clear(self.optimizer)  # for optimizer.zero_grad()
    self.optimization.backward(loss, self.optimizer)  # for loss.backward()
    self.optimization.step(self.optimizer, self.netG)  # for optimizer.step()

Options decide what else happens there: `--accumulate`, `--precision`, and whatever attaches to
`after_step`. Models that call their optimisers themselves train as ever, without these options.
"""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from models.optimization.accumulation import GradientAccumulation, gradients_of
from models.optimization.fused import use_fused_steps
from models.optimization.precision import LossScaling
from models.optimization.speed import Speed
from util.base.errors import UserError
from util.base.new_options import new_option


class Optimization:
    """Compute gradients and take steps, as the options say.

    Attributes:
        speed: how networks and optimisers compute; see `models/optimization/speed.py`.
        after_step: called with the networks that an optimiser trains, after each of its steps; the
            place for averages of weights. What is skipped for `--accumulate` is no step; one that
            `--precision fp16` passes over is, since finding out would mean waiting for the device.
        notes: each returns some words for the line by which `set_up` tells how the model computes.
        epochs: how often the learning rates were updated.
        for_later: a saved state that knows of optimisers which are not made yet, and whether
            learning rates are kept; see `models/storage/state.py`.
    """

    def __init__(self, opt: Namespace, device: torch.device) -> None:
        self.speed = Speed(opt, device)
        self.after_step: list[Callable[[Sequence[nn.Module]], object]] = []
        self.notes: list[Callable[[], str]] = []
        self.epochs = 0
        self.for_later: tuple[Mapping[str, Any], bool] | None = None
        self._accumulation = GradientAccumulation(new_option(opt, "accumulate"))
        self._scaling = LossScaling(device, is_used=self.speed.precision.scales_losses)
        self._optimizers: list[Optimizer] = []  # those that are prepared
        self._first_ones = 0  # of them, those that `set_up` found
        self._adopt: Callable[[], object] = list
        self._is_stepping = False

    # ---- for models -------------------------------------------------------------------------

    def clear(self, optimizer: Optimizer) -> None:
        """Forget the gradients of the step before; called before a backward pass."""
        self._look_for_new_ones(optimizer)
        self._accumulation.clear(optimizer)
        if not self._accumulation.holds_gradients_of(optimizer):
            self._scaling.forget(optimizer)

    def backward(self, loss: Tensor, *optimizers: Optimizer) -> None:
        """Compute the gradients of a loss, for the networks that these optimisers train.

        The same as `loss.backward()`, but for `--precision fp16`, which scales losses.
        """
        self._scaling.backward(loss, optimizers)

    def step(self, optimizer: Optimizer, *nets: nn.Module) -> None:
        """Take one step of an optimiser that trains `nets`.

        With `--accumulate K` only every K-th batch takes it, with the mean of the gradients.
        """
        self._look_for_new_ones(optimizer)
        if not self._accumulation.is_due(optimizer):
            return
        if not gradients_of(optimizer):  # all its networks are frozen
            self._scaling.forget(optimizer)
            return
        self._scaling.unscale(optimizer)
        self._accumulation.divide(optimizer)
        self._is_stepping = True
        try:
            more_wait = self._accumulation.holds_gradients_of(optimizer)
            self._scaling.step(optimizer, more_wait=more_wait)
        finally:
            self._is_stepping = False
        for follow in self.after_step:
            follow(nets)

    @property
    def made_later(self) -> int:
        """How many optimisers were made after `set_up`."""
        return len(self._optimizers) - self._first_ones

    # ---- for training -----------------------------------------------------------------------

    def begin_batch(self) -> None:
        """Tell that a new batch begins: `--accumulate` counts them."""
        self._accumulation.begin_batch()
        if not any(map(self._accumulation.holds_gradients_of, self._optimizers)):
            self.speed.begin_step()

    def set_up(
        self,
        nets: Mapping[str, nn.Module],
        optimizers: Sequence[Optimizer],
        adopt: Callable[[], object] = list,
    ) -> str:
        """Prepare networks and optimisers, and return a line that tells how they compute.

        Args:
            nets: the networks by name.
            optimizers: those that there are so far.
            adopt: called when an optimiser is used that is none of them.
        """
        active = self.speed.set_up(nets, optimizers)
        self._adopt = adopt
        self._note(optimizers)
        self._first_ones = len(optimizers)
        notes = [note() for note in self.notes]
        self.notes.clear()
        return ", ".join([active, *notes])

    def take_in(self, optimizers: Sequence[Optimizer]) -> list[tuple[int, Optimizer]]:
        """Prepare optimisers that were added since `set_up`, and return them with their places."""
        if len(optimizers) <= len(self._optimizers):  # exchanged ones are the model's business
            return []
        new = [pair for pair in enumerate(optimizers) if pair[1] not in self._optimizers]
        for _, optimizer in new:
            use_fused_steps(optimizer)
        self._note([optimizer for _, optimizer in new])
        return new

    def _note(self, optimizers: Sequence[Optimizer]) -> None:
        """Remember optimisers, and find out models that step by themselves where they must not."""
        self._optimizers += optimizers
        if self._accumulation.every > 1 or self._scaling.is_used:
            for optimizer in optimizers:
                optimizer.register_step_pre_hook(self._refuse_others)

    def _look_for_new_ones(self, optimizer: Optimizer) -> None:
        if optimizer not in self._optimizers:
            self._adopt()

    def _refuse_others(self, *_: Any) -> None:
        if not self._is_stepping:
            every = self._accumulation.every
            asked = f"--accumulate {every}" if every > 1 else "--precision fp16"
            raise UserError(
                f"{asked} needs a model that takes its steps by self.optimization.step(optimizer, "
                "network), which this one does not. Leave the option out, or change the model as "
                "models/template_model.py shows."
            )

    def state_dict(self, optimizers: Sequence[Optimizer]) -> dict[str, Any]:
        """Return what the next steps depend on: gradients that wait, and the losses' scale."""
        return {
            **self._accumulation.state_dict(optimizers),
            "scales": self._scaling.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any], optimizers: Sequence[Optimizer]) -> None:
        """Take back what `state_dict` returned."""
        self._scaling.load_state_dict(state.get("scales", []))
        self._accumulation.load_state_dict(state, optimizers)
