"""All that training changes in a model except its networks: the state that a run goes on from."""

from argparse import Namespace
from collections.abc import Mapping
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from models import networks
from models.architectures.fast.memory_format import laid_out_as
from models.optimization.accumulation import parameters_of
from models.optimization.schedulers import counts_steps
from models.optimization.step import Optimization
from models.storage.names import Model
from util.base.errors import UserError
from util.base.plugins import own_method
from util.base.torch_private import count_as_stepped
from util.image_pool import ImagePool
from util.processes import group


class Kept(NamedTuple):
    """What a model keeps of its own when it takes a state back: options decide it now."""

    rates: bool = False  # learning rates and schedules
    momentum: bool = False  # how much the optimisers' averages remember
    metric: bool = False  # what `--lr_policy plateau` judges, and what it has seen of it


NOTHING = Kept()
# What a plateau schedule knows of its metric; all else is about the rate.
OF_METRIC = ("mode", "mode_worse", "best", "num_bad_epochs")
MOMENTUM = ("betas", "momentum")  # in an optimiser's groups


def training_state(model: Model) -> dict[str, Any]:
    """Return plain containers and tensors."""
    adopt_new_optimizers(model)
    extra_state, takes_it_back = _extra_state_methods(model)
    before = model.opt.epoch_count - 1
    return {
        "optimizers": [optimizer.state_dict() for optimizer in model.optimizers],
        "schedulers": [_moved(each, each.state_dict(), before) for each in model.schedulers],
        "image_pools": {name: pool_state(pool) for name, pool in _image_pools(model).items()},
        "metric": float(model.metric),
        "steps": model._optimization.state_dict(model.optimizers),
        "epochs": model._optimization.epochs,
        "made_later": model._optimization.made_later,
        "averaged": sorted(_averaged(model._optimization)),
        "extra": extra_state() if extra_state and takes_it_back else {},
    }


def state_bytes(model: Model) -> int:
    """Return about how large a training state becomes: two averages of each weight, full pools."""
    tensors = (p for optimizer in model.optimizers for p in parameters_of(optimizer))
    weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    image = 4 * model.opt.output_nc * model.opt.crop_size**2
    return 2 * weights + image * sum(pool.pool_size for pool in _image_pools(model).values())


def load_training_state(
    model: Model, state: Mapping[str, Any], kept: Kept = NOTHING, steps: int | None = None
) -> None:
    """Take back what `training_state` returned; the networks are loaded separately.

    With `kept.rates` the learning rates and schedules stay, and whatever else the optimisers'
    groups say; but schedules that count steps go to where they stand after so many `steps`. A state
    of a model with other optimisers or image pools is refused.
    """
    adopt_new_optimizers(model)
    pools = _image_pools(model)
    _check(model, state, pools)
    if steps is not None:
        model._optimization.steps = steps
        for scheduler in filter(counts_steps, model.schedulers if kept.rates else ()):
            _advance(scheduler, steps)
    _load_optimizers(model, state, kept)
    for name, pool in pools.items():
        load_pool_state(pool, state["image_pools"][name], model.device)
    model.metric = float(state["metric"])
    model._optimization.ended_averages |= set(map(str, state.get("averaged", [])))
    if not kept.rates:
        model._optimization.epochs = int(state.get("epochs", 0))
    extra_state, load_extra_state = _extra_state_methods(model)
    if extra_state and load_extra_state:
        load_extra_state(state["extra"])


def _averaged(optimization: Optimization) -> set[str]:
    """Return the networks of which this run has averages on the disk, or had some."""
    averages = optimization.averages
    return optimization.ended_averages | (averages.nets.keys() if averages else set())


def _extra_state_methods(model: Model) -> tuple[Any, Any]:
    """Return what gives and what takes a model's own state; who has both means it so."""
    gives = own_method(model, "extra_state", arguments=0)
    return gives, own_method(model, "load_extra_state", arguments=1)


def adopt_new_optimizers(model: Model) -> None:
    """Give optimisers that were made after `setup` what the others got there.

    Fused steps, a schedule that stands where it would stand by now, and what a saved run knows of
    them. Called before their first step if they take it by `self.optimization`, else after it.
    """
    optimization, first = model._optimization, len(model._optimization.known)
    if first >= len(model.optimizers):  # exchanged ones are the model's business
        return
    scheduled = [getattr(scheduler, "optimizer", None) for scheduler in model.schedulers]
    for optimizer in model.optimizers:
        if any(optimizer is known for known in optimization.known):
            continue
        optimization.prepare(optimizer)
        # A model with a `setup` of its own has the schedules that it wants.
        if optimization.is_set_up and all(optimizer is not each for each in scheduled):
            done = optimization.epochs, optimization.steps
            model.schedulers.append(started_scheduler(optimizer, model.opt, *done))
        optimization.made_later += 1
    if optimization.for_later is not None:
        _load_optimizers(model, *optimization.for_later, first)


def started_scheduler(
    optimizer: Optimizer, opt: Namespace, epochs: int = 0, steps: int = 0
) -> LRScheduler:
    """Return an optimiser's schedule where it stands so many epochs after `epoch_count`.

    One that counts steps stands where it does after so many of them.
    """
    scheduler = networks.get_scheduler(optimizer, opt)
    since_first_epoch = opt.epoch_count - 1 + epochs
    if isinstance(scheduler, ReduceLROnPlateau):  # nobody knows the metrics any more
        scheduler.last_epoch = since_first_epoch
        return scheduler
    if counts_steps(scheduler):
        _advance(scheduler, steps)
    else:  # `linear` counts from `epoch_count` by itself
        _advance(scheduler, epochs if isinstance(scheduler, LambdaLR) else since_first_epoch)
    return scheduler


def _advance(scheduler: LRScheduler, times: int) -> None:
    count_as_stepped(scheduler.optimizer)  # no reason to warn
    for _ in range(times):
        scheduler.step()


def _moved(scheduler: LRScheduler, state: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """Return a schedule's state: `linear` counts from `epoch_count`, what is saved from 1."""
    if not isinstance(scheduler, LambdaLR):
        return dict(state)
    made_anew = [None] * len(scheduler.lr_lambdas)
    since = state["last_epoch"] + (0 if counts_steps(scheduler) else epochs)
    return {**state, "last_epoch": since, "lr_lambdas": made_anew}


def _load_optimizers(model: Model, state: Mapping[str, Any], kept: Kept, first: int = 0) -> None:
    """Load what a state knows of the optimisers from the `first` one on, as far as there are any.

    If some are yet to be made, the state is kept for them.
    """
    optimizers = zip(model.optimizers, state["optimizers"], strict=False)
    for optimizer, saved in islice(optimizers, first, None):
        _load_optimizer(optimizer, saved, kept)
    schedulers = zip(model.schedulers, state["schedulers"], strict=False)
    for scheduler, saved in islice(schedulers, first, None):
        if not kept.rates:
            known = _moved(scheduler, saved, 1 - model.opt.epoch_count)
            if kept.metric and isinstance(scheduler, ReduceLROnPlateau):
                known = {name: it for name, it in known.items() if name not in OF_METRIC}
            scheduler.load_state_dict(known)
    optimization = model._optimization
    optimization.load_state_dict(state.get("steps", {}), model.optimizers, first)
    are_missing = len(state["optimizers"]) > len(model.optimizers)
    optimization.for_later = (state, kept) if are_missing else None


def _load_optimizer(optimizer: Optimizer, saved: Mapping[str, Any], kept: Kept) -> None:
    ours, groups = optimizer.state_dict()["param_groups"], saved["param_groups"]
    if kept.rates and len(ours) == len(groups):  # else torch says what is wrong
        groups = ours
    for own, other in zip(ours, groups, strict=False):
        for name in ("fused", *(MOMENTUM if kept.momentum else ())):  # this run's business
            if name in own:
                other[name] = own[name]
    try:
        optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})
    except ValueError as error:
        raise UserError(
            f"The saved training state does not fit the optimiser ({error}). Continue with the "
            "model and the options it was trained with."
        ) from error
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.dim() > 0:
                state[key] = laid_out_as(parameter, value)
    # A run that was stopped at the end of an epoch steps its schedules first: no reason to warn.
    count_as_stepped(optimizer)


def _check(model: Model, state: Mapping[str, Any], pools: Mapping[str, ImagePool]) -> None:
    """Refuse states of other models; optimisers that are made later may be missing yet."""
    fewer, more = int(state.get("made_later", 0)), model._optimization.made_later
    compared: list[tuple[str, Any, Any, bool]] = []
    for what in ("optimizers", "schedulers"):
        saved, present = len(state[what]), len(getattr(model, what))
        compared.append((what, saved, present, saved - fewer <= present <= saved + more))
    names = sorted(state["image_pools"]), sorted(pools)
    compared.append(("image pools", *names, names[0] == names[1]))
    for what, saved, present, fits in compared:
        if not fits:
            raise UserError(
                f"The saved training state has other {what} ({saved}) than this "
                f"{type(model).__name__} ({present}). Continue with the model and the options "
                "it was trained with."
            )


def _image_pools(model: Model) -> dict[str, ImagePool]:
    """Find the pools by themselves, so that models that never heard of states take part."""
    return {key: value for key, value in vars(model).items() if isinstance(value, ImagePool)}


def pool_state(pool: ImagePool) -> dict[str, Any]:
    """Return the stored images; by attributes that forks' own pools have as well."""
    images, holders = getattr(pool, "images", []), getattr(pool, "holders", {})
    return {"pool_size": pool.pool_size, "images": group.from_holders(images, holders)}


def load_pool_state(pool: ImagePool, state: Mapping[str, Any], device: torch.device) -> None:
    """Take over stored images, to `device`; a smaller pool keeps the first ones."""
    pool.images = [image.to(device) for image in state["images"][: pool.pool_size]]
    pool.num_imgs, pool.holders = len(pool.images), {}
