"""Learning rates over the epochs."""

import warnings
from argparse import Namespace
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LRScheduler,
    ReduceLROnPlateau,
    StepLR,
)

from util.base.errors import ChoiceError, suggest
from util.base.new_options import new_option
from util.scores.images import metric_and_direction
from util.training.length import Length

LR_POLICIES = ("linear", "step", "plateau", "cosine")


def get_scheduler(optimizer: Optimizer, opt: Namespace) -> LRScheduler:
    """Return a schedule that is stepped once after every epoch.

    `opt.lr_policy` is one of
        linear: constant for `n_epochs`, then down to zero over `n_epochs_decay` epochs;
            counts from `epoch_count`
        step: times `lr_gamma` (0.1) every `lr_decay_iters` epochs
        plateau: times 0.2 once the metric (`--save_best`, else the mean of the generator's loss)
            has not improved by 1% for five epochs
        cosine: half a cosine wave from `lr` to zero over all epochs

    Raises:
        ChoiceError: another policy.
    """
    match opt.lr_policy:
        case "linear":
            length, start = Length.of(opt), opt.epoch_count
            return LambdaLR(optimizer, lambda done: length.share_of_rate(done + start))
        case "step":
            return StepLR(optimizer, opt.lr_decay_iters, gamma=new_option(opt, "lr_gamma"))
        case "plateau":
            _, mode = metric_and_direction(new_option(opt, "save_best"))
            return ReduceLROnPlateau(optimizer, mode=mode, factor=0.2, threshold=0.01, patience=5)
        case "cosine":
            return CosineAnnealingLR(optimizer, T_max=Length.of(opt).epochs, eta_min=0)
    raise ChoiceError(
        f"learning rate policy [{opt.lr_policy}] is not implemented. "
        f"{suggest(opt.lr_policy, LR_POLICIES)}"
    )


def skip_epochs(scheduler: LRScheduler, before: int, here: int = 0) -> None:
    """Bring a new schedule to where it is after epochs `before` `epoch_count`, and since then.

    `linear` counts from `epoch_count` by itself; `plateau` depends on metrics nobody knows any
    more, so only its epoch number moves.
    """
    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler.last_epoch = before + here
        return
    epochs = here if isinstance(scheduler, LambdaLR) else before + here
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        for _ in range(epochs):
            scheduler.step()


def scheduler_state(scheduler: LRScheduler, epoch_count: int) -> dict[str, Any]:
    """Return a schedule's state in plain containers, with its epochs counted from the first.

    The function of `linear` counts from the `epoch_count` it was made with; it is made anew.
    """
    state = scheduler.state_dict()
    if isinstance(scheduler, LambdaLR):
        state["lr_lambdas"] = [None] * len(state["lr_lambdas"])
        state["last_epoch"] += epoch_count - 1
    return state


def load_scheduler_state(scheduler: LRScheduler, state: dict[str, Any], epoch_count: int) -> None:
    """Take back what `scheduler_state` returned, into a schedule made with any `epoch_count`."""
    state = dict(state)
    if isinstance(scheduler, LambdaLR):
        state["last_epoch"] -= epoch_count - 1
    scheduler.load_state_dict(state)
