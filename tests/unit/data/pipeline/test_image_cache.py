"""Images in memory: what is kept, for whom, and what happens when memory runs out."""

import multiprocessing
import os
import signal
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import data.pipeline.image_cache
from data.pipeline.image_cache import ImageCache
from data.pipeline.image_reader import make_cache

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks")


def kept_in(cache: ImageCache) -> int:
    """Return how many arrays are kept, by whichever process."""
    cache.get("what others keep is looked up first")
    return len(cache._known)


def array(*shape: int, seed: int = 0, dtype: str = "u1") -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)


@given(
    shapes=st.lists(
        st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tuple), min_size=1, max_size=20
    ),
    dtype=st.sampled_from(["u1", "?", "<u2", ">i4", "f2", "<f4", "f8", "c16"]),
    budget=st.integers(0, 4000),
)
def test_what_fits_is_kept_bit_for_bit_and_the_rest_is_not(
    shapes: list[tuple[int, ...]], dtype: str, budget: int
) -> None:
    cache = ImageCache(budget)
    images = {
        (f"{number}.png", number): array(*shape, seed=number, dtype=dtype)
        for number, shape in enumerate(shapes)
    }
    for key, image in images.items():
        cache.put(key, image)
    kept = {key: found for key in images if (found := cache.get(key)) is not None}
    for key, found in kept.items():
        assert (found.dtype, found.shape) == (images[key].dtype, images[key].shape)
        assert found.tobytes() == images[key].tobytes()
    assert kept_in(cache) == len(kept)
    assert sum(found.nbytes for found in kept.values()) <= cache.used <= budget
    assert cache.is_full == (len(kept) < len(images))


def test_first_image_under_a_key_stays_and_strided_ones_are_copied() -> None:
    cache = ImageCache(1000)
    first = array(5, 6, 3).transpose(2, 0, 1)
    cache.put(("a",), first)
    cache.put(("a",), array(3, 5, 6, seed=1))
    found = cache.get(("a",))
    assert found is not None
    assert np.array_equal(found, first)
    assert found.flags.c_contiguous
    assert cache.get(("b",)) is None


def put(cache: ImageCache, first: int) -> None:
    for number in range(first, first + 40):
        cache.put((number,), array(3, 4, 5, seed=number))


@pytest.mark.parametrize("nameless", [True, False])
def test_forked_processes_see_what_each_of_them_keeps(
    nameless: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data.pipeline.image_cache, "HAS_NAMELESS_FILES", nameless)
    cache = ImageCache(80 * 256)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=put, args=(cache, first)) for first in (0, 20, 40)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert kept_in(cache) == 80
    for number in range(80):
        found = cache.get((number,))
        assert found is not None
        assert np.array_equal(found, array(3, 4, 5, seed=number))


def test_lock_of_a_process_that_was_killed_ends_the_use_of_the_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(data.pipeline.image_cache, "PATIENCE", 0.01)
    cache = ImageCache(1000)
    cache.put(("seen",), array(2, 2, 2))
    assert cache.get(("seen",)) is not None
    cache._lock.acquire()
    cache.put(("a",), array(2, 2, 2))
    assert cache.get(("a",)) is None
    assert cache.get(("seen",)) is not None
    cache._lock.release()
    cache.put(("a",), array(2, 2, 2))  # it does not wait again
    assert kept_in(cache) == 1


def test_process_that_is_killed_while_it_adds_leaves_what_was_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(data.pipeline.image_cache, "PATIENCE", 0.01)
    cache = ImageCache(10**6)
    cache.put(("a",), array(2, 2, 2))

    def die(length: int) -> bool:
        os.kill(os.getpid(), signal.SIGKILL)
        return False

    with monkeypatch.context() as patch:
        patch.setattr(data.pipeline.image_cache, "_has_room", die)
        worker = multiprocessing.get_context("fork").Process(target=put, args=(cache, 0))
        worker.start()
        worker.join()
    assert worker.exitcode == -signal.SIGKILL
    made = cache.get_or_keep(("b",), lambda: array(3, 3, 3))
    assert np.array_equal(made, array(3, 3, 3))
    found = cache.get(("a",))
    assert found is not None
    assert np.array_equal(found, array(2, 2, 2))
    assert (kept_in(cache), cache.is_full) == (1, False)


def test_nothing_more_is_kept_when_the_system_runs_short(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ImageCache(10**6)
    cache.put(("a",), array(2, 2, 2))
    monkeypatch.setattr(
        data.pipeline.image_cache, "free_memory", lambda: data.pipeline.image_cache.RESERVE
    )
    cache.put(("b",), array(2, 2, 2))
    assert cache.is_full
    assert kept_in(cache) == 1


def test_more_than_there_is_gets_what_there_is_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("data.pipeline.image_reader.free_memory", lambda: 10**9)
    cache = make_cache(7.0)
    assert cache is not None
    assert cache.budget == 10**9 - data.pipeline.image_cache.RESERVE
    said = capsys.readouterr()
    assert "--cache_gb 7 is more than the 0.5 GB" in said.err
    assert "up to 0.5 GB" in said.out


@pytest.mark.parametrize(("free", "budget"), [(4 * 10**9, 10**9), (None, 10**9)])
def test_default_is_a_quarter_of_the_free_memory(
    free: int | None, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data.pipeline.image_reader.free_memory", lambda: free)
    cache = make_cache(None)
    assert cache is not None
    assert cache.budget == budget


def test_system_that_gives_no_memory_is_told_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("data.pipeline.image_reader.ImageCache", refuse)
    assert make_cache(1.0) is None
    assert "--cache gets no memory" in capsys.readouterr().err


def test_threads_may_fill_it_together() -> None:
    cache = ImageCache(80 * 256)
    threads = [threading.Thread(target=put, args=(cache, first)) for first in (0, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept_in(cache) == 60
