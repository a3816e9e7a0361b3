"""Shares of a batch, without processes; tests/processes has real ones."""

import socket
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.pipeline.sampling import EpochSampler
from util.base.errors import UserError
from util.processes import agreement, group
from util.processes.group import Share, shares_of

COUNTS = st.integers(1, 9)


def as_process(patch: pytest.MonkeyPatch, rank: int, count: int) -> None:
    patch.setattr(group, "count", lambda: count)
    patch.setattr(group, "rank", lambda: rank)


@given(images=st.integers(0, 50), count=COUNTS)
def test_every_image_is_in_one_share_and_shares_are_even(images: int, count: int) -> None:
    shares = shares_of(images, count)
    assert sum(shares) == images
    assert max(shares) - min(shares) <= 1
    if images > 0:
        of_all = [Share(shares, rank) for rank in range(count)]
        rows = [list(range(images))[each.rows] for each in of_all if each.counts]
        assert sum(rows, []) == list(range(images))
        assert sum(each.fraction for each in of_all) == pytest.approx(1)
        assert {each.size for each in of_all if not each.counts} <= {1}


@given(
    length=st.integers(1, 40), count=COUNTS, batch=st.integers(1, 4), begun=st.integers(0, 3),
    seed=st.integers(0, 5),
)  # fmt: skip
def test_processes_divide_the_epoch_of_one(
    length: int, count: int, batch: int, begun: int, seed: int
) -> None:
    """Batch by batch, and in the middle of an epoch; who gets nothing repeats the first image."""
    size = batch * count

    def epoch(rank: int, processes: int) -> list[object]:
        with pytest.MonkeyPatch.context() as patch:
            as_process(patch, rank, processes)
            sampler = EpochSampler(length, shuffle=True, seed=seed, batch_size=size)
            sampler.start, sampler.order_seed = begun * size, 3
            return list(sampler)

    whole = epoch(0, 1)
    parts = [epoch(rank, count) for rank in range(count)]
    for first in range(0, len(whole), size):
        images = whole[first : first + size]
        taken = []
        for rank, part in enumerate(parts):
            share = Share(shares_of(len(images), count), rank)
            mine = [part.pop(0) for _ in range(share.size)]
            assert mine == (images[share.rows] if share.counts else images[:1])
            taken += mine if share.counts else []
        assert taken == images
    assert parts == [[]] * count


@given(count=COUNTS, batch=st.integers(1, 12), parts=st.integers(1, 3))
def test_random_numbers_are_drawn_for_all_processes(count: int, batch: int, parts: int) -> None:
    """And for several batches that were put together."""
    torch.manual_seed(1)
    whole = torch.randn(parts * batch, 2)
    shares = shares_of(batch, count)
    for rank in range(count):
        with pytest.MonkeyPatch.context() as patch:
            as_process(patch, rank, count)
            group.begin_batch(batch)
            own = Share(shares, rank)
            torch.manual_seed(1)
            drawn = group.drawn_for_all(torch.randn, (parts * own.size, 2))
            wanted = whole.view(parts, batch, 2)[:, own.rows].reshape(-1, 2)
            assert torch.equal(drawn, wanted)
    group.begin_batch(batch)  # of one process: forgotten


@given(count=st.integers(2, 4), data=st.data())
def test_rows_come_to_whom_they_are_for_in_their_order(count: int, data: st.DataObject) -> None:
    one = st.integers(0, count - 1)
    ways = data.draw(st.lists(st.tuples(one, one, st.booleans()), min_size=1, max_size=9))
    holders, to, _ = zip(*ways, strict=True)
    parcels: dict[int, list[torch.Tensor]] = {}

    def in_process(rank: int) -> list[int]:
        """Send what is held; what was sent before, if all have, comes in."""

        def exchange(
            found: torch.Tensor, flat: torch.Tensor, received: list[int], sent: list[int]
        ) -> None:
            parcels[rank] = list(flat.split(sent))
            come = [held[rank] for _, held in sorted(parcels.items())]
            if len(parcels) == count:
                assert [len(each) for each in come] == received
                found.copy_(torch.cat(come))

        here = [(holder == rank) or ways[n][2] for n, holder in enumerate(holders)]
        rows = [torch.full((int(is_here), 2), n) for n, is_here in enumerate(here)]
        with pytest.MonkeyPatch.context() as patch:
            as_process(patch, rank, count)
            patch.setattr(group, "named", nullcontext)
            patch.setattr("torch.distributed.all_to_all_single", exchange)
            return [int(row) for row in group.handed_over(rows, holders, to)[:, 0]]

    for rank in range(count):
        in_process(rank)
    for rank in range(count):
        assert in_process(rank) == [n for n, target in enumerate(to) if target == rank]


@given(count=st.integers(2, 9), batch=st.integers(1, 12), parts=st.integers(1, 3))
def test_makers_are_those_whose_rows_they_are(count: int, batch: int, parts: int) -> None:
    makers = torch.tensor(
        [rank for rank, n in enumerate(shares_of(batch, count)) for _ in range(n)]
    )
    for rank in range(count):
        with pytest.MonkeyPatch.context() as patch:
            as_process(patch, rank, count)
            group.begin_batch(batch)
            found = torch.tensor(group.makers_of(parts * group.share().size))
            assert torch.equal(found, makers.repeat(parts))
            if group.share().counts:
                assert group.own_rows(found).tolist() == [rank] * (parts * group.share().size)
    group.begin_batch(batch)  # of one process: forgotten


def test_one_process_is_no_special_case() -> None:
    tensor = torch.ones(2, 3)
    with group.joined("cpu", seconds=1):
        assert (group.count(), group.rank(), group.share(4).fraction) == (1, 0, 1)
        assert group.add_up(tensor) is group.own_rows(tensor) is tensor
        assert group.gathered("x") == ["x"]
        assert agreement.all_or_none(lambda: 5) == 5


def test_processes_that_cannot_find_each_other_are_told_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where a cluster has set variables that nobody meant."""
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(UserError, match="process 0 of 8 .*MASTER_ADDR"), group.joined("cpu", 1):
        pass
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        for name, value in {"RANK": 1, "MASTER_ADDR": "127.0.0.1"}.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setenv("MASTER_PORT", str(nobody.getsockname()[1]))
        with pytest.raises(UserError, match="1 of 8 has not found"), group.joined("cpu", 1):
            pass
