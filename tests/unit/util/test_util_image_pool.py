"""The store of generated images."""

import random
from collections import Counter

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.storage.state import load_pool_state, pool_state
from util.image_pool import ImagePool

CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("own_randomness")
# The fixture only puts the generators back after the last example.
shared_fixture = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

POOL_SIZES = st.integers(0, 6)
BATCH_SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=10)
SEEDS = st.integers(0, 2**32 - 1)


def numbered(first: int, count: int) -> torch.Tensor:
    """Return a batch of images; every pixel of an image is its number."""
    return (
        torch.arange(first, first + count, dtype=torch.float32)
        .view(count, 1, 1, 1)
        .repeat(1, 2, 3, 4)
    )


def numbers(images: torch.Tensor) -> list[int]:
    return [int(number) for number in images[:, 0, 0, 0]]


@shared_fixture
@given(pool_size=POOL_SIZES, batch_sizes=BATCH_SIZES, seed=SEEDS)
def test_query_returns_only_images_seen_so_far(
    pool_size: int, batch_sizes: list[int], seed: int
) -> None:
    random.seed(seed)
    pool, seen = ImagePool(pool_size), 0
    for n in batch_sizes:
        batch = numbered(seen, n)
        seen += n
        out = pool.query(batch)
        assert out.shape == batch.shape
        assert out.dtype == batch.dtype
        assert out.max() < seen
        assert out.equal(out[:, :1, :1, :1].expand_as(out))  # images are exchanged as a whole


@shared_fixture
@given(pool_size=POOL_SIZES, batch_sizes=BATCH_SIZES, seed=SEEDS)
def test_no_image_is_lost_or_doubled_once_the_pool_is_full(
    pool_size: int, batch_sizes: list[int], seed: int
) -> None:
    random.seed(seed)
    pool, first = ImagePool(pool_size), 0
    returned: Counter[int] = Counter()
    for n in batch_sizes:
        returned.update(numbers(pool.query(numbered(first, n))))
        first += n
    stored = Counter(numbers(torch.cat(pool.images))) if pool.images else Counter()
    filled = Counter(range(min(pool_size, first)))  # these were stored and returned as well
    assert returned + stored == Counter(range(first)) + filled
    assert len(pool.images) == pool.num_imgs == min(pool_size, first)


@shared_fixture
@given(pool_size=st.integers(1, 20), n=st.integers(1, 20))
def test_a_filling_pool_passes_images_on_and_draws_no_random_numbers(
    pool_size: int, n: int
) -> None:
    n = min(n, pool_size)
    before = random.getstate()
    assert numbers(ImagePool(pool_size).query(numbered(0, n))) == list(range(n))
    assert random.getstate() == before


@shared_fixture
@given(batch_sizes=BATCH_SIZES)
def test_a_pool_of_size_0_passes_everything_through(batch_sizes: list[int]) -> None:
    before = random.getstate()
    pool = ImagePool(0)
    for n in batch_sizes:
        assert numbers(pool.query(numbered(0, n))) == list(range(n))
    assert pool.images == []
    assert random.getstate() == before


def test_a_full_pool_exchanges_half_of_the_images() -> None:
    random.seed(0)
    pool = ImagePool(10)
    pool.query(numbered(0, 10))
    new = 2000
    out = numbers(pool.query(numbered(10, new)))
    passed = sum(number == place for place, number in enumerate(out, start=10))
    assert abs(passed / new - 0.5) < 0.05  # 4.5 standard deviations


def test_every_place_of_a_full_pool_is_exchanged() -> None:
    random.seed(0)
    pool = ImagePool(4)
    pool.query(numbered(0, 4))
    assert set(numbers(pool.query(numbered(4, 200)))) >= {0, 1, 2, 3}


def test_images_of_the_pool_carry_no_gradient() -> None:
    random.seed(0)
    pool = ImagePool(2)
    weight = torch.ones((), requires_grad=True)
    for first in range(6):
        assert not pool.query(numbered(first, 1) * weight).requires_grad
    assert not any(image.requires_grad for image in pool.images)


@shared_fixture
@given(pool_size=POOL_SIZES, before=BATCH_SIZES, after=BATCH_SIZES, seed=SEEDS)
def test_a_restored_pool_continues_identically(
    pool_size: int, before: list[int], after: list[int], seed: int
) -> None:
    random.seed(seed)
    pool, first = ImagePool(pool_size), 0
    for n in before:
        pool.query(numbered(first, n))
        first += n
    state, generator = pool_state(pool), random.getstate()

    def go_on(continued: ImagePool) -> list[list[int]]:
        random.setstate(generator)
        return [numbers(continued.query(numbered(first + 100 * i, n))) for i, n in enumerate(after)]

    expected = go_on(pool)
    restored = ImagePool(pool_size)
    load_pool_state(restored, state, CPU)  # taken before the original went on
    assert go_on(restored) == expected


def test_a_smaller_pool_takes_over_what_fits() -> None:
    pool = ImagePool(5)
    pool.query(numbered(0, 5))
    smaller = ImagePool(3)
    load_pool_state(smaller, pool_state(pool), CPU)
    assert numbers(torch.cat(smaller.images)) == [0, 1, 2]
    random.seed(0)
    assert max(numbers(smaller.query(numbered(5, 50)))) < 55


def test_a_larger_pool_goes_on_filling() -> None:
    pool = ImagePool(2)
    pool.query(numbered(0, 2))
    larger = ImagePool(4)
    load_pool_state(larger, pool_state(pool), CPU)
    assert numbers(larger.query(numbered(2, 2))) == [2, 3]
    assert numbers(torch.cat(larger.images)) == [0, 1, 2, 3]


@pytest.mark.parametrize("count", [1, 8])
def test_a_kept_image_keeps_no_others_in_memory(count: int) -> None:
    pool = ImagePool(3)
    pool.query(numbered(0, 16)[:count])  # a part of what a network made of more
    for image in pool.images:
        assert image.untyped_storage().nbytes() == image.numel() * image.element_size()


@pytest.mark.parametrize("pool_size", [0, 2])
def test_a_list_of_images_is_a_batch_of_them(pool_size: int) -> None:
    batches = [numbered(first, 3) for first in (0, 3, 6)]
    random.seed(1)
    pool = ImagePool(pool_size)
    wanted = [pool.query(batch) for batch in batches]
    random.seed(1)
    pool = ImagePool(pool_size)
    found = [pool.query(list(batch)) for batch in batches]
    assert all(map(torch.equal, found, wanted))
