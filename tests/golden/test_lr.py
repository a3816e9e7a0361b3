"""Learning rates: of the schedules alone, and of the epochs as train.py runs them."""

import math
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from models import create_model
from models.networks import get_scheduler
from options.train_options import TrainOptions
from tests.golden.conftest import Largest
from tests.golden.formulas import ids, load, relative_difference

pytestmark = pytest.mark.golden

RECORDS = load("lr")
VALID = [record for record in RECORDS if "error" not in record]
FIELDS = ("lr_policy", "n_epochs", "n_epochs_decay", "epoch_count", "lr_decay_iters", "lr")
BOUND = 1e-8  # records hold nine digits
NEVER_ZERO = 1e-15


def cosine(record: dict[str, Any], epochs_done: int) -> float:
    """Return the decided rate: half a wave over both phases."""
    last = record["n_epochs"] + record["n_epochs_decay"]
    return float(record["lr"] * (1 + math.cos(math.pi * epochs_done / last)) / 2)


def scheduled(record: dict[str, Any]) -> list[float]:
    """Return the rates of `get_scheduler`: at first, and after each step."""
    if record["lr_policy"] == "cosine":
        return [cosine(record, done) for done in range(len(record["epoch_lr"]) + 1)]
    return [record["lr_before_first_epoch"], *(lr for _, lr in record["epoch_lr"])]


def trained(record: dict[str, Any]) -> list[float]:
    """Return the decided rate of each epoch, from epoch_count on.

    Stepped at the end of an epoch; step and cosine know how many epochs were done before.
    """
    epochs = [epoch for epoch, _ in record["epoch_lr"]]
    if record["lr_policy"] == "cosine":
        return [cosine(record, epoch - 1) for epoch in epochs]
    if record["lr_policy"] == "step":
        decay = record["lr_decay_iters"]
        return [record["lr"] * 0.1 ** ((epoch - 1) // decay) for epoch in epochs]
    return scheduled(record)[:-1]


def compare(found: list[float], wanted: list[float], largest: Largest) -> None:
    """Compare rates; the last one may be exactly 0."""
    largest("learning rate", relative_difference(found, wanted, floor=NEVER_ZERO), BOUND)


def step(scheduler: LRScheduler) -> None:
    """Step a schedule; plateau was recorded with a metric that is always 0."""
    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step(0.0)
    else:
        scheduler.step()


@pytest.mark.parametrize("record", VALID, ids=ids(VALID, *FIELDS))
def test_schedule_gives_the_recorded_rates(record: dict[str, Any], largest: Largest) -> None:
    opt = Namespace(**{field: record[field] for field in FIELDS})
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=record["lr"])
    scheduler = get_scheduler(optimizer, opt)
    assert record["scheduler_class"] in {cls.__name__ for cls in type(scheduler).__mro__}

    rates = [optimizer.param_groups[0]["lr"]]
    for _ in record["epoch_lr"]:
        optimizer.step()
        step(scheduler)
        rates.append(optimizer.param_groups[0]["lr"])
    compare(rates, scheduled(record), largest)


@pytest.mark.parametrize("record", VALID, ids=ids(VALID, *FIELDS))
def test_model_trains_its_epochs_at_the_decided_rates(
    record: dict[str, Any], largest: Largest, tmp_path: Path
) -> None:
    argv = ["--dataroot", "X", "--gpu_ids", "-1", "--checkpoints_dir", str(tmp_path)]
    argv += ["--model", "template", "--netG", "resnet_6blocks", "--ngf", "1"]
    for field in FIELDS:
        argv += [f"--{field}", str(record[field])]
    opt = TrainOptions().parse(argv)
    model = create_model(opt)
    model.setup(opt)

    rates = []
    for _ in record["epoch_lr"]:
        rates.append(model.optimizers[0].param_groups[0]["lr"])
        model.optimizers[0].step()
        model.metric = 0
        model.update_learning_rate()
    compare(rates, trained(record), largest)


def test_unknown_policy_is_raised_not_returned() -> None:
    record = next(record for record in RECORDS if "error" in record)
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=record["lr"])
    opt = Namespace(**{field: record[field] for field in FIELDS})
    with pytest.raises(NotImplementedError, match=record["lr_policy"]):
        get_scheduler(optimizer, opt)
