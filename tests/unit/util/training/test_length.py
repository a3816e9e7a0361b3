"""How long a run is, counted in epochs and in steps."""

import math
from argparse import Namespace
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from util.training.length import InEpochs, InSteps, Length
from util.training.progress import Progress

EPOCHS, STEPS, SIZES = st.integers(0, 30), st.integers(1, 60), st.integers(1, 9)


def go(
    length: Length, progress: Progress, look: Callable[[], object] = lambda: None
) -> list[list[int]]:
    """Train as train.py does, to the end; return the images of each batch, by epoch."""
    found: list[list[int]] = []
    sizes = batches(length)
    while not length.is_over(progress):
        found.append([])
        while not length.epoch_is_over(progress):
            found[-1].append(next(sizes))
            progress.advance(length.batch_size, found[-1][-1])
            look()
        progress.next_epoch()
    return found


def batches(length: Length) -> Iterator[int]:
    """Yield how many images the batches have, pass after pass over the data."""
    while True:
        for first in range(0, length.images, length.batch_size):
            yield min(length.batch_size, length.images - first)


@given(constant=EPOCHS, decay=EPOCHS, images=SIZES, batch_size=SIZES)
def test_a_run_in_epochs_passes_over_the_data_in_each(
    constant: int, decay: int, images: int, batch_size: int
) -> None:
    opt = Namespace(n_epochs=constant, n_epochs_decay=decay, batch_size=batch_size)
    length, progress = Length.of(opt, images), Progress()
    assert length.epochs == length.last_epoch(progress) == constant + decay
    assert length.images_left(progress) == images * (constant + decay)
    left = [length.batches_left(progress)]
    found = go(length, progress, lambda: left.append(length.batches_left(progress)))
    assert list(map(sum, found)) == [images] * (constant + decay)
    assert left == list(range(len(left)))[::-1]
    assert (progress.epoch, length.images_left(progress)) == (constant + decay + 1, 0)


@given(total=STEPS, val_steps=st.integers(0, 20), images=SIZES, batch_size=SIZES)
def test_a_run_in_steps_has_exactly_these_whatever_the_size_of_the_data(
    total: int, val_steps: int, images: int, batch_size: int
) -> None:
    opt = Namespace(total_steps=total, val_steps=val_steps, batch_size=batch_size)
    length, progress = Length.of(opt, images), Progress()
    last = length.last_epoch(progress)
    left = [length.batches_left(progress)]
    found = go(length, progress, lambda: left.append(length.batches_left(progress)))
    of_epoch = val_steps or math.ceil(images / batch_size)
    rest = [total % of_epoch] if total % of_epoch else []
    assert list(map(len, found)) == [of_epoch] * (total // of_epoch) + rest
    assert last == length.epochs == len(found)
    assert left == list(range(total + 1))[::-1]
    if not val_steps:
        assert list(map(sum, found[: total // of_epoch])) == [images] * (total // of_epoch)


@given(total=STEPS, val_steps=st.integers(0, 20), images=SIZES, stop=STEPS, data=st.data())
def test_a_run_in_steps_that_goes_on_ends_where_it_should(
    total: int, val_steps: int, images: int, stop: int, data: st.DataObject
) -> None:
    """Stopped after a step, before the end of its epoch; or prolonged, once it was over."""
    first = InSteps(min(stop, total), 0, images=images, val_steps=val_steps)
    length = InSteps(total, 0, images=images, val_steps=val_steps)
    progress = Progress()
    if data.draw(st.booleans(), "prolonged"):
        go(first, progress)
    else:
        while progress.step < first.total:
            if length.epoch_is_over(progress):
                progress.next_epoch()
            progress.advance(1)
        assert not length.is_over(progress)  # its epoch is to be ended at least
    continued = Progress()
    continued.load_state_dict(progress.state_dict())
    last = length.last_epoch(continued)
    go(length, continued)
    assert (continued.step, continued.epoch - 1) == (total, last)


def test_an_epoch_that_has_begun_is_ended_though_the_run_was_shortened() -> None:
    length, progress = InSteps(4, 0, images=10, val_steps=3), Progress(step=7, epoch_images=1)
    assert not length.is_over(progress)
    assert length.epoch_is_over(progress)
    progress.next_epoch()
    assert length.is_over(progress)


def test_images_of_an_epoch_are_those_that_its_batches_have() -> None:
    """A pass over 10 images has batches of 4, 4 and 2; the last epoch has what is left."""
    progress = Progress()
    length = InSteps(13, 0, images=10, batch_size=4, val_steps=6)
    found = []
    for _ in range(3):
        found.append(length.epoch_images(progress))
        for _ in range(6):
            progress.advance(4)
        progress.next_epoch()
    assert found == [20, 20, 3]
    assert InSteps(13, 0, images=10, batch_size=4).epoch_images(Progress()) == 10


@pytest.mark.parametrize("kind", [InEpochs, InSteps])
@pytest.mark.parametrize(
    ("number", "share"), [(1, 1.0), (100, 1.0), (101, 100 / 101), (200, 1 / 101)]
)
def test_the_rate_stays_and_then_falls_nearly_to_zero(
    kind: type[Length], number: int, share: float
) -> None:
    assert kind(100, 100).share_of_rate(number) == pytest.approx(share)


@pytest.mark.parametrize(
    ("decay", "shares"), [(0, [1, 1, 1, 1]), (3, [1, 0.75, 0.25, 0]), (4, [0.8, 0.6, 0.2, 0])]
)
def test_the_rate_is_never_below_zero_and_stays_without_steps_that_decay(
    decay: int, shares: list[float]
) -> None:
    length = InSteps(4 - decay, decay)
    found = [length.share_of_rate(step) for step in (1, 2, 4, 9)]
    assert found == pytest.approx(shares)


@pytest.mark.parametrize(
    ("decay", "wanted"), [(None, (7, 6)), (0, (13, 0)), (4, (9, 4)), (13, (0, 13))]
)
def test_half_of_the_steps_decay_unless_something_else_is_said(
    decay: int | None, wanted: tuple[int, int]
) -> None:
    length = Length.of(Namespace(total_steps=13, decay_steps=decay))
    assert (length.constant, length.decay) == wanted


def test_more_images_than_an_epoch_should_have_leave_no_negative_rest() -> None:
    assert InEpochs(1, 0, images=10).images_left(Progress(epoch_images=12)) == 0


def test_the_number_of_epochs_may_depend_on_the_data() -> None:
    assert InSteps(10, 0).epochs is None
    assert InSteps(10, 0, val_steps=3).epochs == 4
    assert InEpochs(10, 0).epochs == 10
