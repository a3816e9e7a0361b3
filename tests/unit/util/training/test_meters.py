"""The means of the losses."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from util.training.meters import LossMeter

NUMBERS = st.floats(-1e6, 1e6)
NAMES = ["D", "G_L1", "G"]


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@given(steps=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=30))
def test_the_mean_is_the_mean(steps: list[tuple[float, float, float]]) -> None:
    meter = LossMeter()
    for values in steps:
        meter.add(NAMES, vector(*values))
    wanted = [math.fsum(column) / len(steps) for column in zip(*steps, strict=True)]
    means = meter.means(["G_L1", "D", "unknown"])
    assert list(means) == ["G_L1", "D"]
    assert [means["D"], means["G_L1"]] == pytest.approx(wanted[:2], rel=1e-9, abs=1e-6)
    assert meter.generators_mean() == pytest.approx(wanted[2], rel=1e-9, abs=1e-6)


def test_nothing_added_means_nothing() -> None:
    meter = LossMeter()
    assert meter.generators_mean() is None
    assert meter.means(NAMES) == {}
    meter.add([], vector())
    assert meter.generators_mean() is None
    assert meter.means(NAMES) == {}


def test_losses_may_come_and_go() -> None:
    """As a penalty that is computed in every second step."""
    meter = LossMeter()
    meter.add(["D"], vector(5.0))
    meter.add(NAMES, vector(1.0, 2.0, 3.0))
    meter.add(["G", "R1"], vector(6.0, 4.0))
    assert meter.means([*NAMES, "R1"]) == {"D": 3.0, "G_L1": 2.0, "G": 4.5, "R1": 4.0}
    again = LossMeter()
    again.load_state_dict(meter.state_dict())
    again.add(["D"], vector(0.0))
    assert again.means([*NAMES, "R1"]) == {"D": 2.0, "G_L1": 2.0, "G": 4.5, "R1": 4.0}
    meter.reset()
    assert meter.means(NAMES) == {}


def test_a_step_counts_as_much_as_it_has_images() -> None:
    meter = LossMeter()
    assert meter.is_empty
    meter.add(["D"], vector(1.0), images=4)
    meter.add(NAMES, vector(6.0, 2.0, 3.0), images=1)
    assert not meter.is_empty
    assert meter.means(NAMES) == {"D": 2.0, "G_L1": 2.0, "G": 3.0}
    again = LossMeter()
    again.load_state_dict(meter.state_dict())
    again.add(["G"], vector(0.0), images=2)
    assert again.means(NAMES) == {"D": 2.0, "G_L1": 2.0, "G": 1.0}


def test_a_value_changed_in_place_afterwards_does_not_change_the_mean() -> None:
    meter = LossMeter()
    values = vector(2.0, 2.0, 2.0)
    meter.add(NAMES, values)
    values.fill_(100.0)
    assert meter.generators_mean() == 2.0


# ---- states -------------------------------------------------------------------------------------


def test_means_go_on_where_they_were_saved() -> None:
    meter, again = LossMeter(), LossMeter()
    meter.add(NAMES, vector(1.0, 2.0, 3.0))
    again.load_state_dict(meter.state_dict())
    for each in (meter, again):
        each.add(NAMES, vector(3.0, 4.0, 6.0))
    assert again.means(NAMES) == meter.means(NAMES) == {"D": 2.0, "G_L1": 3.0, "G": 4.5}


def test_a_state_has_what_earlier_versions_look_for() -> None:
    meter = LossMeter()
    assert meter.state_dict()["epoch_loss"] == {"sum": 0.0, "count": 0}
    for _ in range(2):
        meter.add(NAMES, vector(1.0, 2.0, 3.0))
    state = meter.state_dict()
    assert (float(state["epoch_loss"]["sum"]), state["epoch_loss"]["count"]) == (6.0, 2)
    assert state["loss_means"]["count"] == 2
    assert set(state["loss_means"]) == {"names", "sums", "count", "counts"}


def earlier(total: Any, names: list[str] | None, sums: Tensor | None = None) -> dict[str, Any]:
    """Return what an earlier version saved after two steps."""
    count = 0 if sums is None else 2
    means = {"names": names, "sums": sums, "count": count}
    generators = {"sum": total, "count": 2}
    return {"epoch_loss": generators, **({"loss_means": means} if names is not None else {})}


@pytest.mark.parametrize("total", [torch.tensor(4.0), 4.0])
def test_states_of_two_meters_are_taken(total: Any) -> None:
    """In the version before the generators' loss had a mean of its own."""
    meter = LossMeter()
    meter.load_state_dict(earlier(total, ["D", "G_L1"], torch.tensor([2.0, 6.0])))
    assert meter.generators_mean() == 2.0
    meter.add(NAMES, torch.tensor([1.0, 3.0, 5.0]))
    assert meter.means(NAMES) == {"D": 1.0, "G_L1": 3.0, "G": 3.0}


def test_a_loss_that_is_the_generators_counts_once() -> None:
    meter = LossMeter()
    meter.load_state_dict(earlier(6.0, ["D", "G"], torch.tensor([2.0, 6.0])))
    meter.add(["D", "G"], torch.tensor([1.0, 3.0]))
    assert meter.means(["D", "G"]) == {"D": 1.0, "G": 3.0}


def test_states_without_means_are_taken() -> None:
    meter = LossMeter()
    meter.load_state_dict(earlier(4.0, None))
    assert meter.generators_mean() == 2.0
    meter.load_state_dict({"epoch_loss": {"sum": 0.0, "count": 0}})
    assert meter.generators_mean() is None
