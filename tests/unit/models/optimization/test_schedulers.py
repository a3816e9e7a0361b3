"""The learning rate of every epoch, against formulas written out here."""

import math
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import Optimizer

from models.base_model import BaseModel
from models.networks import get_scheduler
from models.optimization.schedulers import LR_POLICIES
from util.base.errors import ChoiceError

LR = 0.002
Formula = Callable[[int, Namespace], float]

CLOSED_FORMS: dict[str, Formula] = {
    "linear": lambda e, opt: 1 - max(0, e - opt.n_epochs) / (opt.n_epochs_decay + 1),
    "step": lambda e, opt: 0.1 ** ((e - 1) // opt.lr_decay_iters),
    "cosine": lambda e, opt: (
        0.5 * (1 + math.cos(math.pi * (e - 1) / (opt.n_epochs + opt.n_epochs_decay)))
    ),
}


class OneWeightModel(BaseModel):
    """As little as can be trained."""

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        self.loss_names = ["G"]
        self.model_names = ["G"]
        self.netG = nn.Linear(1, 1)
        self.optimizer = torch.optim.SGD(self.netG.parameters(), lr=opt.lr)
        self.optimizers = [self.optimizer]

    def set_input(self, input: dict[str, Tensor]) -> None:
        """Take nothing."""

    def forward(self) -> None:
        """Compute nothing."""

    def optimize_parameters(self) -> None:
        """Take an empty step."""
        self.optimizer.step()


def options(**changes: object) -> Namespace:
    """Return what a model and a schedule need."""
    values: dict[str, object] = {
        "isTrain": True,
        "gpu_ids": [],
        "checkpoints_dir": "unused",
        "name": "unused",
        "continue_train": False,
        "load_iter": 0,
        "epoch": "latest",
        "verbose": False,
        "lr": LR,
        "lr_policy": "linear",
        "n_epochs": 3,
        "n_epochs_decay": 4,
        "epoch_count": 1,
        "lr_decay_iters": 2,
    }
    return Namespace(**(values | changes))


def rates(opt: Namespace, metrics: Sequence[float] = ()) -> dict[int, float]:
    """Go through the epochs as train.py does, and return each one's learning rate."""
    model = OneWeightModel(opt)
    model.setup(opt)
    found = {}
    for epoch in range(opt.epoch_count, opt.n_epochs + opt.n_epochs_decay + 1):
        found[epoch] = float(model.optimizers[0].param_groups[0]["lr"])
        model.optimize_parameters()
        model.metric = metrics[epoch - opt.epoch_count] if metrics else 0.0
        model.update_learning_rate()
    return found


@given(
    policy=st.sampled_from(sorted(CLOSED_FORMS)),
    n_epochs=st.integers(0, 12),
    n_epochs_decay=st.integers(0, 12),
    lr_decay_iters=st.integers(1, 6),
    data=st.data(),
)
def test_every_epoch_has_the_rate_of_the_closed_form(
    policy: str, n_epochs: int, n_epochs_decay: int, lr_decay_iters: int, data: st.DataObject
) -> None:
    last = n_epochs + n_epochs_decay
    assume(last > 0)
    opt = options(
        lr_policy=policy,
        n_epochs=n_epochs,
        n_epochs_decay=n_epochs_decay,
        lr_decay_iters=lr_decay_iters,
        epoch_count=data.draw(st.integers(1, last), "epoch_count"),
    )
    for epoch, rate in rates(opt).items():
        wanted = LR * CLOSED_FORMS[policy](epoch, opt)
        assert rate == pytest.approx(wanted, rel=1e-9, abs=1e-15), epoch


@pytest.mark.parametrize("policy", CLOSED_FORMS)
def test_resumed_run_goes_on_with_the_rates_of_the_whole_run(policy: str) -> None:
    whole = rates(options(lr_policy=policy, n_epochs=5, n_epochs_decay=6))
    for first in range(1, 12):
        rest = rates(options(lr_policy=policy, n_epochs=5, n_epochs_decay=6, epoch_count=first))
        assert rest == pytest.approx({e: lr for e, lr in whole.items() if e >= first}, abs=1e-15)


def test_linear_keeps_the_rate_for_all_of_n_epochs_and_never_trains_at_zero() -> None:
    found = rates(options(n_epochs=3, n_epochs_decay=4))
    wanted = {1: 1, 2: 1, 3: 1, 4: 0.8, 5: 0.6, 6: 0.4, 7: 0.2}
    assert found == pytest.approx({epoch: LR * share for epoch, share in wanted.items()})


def test_the_only_epoch_trains_at_the_full_rate() -> None:
    for policy in LR_POLICIES:
        assert rates(options(lr_policy=policy, n_epochs=1, n_epochs_decay=0)) == {1: LR}


def plateau_by_hand(metrics: Sequence[float]) -> list[float]:
    """Multiply by 0.2 once more than five in a row are not better than the best by 1% of it."""
    best, waited, rate, found = math.inf, 0, LR, []
    for metric in metrics:
        found.append(rate)
        if math.isnan(metric):  # nothing was measured
            continue
        if math.isinf(best) or best - metric > abs(best) * 0.01:
            best, waited = metric, 0
        else:
            waited += 1
        if waited > 5:
            rate, waited = max(rate * 0.2, 0.0), 0
    return found


MEASURED = [5.0, 4.99, 4.0, 3.97, 3.0, 1.0, 0.0, 1e-6, -1e-6, -1.0, -1.001, -1.02, -5.0, math.nan]


@given(metrics=st.lists(st.sampled_from(MEASURED), min_size=2, max_size=40))
@pytest.mark.parametrize("save_best", ["", "PSNR"])
def test_plateau_follows_the_metric(save_best: str, metrics: list[float]) -> None:
    """For better or worse, below zero and around it; NaN says that nothing was measured."""
    opt = options(lr_policy="plateau", n_epochs=len(metrics), n_epochs_decay=0, save_best=save_best)
    turned = [-metric for metric in metrics] if save_best else metrics  # more is better
    # torch leaves changes below 1e-8 out: not reached within 40 epochs
    assert list(rates(opt, turned).values()) == pytest.approx(plateau_by_hand(metrics), rel=1e-9)


def test_plateau_forgets_nothing_between_two_measurements() -> None:
    opt = options(lr_policy="plateau", n_epochs=16, n_epochs_decay=0)
    every_second = [math.nan, *(value for _ in range(8) for value in (1.0, math.nan))]
    found = list(rates(opt, every_second).values())
    assert found == pytest.approx([LR] * 14 + [LR * 0.2] * 2)


@pytest.mark.parametrize("epoch_count", [1, 5])
def test_plateau_without_progress_falls_every_six_epochs(epoch_count: int) -> None:
    opt = options(lr_policy="plateau", n_epochs=20, n_epochs_decay=0, epoch_count=epoch_count)
    found = list(rates(opt).values())
    assert found[:16] == pytest.approx([LR] * 7 + [LR * 0.2] * 6 + [LR * 0.04] * 3)


def test_plateau_counts_epochs_from_epoch_count() -> None:
    opt = options(lr_policy="plateau", epoch_count=4)
    model = OneWeightModel(opt)
    model.setup(opt)
    assert model.schedulers[0].last_epoch == 3


def optimizer_at(lr: float) -> Optimizer:
    """Return an optimiser with one weight."""
    return torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=lr)


REFERENCE_FIELDS = ("lr_policy", "epoch_count", "n_epochs", "n_epochs_decay", "lr_decay_iters")


@pytest.mark.parametrize("policy", LR_POLICIES)
def test_get_scheduler_takes_an_object_with_the_fields_of_the_reference(policy: str) -> None:
    class Bare:
        """Carries what the reference's scheduler reads, and no more."""

        __slots__ = REFERENCE_FIELDS

    bare = Bare()
    for name, value in zip(REFERENCE_FIELDS, (policy, 1, 2, 3, 4), strict=True):
        setattr(bare, name, value)
    optimizer = optimizer_at(LR)
    scheduler = get_scheduler(optimizer, bare)
    assert scheduler.optimizer is optimizer
    assert optimizer.param_groups[0]["lr"] == LR


def test_unknown_policy_is_raised_with_a_near_miss() -> None:
    with pytest.raises(ChoiceError, match=r"\[cosin\].*Did you mean 'cosine'") as raised:
        get_scheduler(optimizer_at(LR), options(lr_policy="cosin"))
    assert isinstance(raised.value, NotImplementedError)


def test_every_optimiser_follows_the_policy(tmp_path: Path) -> None:
    class TwoOptimisers(OneWeightModel):
        def __init__(self, opt: Namespace) -> None:
            super().__init__(opt)
            self.netD = nn.Linear(1, 1)
            self.optimizers.append(torch.optim.SGD(self.netD.parameters(), lr=10 * opt.lr))

    opt = options(n_epochs=0, n_epochs_decay=1, checkpoints_dir=str(tmp_path))
    model = TwoOptimisers(opt)
    model.setup(opt)
    found = [optimizer.param_groups[0]["lr"] for optimizer in model.optimizers]
    assert found == pytest.approx([LR / 2, 10 * LR / 2])
