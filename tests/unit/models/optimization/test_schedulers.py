"""The learning rate of every epoch, or step, against formulas written out here."""

import math
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import Optimizer

from models.base_model import BaseModel
from models.networks import get_scheduler
from models.optimization.schedulers import LR_POLICIES
from models.storage.trained_model import TrainedModel
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


# ---- in steps ------------------------------------------------------------------------------------

# Of the number of a step, that of all steps, and that of those in which the rate decays.
BY_STEP: dict[str, Callable[[int, int, int], float]] = {
    "linear": lambda s, total, decay: 1 - max(0, s - (total - decay)) / (decay + 1),
    "step": lambda s, total, decay: 0.1 ** ((s - 1) // 2),
    "cosine": lambda s, total, decay: 0.5 * (1 + math.cos(math.pi * (s - 1) / total)),
    "plateau": lambda s, total, decay: 1.0,  # nothing was measured
}


def rates_of_steps(
    training: TrainedModel, steps: int, val_steps: int = 3, measured: float | None = None
) -> list[float]:
    """Take steps as train.py does, with an epoch's end every few, and return the rate of each."""
    found = []
    for number in range(1, steps + 1):
        found.append(training.learning_rates()["optimizer"])
        training.begin_batch()
        training.model.optimize_parameters()
        training.after_step()
        if number % val_steps == 0:
            training.update_learning_rate(measured)
    return found


def trained(opt: Namespace, kind: type[OneWeightModel] = OneWeightModel) -> TrainedModel:
    """Return a model that is ready to train."""
    model = kind(opt)
    model.setup(opt)
    return TrainedModel(model)


@given(
    policy=st.sampled_from(LR_POLICIES),
    total=st.integers(1, 20),
    decay=st.one_of(st.none(), st.integers(0, 20)),
    more=st.integers(0, 9),
    data=st.data(),
)
@settings(max_examples=40)
def test_every_step_has_the_rate_of_the_closed_form(
    policy: str, total: int, decay: int | None, more: int, data: st.DataObject
) -> None:
    """Also of a run that goes on, and of one that goes on longer than it was to be."""
    assume(decay is None or decay <= total)
    opt = options(lr_policy=policy, total_steps=total, decay_steps=decay)
    first, stop = trained(opt), data.draw(st.integers(0, total), "stop")
    found = rates_of_steps(first, stop)
    assert found == close_to(wanted_rates(policy, total, decay)[:stop])

    # Another --epoch_count, as of a run that was counted in epochs once, has no part in it.
    changed = {"total_steps": total + more, "epoch_count": 3}
    longer = trained(options(**{**vars(opt), **changed}))
    state = first.training_state()
    longer.load_training_state(state, steps=stop, keep_rates=more > 0 and policy != "plateau")
    found = rates_of_steps(longer, total + more - stop)
    assert found == close_to(wanted_rates(policy, total + more, decay)[stop:])


def wanted_rates(policy: str, total: int, decay: int | None) -> list[float]:
    decay = total // 2 if decay is None else decay
    return [LR * BY_STEP[policy](step, total, decay) for step in range(1, total + 1)]


def close_to(rates: list[float]) -> Any:
    return pytest.approx(rates, rel=1e-9, abs=1e-15)


def test_one_line_for_each_epoch_tells_what_its_steps_made_of_the_rate(
    capsys: pytest.CaptureFixture[str],
) -> None:
    training = trained(options(total_steps=6, decay_steps=6))
    capsys.readouterr()
    rates_of_steps(training, 6)
    lines = [line for line in capsys.readouterr().out.splitlines() if "learning rate" in line]
    assert lines == [
        f"learning rate {LR * before / 7:.7f} -> {LR * after / 7:.7f}"
        for before, after in ((6, 3), (3, 0))
    ]


def test_plateau_counts_epochs_in_a_run_of_steps() -> None:
    training = trained(options(total_steps=30, lr_policy="plateau"))
    found = rates_of_steps(training, 30, val_steps=4, measured=1.0)
    assert found == pytest.approx([LR] * 28 + [LR * 0.2] * 2)


class MakesOneLater(OneWeightModel):
    """Has a second optimiser from its third batch on."""

    def optimize_parameters(self) -> None:
        """Take empty steps."""
        self.batches = getattr(self, "batches", 0) + 1
        if self.batches == 3:
            self.later = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=LR)
            self.optimizers.append(self.later)
        for optimizer in self.optimizers:
            optimizer.step()


@pytest.mark.parametrize("policy", ["linear", "step", "cosine"])
def test_an_optimiser_made_later_stands_in_the_same_step(policy: str) -> None:
    training = trained(options(total_steps=9, decay_steps=8, lr_policy=policy), MakesOneLater)
    rates_of_steps(training, 7)
    found = training.learning_rates()
    assert found["later"] == pytest.approx(found["optimizer"])
    assert found["later"] < LR


class OwnSchedule(OneWeightModel):
    """Has made a schedule by itself, which counts epochs, beside the one of the options."""

    def setup(self, opt: Namespace) -> None:
        """Halve the second optimiser's rate after every epoch."""
        super().setup(opt)
        self.second = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        self.schedulers.append(torch.optim.lr_scheduler.StepLR(self.second, 1, gamma=0.5))

    def optimize_parameters(self) -> None:
        """Take two empty steps."""
        super().optimize_parameters()
        self.second.step()


class OwnUpdate(OneWeightModel):
    """Steps all its schedules, as the original does, and does something else after each epoch."""

    epochs = 0

    def update_learning_rate(self) -> None:
        """Count."""
        for scheduler in self.schedulers:
            scheduler.step()
        self.epochs += 1


def test_what_a_model_has_of_its_own_goes_on_counting_epochs() -> None:
    opt = options(total_steps=12, decay_steps=0, lr_policy="step", lr_decay_iters=5)
    own = trained(opt, OwnSchedule)
    found = rates_of_steps(own, 12, val_steps=4)
    assert found == pytest.approx([LR] * 5 + [LR / 10] * 5 + [LR / 100] * 2)
    assert own.model.second.param_groups[0]["lr"] == 0.5**3
    assert len(own.model.schedulers) == 2

    own = trained(opt, OwnUpdate)
    assert rates_of_steps(own, 12, val_steps=4) == found
    assert own.model.epochs == 3
