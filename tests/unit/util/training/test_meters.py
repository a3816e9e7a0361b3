"""Running means."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from util.training.meters import RunningMean

NUMBERS = st.floats(-1e6, 1e6)


@given(values=st.lists(NUMBERS, min_size=1, max_size=30), as_tensor=st.booleans())
def test_the_mean_is_the_mean(values: list[float], as_tensor: bool) -> None:
    meter = RunningMean()
    for value in values:
        meter.add(torch.tensor(value, dtype=torch.float64) if as_tensor else value)
    mean = meter.mean()
    assert type(mean) is float
    assert mean == pytest.approx(math.fsum(values) / len(values), rel=1e-9, abs=1e-6)


def test_nothing_added_means_none() -> None:
    assert RunningMean().mean() is None


@given(values=st.lists(st.none() | NUMBERS, max_size=20))
def test_none_is_passed_over(values: list[float | None]) -> None:
    meter, numbers_only = RunningMean(), RunningMean()
    for value in values:
        meter.add(value)
        if value is not None:
            numbers_only.add(value)
    assert meter.mean() == numbers_only.mean()


def test_the_graph_of_a_loss_is_not_kept_alive() -> None:
    freed: list[str] = []

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(ctx: "Watched", x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: "Watched", gradient: torch.Tensor) -> torch.Tensor:
            return gradient

    meter = RunningMean()
    loss = Watched.apply(torch.ones((), requires_grad=True))
    node = loss.grad_fn
    assert node is not None
    node.metadata["alive"] = _CallsOnDelete(freed)
    meter.add(loss)
    del loss, node
    assert freed == ["freed"]
    assert meter.mean() == 1.0


class _CallsOnDelete:
    def __init__(self, log: list[str]) -> None:
        self.log = log

    def __del__(self) -> None:
        self.log.append("freed")


def test_a_value_changed_in_place_afterwards_does_not_change_the_mean() -> None:
    meter = RunningMean()
    value = torch.tensor(2.0)
    meter.add(value)
    value.fill_(100.0)
    assert meter.mean() == 2.0
