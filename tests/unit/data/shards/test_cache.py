"""Shards from the web: fetched whole, once, within a bound; and errors that name them."""

import errno
import multiprocessing
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from data.shards import cache as caching
from data.shards.cache import ShardCache, ShardError
from data.shards.lists import Shard
from data.shards.store import count
from tests.support.shards import numbered, tar_bytes
from tests.support.web_server import Server
from tests.support.web_server import server as server

SIZE = 10240  # of a small tar file


def shards(server: Server, count: int) -> list[Shard]:
    """Serve some shards."""
    server.files |= {f"s-{n}.tar": numbered(10 * n, 5) for n in range(count)}
    return [Shard(f"{server.url}s-{n}.tar", 5, SIZE) for n in range(count)]


def held(folder: Path) -> list[str]:
    """Return the shards that are kept, without digests."""
    return sorted(re.sub(r"-[0-9a-f]{16}", "", path.name) for path in folder.glob("*.tar*"))


def test_a_shard_is_fetched_once_and_is_the_servers(server: Server, tmp_path: Path) -> None:
    (one,) = shards(server, 1)
    cache = ShardCache(tmp_path / "new" / "folder", 10 * SIZE)
    for _ in range(2):
        assert cache.fetch(one).read_bytes() == server.files["s-0.tar"]
    assert server.requests == ["/datasets/s-0.tar"]


def test_those_used_last_stay_and_the_bound_holds(server: Server, tmp_path: Path) -> None:
    one, two, three, four = shards(server, 4)
    cache = ShardCache(tmp_path, 3 * SIZE)
    for moment, shard in enumerate((one, two, three), 1):
        path = cache.fetch(shard)
        os.utime(path, (moment, moment))
    cache.fetch(one)  # used again, so the second one is the oldest
    cache.fetch(four)
    assert held(tmp_path) == ["s-0.tar", "s-2.tar", "s-3.tar"]
    cache.most = SIZE
    cache.fetch(two)
    assert held(tmp_path) == ["s-1.tar"]


def test_shards_of_equal_names_from_elsewhere_are_others(server: Server, tmp_path: Path) -> None:
    server.files = {"x/s.tar": numbered(0, 1), "y/s.tar": numbered(50, 1)}
    cache = ShardCache(tmp_path, 10 * SIZE)
    for name, content in server.files.items():
        assert cache.fetch(Shard(server.url + name)).read_bytes() == content


def test_a_cut_connection_is_gone_on_with(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("util.storage.downloads.PAUSE_SECONDS", 0)
    (one,) = shards(server, 1)
    server.hang_up, server.times, server.resumes = {"s-0.tar"}, 1, True
    path = ShardCache(tmp_path, 10 * SIZE).fetch(one)
    assert path.read_bytes() == server.files["s-0.tar"]
    assert server.requests[1].endswith("bytes=5120-")


def test_a_server_that_comes_back_is_waited_for(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (one,) = shards(server, 1)
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        server.hang_up = set() if len(waited) > 4 else server.hang_up

    server.hang_up = {"s-0.tar"}
    monkeypatch.setattr("time.sleep", sleep)
    assert ShardCache(tmp_path, SIZE).fetch(one).stat().st_size == SIZE
    assert "Trying again in 1 s" in capsys.readouterr().err


def test_a_server_that_stays_away_is_named_after_some_attempts(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(caching, "PAUSES", (1, 1))
    (one,) = shards(server, 1)
    server.hang_up = {"s-0.tar"}
    with pytest.raises(ShardError, match=r"s-0\.tar broke off at .* bytes") as caught:
        ShardCache(tmp_path, SIZE).fetch(one)
    assert "can go on" in caught.value.hint
    assert len(server.requests) == 3 + 2 + 2  # the downloader stops after two that bring nothing
    assert held(tmp_path) in ([], ["s-0.tar.part"])


def test_what_a_server_refuses_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"none\.tar answers 404"):
        ShardCache(tmp_path, SIZE).fetch(Shard(f"{server.url}none.tar"))
    assert len(server.requests) == 1


def test_a_shard_of_another_size_than_its_index_says_is_refused(
    server: Server, tmp_path: Path
) -> None:
    (one,) = shards(server, 1)
    with pytest.raises(ShardError, match=r"s-0\.tar has 10,240 bytes, its index says 9,000"):
        ShardCache(tmp_path, 10 * SIZE).fetch(one._replace(bytes=9000))
    assert held(tmp_path) == []


def test_a_shard_that_has_grown_since_it_was_counted_is_counted_anew_by_the_next_run(
    server: Server, tmp_path: Path
) -> None:
    (one,) = shards(server, 1)
    uncounted, cache = Shard(one.where), ShardCache(tmp_path, 10 * SIZE)
    assert count(uncounted, cache) == one
    server.files["s-0.tar"] = numbered(0, 50)
    cache.forget(one)
    with pytest.raises(ShardError, match=r"but had 10,240 when its samples were counted") as caught:
        cache.fetch(count(uncounted, cache))
    assert f"delete {tmp_path}" in str(caught.value)
    assert count(uncounted, cache).samples == 50


def test_a_kept_shard_that_was_cut_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    (one,) = shards(server, 1)
    cache = ShardCache(tmp_path, 10 * SIZE)
    os.truncate(cache.fetch(one), 100)
    assert cache.fetch(one).read_bytes() == server.files["s-0.tar"]


def test_a_folder_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (one,) = shards(server, 1)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ShardError, match=str(tmp_path / "file")):
        ShardCache(tmp_path / "file" / "below", SIZE).fetch(one)


def _fetch_all(folder: Path, some: list[Shard]) -> None:
    cache = ShardCache(folder, 2 * SIZE)
    for shard in some:
        content = cache.use(shard, lambda path: path.read_bytes())
        assert len(content) == SIZE
        with caching.locked(folder / "lock"):  # nobody fetches or removes one meanwhile
            assert sum(path.stat().st_size for path in folder.glob("*.tar*")) <= 2 * SIZE


@pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks")
def test_processes_share_a_folder_and_the_bound(server: Server, tmp_path: Path) -> None:
    some = shards(server, 4)
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_fetch_all, args=(tmp_path, some[turn:] + some[:turn]))
        for turn in (0, 0, 2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(server.requests) < 12  # fewer than each for itself


def test_where_there_are_no_locks_each_fetches_a_file_of_its_own(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("fcntl.flock", refuse)
    (one,) = shards(server, 1)
    server.pause = 0.2  # so that all fetch at the same time
    unsized = one._replace(bytes=None)  # there is nothing to compare with
    with ThreadPoolExecutor(3) as pool:
        fetched = list(pool.map(ShardCache(tmp_path, 10 * SIZE).fetch, [unsized] * 3))
    assert len(server.requests) > 1
    assert {path.read_bytes() for path in fetched} == {server.files["s-0.tar"]}
    assert held(tmp_path) == ["s-0.tar"]
    assert f"{tmp_path} is on a disk without locks" in capsys.readouterr().err


def refuse(*_: object) -> None:
    """Answer as some network disks do."""
    raise OSError(errno.ENOLCK, "No locks available")


def test_a_use_that_finds_no_file_fetches_it_again(server: Server, tmp_path: Path) -> None:
    """As when another process has removed it meanwhile."""
    (one,) = shards(server, 1)
    cache = ShardCache(tmp_path, SIZE)
    times: list[Path] = []

    def work(path: Path) -> bytes:
        times.append(path)
        if len(times) == 1:
            path.unlink()
        return path.read_bytes()

    assert cache.use(one, work) == server.files["s-0.tar"]
    assert len(server.requests) == 2


def test_an_old_unfinished_shard_gives_way(server: Server, tmp_path: Path) -> None:
    (one,) = shards(server, 1)
    (tmp_path / "old.tar.part").write_bytes(tar_bytes({"x": bytes(5000)}))
    ShardCache(tmp_path, SIZE).fetch(one)
    assert held(tmp_path) == ["s-0.tar"]
