"""Counting images, and asking whether something periodic is due."""

from hypothesis import given
from hypothesis import strategies as st

from util.training.progress import Progress

BATCHES = st.lists(st.integers(1, 40), min_size=1, max_size=30)


@given(start=st.integers(0, 500), batches=BATCHES, every=st.integers(1, 60))
def test_crossed_is_true_exactly_when_the_step_contains_a_multiple(
    start: int, batches: list[int], every: int
) -> None:
    progress = Progress(total_images=start)
    seen = start
    for batch in batches:
        progress.advance(batch)
        counted = range(seen + 1, seen + batch + 1)  # the images of this step, numbered from 1
        seen += batch
        assert progress.crossed(every) == any(image % every == 0 for image in counted)


@given(steps=st.integers(1, 100), every=st.integers(1, 20))
def test_with_batch_size_1_it_is_the_reference_rule(steps: int, every: int) -> None:
    progress = Progress()
    for _ in range(steps):
        progress.advance(1)
        assert progress.crossed(every) == (progress.total_images % every == 0)


@given(every=st.integers(1, 1000))
def test_nothing_is_due_before_the_first_step(every: int) -> None:
    assert not Progress().crossed(every)


def test_asking_twice_gives_the_same_answer() -> None:
    progress = Progress()
    progress.advance(8)
    assert progress.crossed(5)
    assert progress.crossed(5)


def test_a_new_epoch_counts_its_own_images_and_goes_on_with_the_total() -> None:
    progress = Progress(epoch=4)
    progress.advance(3)
    progress.advance(3)
    progress.next_epoch()
    progress.advance(2)
    assert (progress.epoch, progress.epoch_images, progress.epoch_steps) == (5, 2, 1)
    assert (progress.total_images, progress.step) == (8, 3)


@given(before=BATCHES, after=BATCHES, every=st.integers(1, 60))
def test_a_restored_progress_continues_as_the_saved_one(
    before: list[int], after: list[int], every: int
) -> None:
    original = Progress(epoch=3)
    for batch in before:
        original.advance(batch)
    original.next_epoch()
    state = original.state_dict()
    assert all(type(value) is int for value in state.values())

    restored = Progress()
    restored.load_state_dict(state)
    assert restored == original
    assert restored.crossed(every) == original.crossed(every)
    for batch in after:
        original.advance(batch)
        restored.advance(batch)
        assert restored == original
        assert restored.crossed(every) == original.crossed(every)


def test_a_batch_may_have_fewer_images_than_it_counts_for() -> None:
    progress = Progress()
    found = []
    for there_are in (None, 3):
        progress.advance(4, there_are)
        found.append(progress.step_images)
    assert found == [4, 3]
    assert (progress.images_here, progress.total_images) == (7, 8)


def test_a_saved_state_does_not_follow_later_steps() -> None:
    progress = Progress()
    progress.advance(5)
    state = progress.state_dict()
    progress.advance(5)
    assert state["total_images"] == 5
