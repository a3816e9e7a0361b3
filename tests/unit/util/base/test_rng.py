"""Saving, restoring and seeding the global random generators."""

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.checkpoints import save_state
from util.base import rng
from util.storage import checkpoint

pytestmark = pytest.mark.usefixtures("own_randomness")
# The fixture only puts the generators back after the last example.
shared_fixture = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def draws() -> list[Any]:
    """Draw from every generator, in ways that keep a second normal value for later."""
    return [
        random.random(),
        random.gauss(0, 1),
        random.randint(0, 10**9),
        np.random.rand(),
        np.random.standard_normal(),
        int(np.random.randint(10**9)),
        *torch.rand(3).tolist(),
        *torch.randn(3).tolist(),
        *torch.randperm(10).tolist(),
    ]


@shared_fixture
@given(seed=st.integers(0, 2**64 - 1), rounds=st.integers(0, 3))
def test_a_restored_state_gives_the_same_draws(seed: int, rounds: int) -> None:
    rng.seed_all(seed)
    for _ in range(rounds):
        draws()
    state = rng.state_dict()
    expected = [draws(), draws()]
    rng.load_state_dict(state)
    assert [draws(), draws()] == expected


def test_a_state_survives_a_checkpoint_file(tmp_path: Path) -> None:
    rng.seed_all(5)
    draws()
    save_state({"rng": rng.state_dict()}, tmp_path / "state.pth")
    expected = draws()
    rng.seed_all(6)
    rng.load_state_dict(checkpoint.load_state(tmp_path / "state.pth")["rng"])  # weights_only
    assert draws() == expected


def test_taking_the_state_draws_nothing() -> None:
    rng.seed_all(1)
    expected = draws()
    rng.seed_all(1)
    rng.state_dict()
    assert draws() == expected


def test_a_state_taken_with_other_gpus_still_restores_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(states: list[torch.Tensor]) -> None:
        raise AssertionError("there are no such GPUs")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", refuse)
    state = rng.state_dict() | {"cuda": [torch.zeros(16, dtype=torch.uint8)] * 3}
    expected = draws()
    rng.load_state_dict(state)
    assert draws() == expected


@shared_fixture
@given(seed=st.integers(0, 2**64 - 1))
def test_one_seed_decides_all_generators(seed: int) -> None:
    rng.seed_all(seed)
    first = draws()
    draws()
    rng.seed_all(seed)
    assert draws() == first


INTEGERS = st.integers(0, 2**63)


@given(numbers=st.lists(INTEGERS, max_size=4))
def test_mix_gives_a_64_bit_seed_and_always_the_same_one(numbers: list[int]) -> None:
    assert 0 <= rng.fold_seed(*numbers) < 2**64
    assert rng.fold_seed(*numbers) == rng.fold_seed(*numbers)


@given(numbers=st.lists(INTEGERS, min_size=1, max_size=4), data=st.data())
def test_changing_one_number_by_one_changes_the_seed(
    numbers: list[int], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(numbers) - 1))
    neighbour = [number + (i == place) for i, number in enumerate(numbers)]
    assert rng.fold_seed(*numbers) != rng.fold_seed(*neighbour)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_seeds_of_neighbours_share_no_more_bits_than_chance(place: int) -> None:
    def flipped_bits(step: int) -> int:
        numbers = [3, 5, 7]
        numbers[place] += step
        here = rng.fold_seed(*numbers)
        numbers[place] += 1
        return (here ^ rng.fold_seed(*numbers)).bit_count()

    counts = [flipped_bits(step) for step in range(500)]
    assert 31 < np.mean(counts) < 33  # of 64; the mean's standard deviation is 0.18
    assert min(counts) > 10


def test_every_item_of_a_long_training_has_its_own_seed() -> None:
    seeds = {
        rng.fold_seed(seed, epoch, position)
        for seed, epoch, position in itertools.product(range(3), range(1, 41), range(250))
    }
    assert len(seeds) == 3 * 40 * 250


def test_the_order_of_the_numbers_matters() -> None:
    assert rng.fold_seed(1, 2) != rng.fold_seed(2, 1)
