"""Learning rates over the epochs, or over the steps."""

import math
from argparse import Namespace
from typing import Any, SupportsFloat

from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from util.base.errors import ChoiceError, suggest
from util.base.new_options import new_option
from util.scores.images import metric_and_direction
from util.training.length import Length

LR_POLICIES = ("linear", "step", "plateau", "cosine")
COUNTS_STEPS = "counts_steps"  # an attribute of schedules


class Plateau(ReduceLROnPlateau):
    """Lower the rate once what is measured has stopped improving.

    As torch's own, but that a NaN counts for nothing, since nothing was measured, and that a
    relative threshold is one for numbers below zero too, which may be losses: torch takes a loss of
    -0.995 for better than -1 by more than 1%.
    """

    def step(self, metrics: SupportsFloat, epoch: Any = None) -> None:  # type: ignore[override]
        """Take a measurement; once in a while that lowers the rate."""
        if not math.isnan(metrics):
            self.threshold = math.copysign(self.threshold, self.best)
            super().step(metrics, epoch)


def get_scheduler(optimizer: Optimizer, opt: Namespace) -> LRScheduler:
    """Return a schedule that is stepped after every epoch, or every step: see `counts_steps`.

    `opt.lr_policy` is one of (ChoiceError: none of them)
        linear: constant for `n_epochs`, then down to zero over `n_epochs_decay` epochs;
            counts from `epoch_count`
        step: times `lr_gamma` (0.1) every `lr_decay_iters` epochs
        plateau: times 0.2 once the metric (`--save_best`, else the mean of the generator's loss)
            has not improved by 1% in five measurements; counts epochs always
        cosine: half a cosine wave from `lr` to zero over all epochs
    With `--total_steps` these numbers are steps: the last `--decay_steps` are those that decay.
    """
    scheduler = _schedule(optimizer, opt)
    if Length.of(opt).counts_steps and not isinstance(scheduler, ReduceLROnPlateau):
        setattr(scheduler, COUNTS_STEPS, True)
    return scheduler


def counts_steps(scheduler: LRScheduler) -> bool:
    """Tell whether a schedule counts steps; others, as a model may have made, count epochs."""
    return getattr(scheduler, COUNTS_STEPS, None) is True


def _schedule(optimizer: Optimizer, opt: Namespace) -> LRScheduler:
    length = Length.of(opt)
    match opt.lr_policy:
        case "linear":
            return LambdaLR(optimizer, lambda done: length.share_of_rate(done + length.first))
        case "step":
            return lr_scheduler.StepLR(
                optimizer, opt.lr_decay_iters, gamma=new_option(opt, "lr_gamma")
            )
        case "plateau":
            _, mode = metric_and_direction(new_option(opt, "save_best"))
            return Plateau(optimizer, mode=mode, factor=0.2, threshold=0.01, patience=5)
        case "cosine":
            return lr_scheduler.CosineAnnealingLR(optimizer, T_max=length.total, eta_min=0)
    raise ChoiceError(
        f"learning rate policy [{opt.lr_policy}] is not implemented. "
        f"{suggest(opt.lr_policy, LR_POLICIES)}"
    )
