"""The tools of a training step: `self.optimization` of every model.

    self.optimization.clear(self.optimizer)  # for optimizer.zero_grad()
    self.optimization.backward(loss, self.optimizer)  # for loss.backward()
    self.optimization.step(self.optimizer, self.netG)  # for optimizer.step()

Options decide what else happens there: `--accumulate` and `--precision`. Models that call their
optimisers themselves train as ever, without these options. Of several processes all step with the
mean of their gradients, whoever calls.
"""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from models.optimization.accumulation import GradientAccumulation, gradients_of
from models.optimization.averages import Averages
from models.optimization.processes import SharedGradients, join_networks
from models.optimization.speed import Speed, use_fused_steps
from util.base.errors import UserError
from util.base.new_options import new_option
from util.base.torch_private import count_as_stepped, multiply_each
from util.processes import group


class Optimization:
    """Compute gradients and take steps, as the options say.

    With `--precision fp16` there is one scale for all losses of a run. It is looked at again once
    all gradients that were made with it have had their step; so a loss may train several
    optimisers, and an optimiser may step several times in a batch.

    Attributes:
        averages: those of `--ema`, which follow the steps of all optimisers. What is skipped for
            `--accumulate` is no step; one that `--precision fp16` passes over may be, since finding
            out would mean waiting for the device.
        ended_averages: networks that had averages earlier in this run.
    """

    def __init__(self, opt: Namespace, device: torch.device) -> None:
        self.speed = Speed(opt, device)
        self.averages: Averages | None = None
        self.ended_averages: set[str] = set()
        self.notes: list[Callable[[], str]] = []  # words for the line that `set_up` returns
        self.epochs = 0  # how often the learning rates were updated
        self.steps = 0  # batches since training began, as far as train.py tells
        self.rate_before: float | None = None  # the running epoch's steps changed it
        # For `adopt_new_optimizers` in models/storage/state.py:
        self.adopt: Callable[[], object] = list
        self.is_set_up = False
        self.known: list[Optimizer] = []
        self.made_later = 0
        self.for_later: tuple[Mapping[str, Any], Any] | None = None
        self._accumulation = GradientAccumulation(new_option(opt, "accumulate"))
        self._gradients = SharedGradients(compress=new_option(opt, "dist_compress") == "bf16")
        self._weighted: set[Optimizer] = set()  # whose losses were, by the share of the batch
        self._scales = self.speed.precision.dtype is torch.float16
        self._scaler = GradScaler(device.type, enabled=self._scales)
        self._scaled: set[Optimizer] = set()  # whose scaled gradients wait for their step
        self._stepped: set[Optimizer] = set()  # since the scale was looked at
        self._is_stepping = False

    def clear(self, optimizer: Optimizer) -> None:
        """Forget the gradients of the step before; called before a backward pass."""
        self.adopt()
        optimizer.zero_grad(set_to_none=True)
        self._weighted.discard(optimizer)
        if not self._accumulation.holds_gradients_of(optimizer):
            self._scaled.discard(optimizer)

    def backward(self, loss: Tensor, *optimizers: Optimizer) -> None:
        """Compute the gradients of a loss, for the networks that these optimisers train.

        The same as `loss.backward()`, but for `--precision fp16`, which scales losses. Of several
        processes each counts for its share of the batch: an image's gradients are those that they
        would be in one process, and overflow in half precision where they would there.
        """
        if not self._stepped.isdisjoint(optimizers):
            self._look_at_the_scale()
        if not self._stepped.isdisjoint(optimizers):
            raise UserError(
                "--precision fp16 has one scale for all losses, but an optimiser is to step again "
                "while gradients of an earlier loss still wait for their step. Take all steps of a "
                "loss before the next one's backward pass, leave out --accumulate if an optimiser "
                "steps twice in a batch, or use --precision bf16."
            )
        if self._scales:
            self._scaled.update(optimizers)
        if optimizers and group.count() > 1:  # else their steps do it, as after loss.backward()
            loss = group.share().fraction * loss
        self._weighted.update(optimizers)
        self._scaler.scale(loss).backward()

    def step(self, optimizer: Optimizer, *nets: nn.Module) -> None:
        """Take one step of an optimiser that trains `nets`; these are named for whoever reads.

        With `--accumulate K` only every K-th batch takes it, with the mean of the gradients; with
        `--precision fp16` it is left out if a gradient is infinite, and the scale falls.
        """
        self.adopt()
        self._weigh(optimizer)
        if not self._accumulation.is_due(optimizer):
            count_as_stepped(optimizer)  # an epoch may have fewer batches: no reason to warn
            return
        self._gradients.of(optimizer)
        if not gradients_of(optimizer):  # all its networks are frozen
            self._scaled.discard(optimizer)
            return
        if self._scales:
            self._unscale(optimizer)
        self._is_stepping = True
        try:
            with self._gradients.is_done():
                self._scaler.step(optimizer)
        finally:
            self._is_stepping = False

    def _weigh(self, optimizer: Optimizer) -> None:
        """Let gradients of `loss.backward()` count for what this process has of the batch."""
        gradients = gradients_of(optimizer)
        if group.count() > 1 and gradients and optimizer not in self._weighted:
            multiply_each(gradients, group.share().fraction)

    def _unscale(self, optimizer: Optimizer) -> None:
        if optimizer not in self._scaled:
            raise UserError(
                "--precision fp16 needs a model that computes its gradients by "
                "self.optimization.backward(loss, optimizer), which this one does not. Use "
                "--precision bf16, or change the model."
            )
        self._scaler.unscale_(optimizer)
        self._stepped.add(optimizer)
        if not self._accumulation.holds_gradients_of(optimizer):
            self._scaled.discard(optimizer)

    def _look_at_the_scale(self) -> None:
        if self._stepped and not self._scaled:
            self._scaler.update()
            self._stepped.clear()

    def holds_gradients_of(self, optimizer: Optimizer) -> bool:
        """Tell whether gradients of earlier batches wait for a step (`--accumulate`)."""
        return self._accumulation.holds_gradients_of(optimizer)

    # ---- for training -----------------------------------------------------------------------

    def begin_batch(self) -> None:
        """Tell that a new batch begins: `--accumulate` and `--ema` count them."""
        self._accumulation.begin_batch()
        if self.averages is not None:
            self.averages.begin_batch()
        if not any(map(self._accumulation.holds_gradients_of, self.known)):
            self.speed.begin_step()

    def set_up(self, nets: Mapping[str, nn.Module], optimizers: Sequence[Optimizer]) -> str:
        """Prepare networks and optimisers, and return a line that tells how they compute."""
        self.is_set_up = True
        active = join_networks(nets)
        if group.count() > 1:
            self._gradients.take_care_of_others(self._weigh)
        active += self.speed.set_up(nets)
        fused = [self.prepare(optimizer) for optimizer in optimizers]
        if fused and all(fused):
            active.append("fused optimisers")
        active += [note() for note in self.notes]
        self.notes.clear()
        return ", ".join(active)

    def prepare(self, optimizer: Optimizer) -> bool:
        """Let an optimiser step in here alone if it must; tell whether its steps are fused now."""
        self.known.append(optimizer)
        if self._accumulation.every > 1 or self._scales:
            optimizer.register_step_pre_hook(self._refuse_others)
        return use_fused_steps(optimizer)

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
        self._look_at_the_scale()
        self._accumulation.share(optimizers, self._gradients.totals)
        scales = [self._scaler.state_dict()] if self._scales else []
        return self._accumulation.state_dict(optimizers) | {"scales": scales}

    def load_state_dict(
        self, state: Mapping[str, Any], optimizers: Sequence[Optimizer], first: int = 0
    ) -> None:
        """Take back what `state_dict` returned, for optimisers from the `first` one on.

        Earlier versions had a scale for each optimiser: the smallest suits all of them.
        """
        scales = state.get("scales")
        if first == 0 and self._scales and scales:
            self._scaler.load_state_dict(min(scales, key=lambda each: float(each["scale"])))
        self._accumulation.load_state_dict(state, optimizers, first)
