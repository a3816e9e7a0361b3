"""Samples by number, and an order that needs few shards at a time."""

import pickle
import threading
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.pipeline.sampling import at_positions
from data.shards.ahead import FetchAhead
from data.shards.cache import ShardCache, locked
from data.shards.lists import Shard
from data.shards.store import ShardStore, count, streamed_order
from tests.support.shards import numbered, tar_bytes, write
from tests.support.web_server import Server
from tests.support.web_server import server as server
from util.base.errors import UserError


def told(*counts: int) -> ShardStore:
    """Return a store of shards of which only an index tells."""
    shards = [Shard(f"/nowhere/{n}.tar", count, 1) for n, count in enumerate(counts)]
    return ShardStore(shards, ShardCache(Path("/nowhere"), 0))


def order_of(store: ShardStore, opened: int, seed: int = 1) -> list[int]:
    return list(streamed_order(store, opened, torch.Generator().manual_seed(seed)))


def shard_of(store: ShardStore, number: int) -> int:
    (which,) = (n for n in range(len(store.shards)) if number in store.numbers_of(n))
    return which


def served(server: Server, count: int) -> list[Shard]:
    """Serve shards of four samples each."""
    server.files = {f"{n}.tar": numbered(4 * n, 4) for n in range(count)}
    return [Shard(f"{server.url}{n}.tar", 4, 10240) for n in range(count)]


@given(
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    opened=st.integers(1, 5),
    seed=st.integers(0, 2**62),
)
def test_an_order_has_each_sample_once_and_few_shards_open(
    counts: list[int], opened: int, seed: int
) -> None:
    store = told(*counts)
    order = order_of(store, opened, seed)
    assert sorted(order) == list(range(sum(counts)))
    assert order == order_of(store, opened, seed)
    places: dict[int, list[int]] = {}
    for place, number in enumerate(order):
        places.setdefault(shard_of(store, number), []).append(place)
    for place in range(len(order)):
        if len(counts) > opened:
            needed = sum(min(at) <= place <= max(at) for at in places.values())
            assert needed <= opened + 1  # inside a round those of the last one may be done


def test_an_order_mixes_shards_and_differs_between_seeds() -> None:
    store = told(*[40] * 20)
    order = order_of(store, 4)
    assert order != order_of(store, 4, seed=2)
    shards = [shard_of(store, number) for number in order]
    changes = sum(a != b for a, b in pairwise(shards))
    assert changes > len(order) / 2  # 0.7 of the neighbours, with four shards at a time
    inside = [number for number, shard in zip(order, shards, strict=True) if shard == 7]
    assert inside != sorted(inside)
    assert len(set(shards[: 40 * 3])) <= 5


def test_shards_that_can_all_be_open_are_mixed_as_a_whole() -> None:
    expected = torch.randperm(12, generator=torch.Generator().manual_seed(1)).tolist()
    assert order_of(told(4, 5, 3), 3) == expected


def test_most_leaves_out_samples_and_shards() -> None:
    shards = [Shard(f"/nowhere/{n}.tar", 4, 1) for n in range(3)]
    for most, lengths in ((4, [4]), (5, [4, 1]), (9, [4, 4, 1]), (100, [4, 4, 4])):
        store = ShardStore(shards, ShardCache(Path("/nowhere"), 0), most=most)
        assert len(store) == min(most, 12)
        assert [len(store.numbers_of(n)) for n in range(len(store.shards))] == lengths


def test_samples_are_found_by_number_and_read(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{n}.tar", numbered(10 * n, 3)) for n in range(3)]
    store = ShardStore([Shard(str(p)) for p in paths], ShardCache(tmp_path, 0), remembered=1)
    keys = [store.name(number) for number in range(len(store))]
    expected = [f"{tmp_path}/{n}.tar/{10 * n + k:03d}" for n in range(3) for k in range(3)]
    assert keys == expected
    shard, sample = store.sample(4)
    file = store.read(shard, sample.images[""])
    assert str(file) == f"{tmp_path}/1.tar/011.png"
    assert file.getvalue() in numbered(11, 1)


def test_a_damaged_shard_keeps_its_sound_samples_and_names_the_others(tmp_path: Path) -> None:
    whole = tar_bytes({f"{n}.png": bytes(400) for n in range(4)})
    path = write(tmp_path / "s.tar", whole[: 2 * 1024 + 600])
    store = ShardStore([Shard(str(path), 4)], ShardCache(tmp_path, 0))
    assert store.name(1).endswith("s.tar/1")
    with pytest.raises(UserError, match=r"s\.tar has no sample 3 of 4: it breaks off inside 2"):
        store.sample(2)
    with pytest.raises(UserError, match=r"s\.tar is damaged: it breaks off inside 2\.png"):
        ShardStore([Shard(str(path))], ShardCache(tmp_path, 0))
    path.write_bytes(whole[: 3 * 1024])
    with pytest.raises(UserError, match=r"no sample 4 of 4: it breaks off behind 2\.png"):
        ShardStore([Shard(str(path), 4)], ShardCache(tmp_path, 0)).sample(3)
    with pytest.raises(UserError, match=r"s\.tar is damaged: it breaks off behind 2\.png"):
        ShardStore([Shard(str(path))], ShardCache(tmp_path, 0))
    path.write_bytes(whole)
    with pytest.raises(UserError, match=r"no sample 5 of 5: its index is of other shards"):
        ShardStore([Shard(str(path), 5)], ShardCache(tmp_path, 0)).sample(4)


def test_a_shard_that_shrinks_while_it_is_read_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "s.tar", numbered(0, 3))
    store = ShardStore([Shard(str(path))], ShardCache(tmp_path, 0))
    shard, sample = store.sample(2)
    path.write_bytes(path.read_bytes()[:2600])
    with pytest.raises(UserError, match=r"s\.tar/002\.png cannot be read: the shard ends"):
        store.read(shard, sample.images[""])
    path.unlink()
    with pytest.raises(UserError, match=r"s\.tar is not there"):
        store.read(shard, sample.images[""])


def test_shards_on_the_web_are_counted_once_even_if_they_do_not_stay(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files = {f"{n}.tar": numbered(0, n + 1) for n in range(3)}
    shards = [Shard(f"{server.url}{n}.tar") for n in range(3)]
    store = ShardStore(shards, ShardCache(tmp_path, 10240))
    assert [shard.samples for shard in store.shards] == [1, 2, 3]
    assert [shard.bytes for shard in store.shards] == [10240] * 3
    assert "3 shards: each is read once" in capsys.readouterr().out
    assert len(list(tmp_path.glob("*.tar"))) == 1
    assert len(ShardStore(shards, ShardCache(tmp_path, 10240))) == 6
    assert len(server.requests) == 3
    assert capsys.readouterr().out == ""  # nothing is read for its number


DAMAGE = [b"#" * 2048, bytes(2048)]  # the latter reads as the end of the shard


def damage(copy: Path, by: bytes) -> None:
    content = copy.read_bytes()
    copy.write_bytes(content[:1024] + by + content[1024 + len(by) :])


@pytest.mark.parametrize("by", DAMAGE)
def test_a_copy_that_was_damaged_here_is_fetched_once_more(
    by: bytes, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shard,) = served(server, 1)
    cache = ShardCache(tmp_path, 10**6)
    damage(copy := cache.fetch(shard), by)
    store = ShardStore([shard], cache)
    assert [store.name(n) for n in range(4)] == [f"{shard.where}/00{n}" for n in range(4)]
    assert copy.read_bytes() == server.files["0.tar"]
    assert len(server.requests) == 2
    assert f"Its copy, {copy}, may be damaged: it is fetched once" in capsys.readouterr().err


@pytest.mark.parametrize("by", DAMAGE)
def test_a_shard_that_is_damaged_at_the_server_is_fetched_once_more_and_its_copy_named(
    by: bytes, server: Server, tmp_path: Path
) -> None:
    (shard,) = served(server, 1)
    damage(written := write(tmp_path / "broken.tar", server.files["0.tar"]), by)
    server.files = {"0.tar": written.read_bytes()}
    cache = ShardCache(tmp_path / "cache", 10**6)
    store = ShardStore([shard], cache)
    for _ in range(3):
        assert store.name(0).endswith("0.tar/000")
        with pytest.raises(UserError, match=rf"has no sample 4 of 4: .*copy is {tmp_path}/cache/0"):
            store.sample(3)
    assert len(server.requests) == 2


def test_a_copy_that_was_damaged_here_before_it_was_counted_is_fetched_once_more(
    server: Server, tmp_path: Path
) -> None:
    (shard,) = served(server, 1)
    uncounted, cache = Shard(shard.where), ShardCache(tmp_path, 10**6)
    damage(cache.fetch(uncounted), DAMAGE[0])
    assert count(uncounted, cache) == shard
    cache.path_of(shard).with_suffix(".json").unlink()
    damage(cache.path_of(shard), DAMAGE[0])
    server.files = {"0.tar": cache.path_of(shard).read_bytes()}
    with pytest.raises(UserError, match=rf"0\.tar is damaged: .* Its copy is {tmp_path}/0"):
        count(uncounted, cache)
    assert len(server.requests) == 3


def wait_for_what_is_fetched_ahead() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("fetch "):
            thread.join()


def test_shards_that_are_opened_and_the_next_one_are_fetched_beside(
    server: Server, tmp_path: Path
) -> None:
    store = ShardStore(served(server, 5), ShardCache(tmp_path, 10**6))
    order = streamed_order(store, 2, torch.Generator().manual_seed(1))
    next(order)
    wait_for_what_is_fetched_ahead()
    assert len(list(tmp_path.glob("*.tar"))) == 2
    assert len(list(order)) == 19


def test_a_run_that_goes_on_inside_an_epoch_fetches_no_shards_that_it_is_past(
    server: Server, tmp_path: Path
) -> None:
    shards = served(server, 40)
    store = ShardStore(shards, ShardCache(tmp_path, 10**6))
    order = streamed_order(store, 2, torch.Generator().manual_seed(1))
    with locked(tmp_path / "lock"):  # fetching takes longer than passing over all that
        ((_, number),) = at_positions(order, [150])
    wait_for_what_is_fetched_ahead()
    opened = shard_of(store, number)
    needed = {shard_of(store, number) for number in order} | {opened}
    wait_for_what_is_fetched_ahead()
    asked = {int(request.split("/")[-1].removesuffix(".tar")) for request in server.requests}
    assert len(asked - needed) <= 2  # the first one, and one that was done in this round
    assert len(server.requests) <= 2 + len(needed)


def test_what_is_fetched_ahead_goes_on_after_a_failure_and_in_other_processes(
    server: Server, tmp_path: Path
) -> None:
    shards = served(server, 2)
    cache = ShardCache(tmp_path, 10**6)
    ahead = FetchAhead(cache)
    for shard in (Shard(f"{server.url}none.tar"), shards[0]):
        ahead.want(shard)
        wait_for_what_is_fetched_ahead()
    assert cache.has(shards[0])
    store = pickle.loads(pickle.dumps(ShardStore(shards, cache)))
    store.prepare(1)
    wait_for_what_is_fetched_ahead()
    assert cache.has(shards[1])
