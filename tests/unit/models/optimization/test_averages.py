"""Averages that follow weights: the formula, what counts as a batch, use without a trace."""

from collections.abc import Sequence
from contextlib import suppress

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim import optimizer as torch_optimizer

from models.optimization.averages import Averages, weights_of

Capture = pytest.CaptureFixture[str]


def network(seed: int = 0) -> nn.Sequential:
    """Return a small network with buffers, in float64."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)).double()


def step(net: nn.Module, optimizer: SGD, size: float) -> None:
    """Change all weights by an optimiser."""
    generator = torch.Generator().manual_seed(int(1000 * size))
    for parameter in net.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter) * size
    optimizer.step()


def copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


@given(
    decay=st.floats(0.001, 0.9999),
    steps=st.lists(st.integers(0, 3), min_size=1, max_size=8),  # in each batch
)
def test_averages_are_those_of_the_formula_once_a_batch(decay: float, steps: list[int]) -> None:
    net = network()
    optimizer = SGD(net.parameters(), lr=1.0)
    averages = Averages(decay, {"G": net})
    wanted = copies(weights_of(net))
    for number, count in enumerate(steps):
        averages.begin_batch()
        for again in range(count):
            step(net, optimizer, 1 + number / 10 + again / 100)
        if count:
            pairs = zip(wanted, weights_of(net), strict=True)
            wanted = [decay * old + (1 - decay) * new.detach() for old, new in pairs]
        if number % 2:  # whoever asks in between changes nothing
            averages.values()
    for found, value in zip(averages.values()["G"], wanted, strict=True):
        torch.testing.assert_close(found, value, rtol=1e-12, atol=1e-12)


def test_a_batch_moves_the_networks_that_it_has_changed_alone() -> None:
    first, second = network(1), network(2)
    optimizer = SGD(first.parameters(), lr=1.0)
    averages = Averages(0.5, {"G": first, "F": second})
    before = {name: copies(values) for name, values in averages.values().items()}
    with torch.no_grad():
        second[0].weight.add_(1)  # not by an optimiser
    averages.begin_batch()
    step(first, optimizer, 1)
    after = averages.values()
    assert not torch.equal(after["G"][0], before["G"][0])
    assert all(map(torch.equal, after["F"], before["F"]))


def test_optimisers_of_other_networks_do_not_matter() -> None:
    net, other = network(1), network(2)
    averages = Averages(0.5, {"G": net})
    with torch.no_grad():
        net[0].weight.add_(1)
    averages.begin_batch()
    step(other, SGD(other.parameters(), lr=1.0), 1)
    assert not torch.equal(averages.values()["G"][0], net[0].weight)


def test_in_a_loop_that_knows_no_batches_each_step_is_one_and_that_is_said_once(
    capsys: Capture,
) -> None:
    net = network()
    optimizer = SGD(net.parameters(), lr=1.0)
    averages = Averages(0.5, {"G": net})
    wanted = net[0].weight.detach().clone()
    for number in range(3):
        step(net, optimizer, 1 + number)
        wanted = (wanted + net[0].weight.detach()) / 2
    torch.testing.assert_close(averages.values()["G"][0], wanted, rtol=1e-12, atol=1e-12)
    assert capsys.readouterr().out.count("every step of an optimiser counts as a batch") == 1


def test_networks_compute_with_averages_and_come_back_with_all_their_bits() -> None:
    net = network().float().to(memory_format=torch.channels_last)
    optimizer = SGD(net.parameters(), lr=1.0)
    averages = Averages(0.9, {"G": net})
    averages.begin_batch()
    step(net, optimizer, 1)
    x = torch.randn(2, 2, 8, 8)
    state = {key: value.clone() for key, value in net.state_dict().items()}
    where = [tensor.data_ptr() for tensor in net.state_dict().values()]
    with suppress(ZeroDivisionError), averages.in_use():
        assert all(map(torch.equal, weights_of(net), averages.values()["G"]))
        net(x)  # statistics of batch norm move
        raise ZeroDivisionError
    for key, value in net.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert [tensor.data_ptr() for tensor in net.state_dict().values()] == where
    assert net[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(averages.values()["G"][0], net[0].weight)


def test_averages_start_where_they_are_told_to() -> None:
    net, other = network(1), network(2).float()
    averages = Averages(0.5, {"G": net})
    averages.start("G", other)
    assert all(map(torch.equal, averages.values()["G"], weights_of(other)))
    assert averages.values()["G"][0].data_ptr() != other[0].weight.data_ptr()


def test_complex_weights_have_averages_and_counters_have_none() -> None:
    net = nn.Module()
    net.weight = nn.Parameter(torch.ones(3, dtype=torch.complex64))
    net.count = nn.Parameter(torch.ones(1, dtype=torch.int64), requires_grad=False)
    averages = Averages(0.5, {"G": net})
    averages.begin_batch()
    net.weight.grad = torch.full_like(net.weight, 2j)
    SGD([net.weight], lr=1.0).step()
    with averages.in_use():
        assert torch.equal(net.weight, torch.full((3,), 1 - 1j))
        assert int(net.count) == 1


def test_a_network_without_weights_does_no_harm() -> None:
    averages = Averages(0.5, {"G": nn.Identity()})
    with averages.in_use():
        averages.begin_batch()
    assert averages.values() == {"G": []}


def test_nothing_is_left_of_averages_that_nobody_has() -> None:
    hooks = torch_optimizer._global_optimizer_post_hooks
    net = network()
    averages = Averages(0.5, {"G": net})
    before = len(hooks)
    del averages
    assert len(hooks) == before  # torch may be going through them
    Averages(0.5, {"G": net})
    assert len(hooks) <= before
