"""How long a run is."""

from argparse import Namespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from util.training.length import Length
from util.training.progress import Progress

EPOCHS = st.integers(0, 50)


@given(constant=EPOCHS, decay=EPOCHS, images=st.integers(1, 9))
def test_a_run_ends_after_its_epochs_and_counts_down_to_it(
    constant: int, decay: int, images: int
) -> None:
    length = Length.of(Namespace(n_epochs=constant, n_epochs_decay=decay))
    progress = Progress()
    left = length.images_left(progress, images)
    assert left == images * (constant + decay)
    while not length.is_over(progress):
        for _ in range(images):
            progress.advance(1)
            left -= 1
            assert length.images_left(progress, images) == left
        progress.next_epoch()
    assert progress.epoch - 1 == length.epochs == constant + decay
    assert length.images_left(progress, images) == 0


@pytest.mark.parametrize(
    ("epoch", "share"), [(1, 1.0), (100, 1.0), (101, 100 / 101), (200, 1 / 101)]
)
def test_the_rate_stays_and_then_falls_nearly_to_zero(epoch: int, share: float) -> None:
    assert Length(100, 100).share_of_rate(epoch) == pytest.approx(share)


def test_more_images_than_an_epoch_should_have_leave_no_negative_rest() -> None:
    assert Length(1, 0).images_left(Progress(epoch_images=12), 10) == 0  # the last batch is whole


def test_the_last_batch_of_each_epoch_may_be_smaller() -> None:
    length, progress = Length(2, 1), Progress()
    assert length.batches_left(progress, 10, batch_size=4) == 9
    progress.advance(4)
    assert length.batches_left(progress, 10, batch_size=4) == 8
    for _ in range(2):
        progress.advance(4)
    progress.next_epoch()
    assert length.batches_left(progress, 10, batch_size=4) == 6
    assert length.batches_left(Progress(epoch=4), 10, batch_size=4) == 0
