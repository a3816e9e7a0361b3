"""Work of which each process does a part at its own pace, until all have come to the end.

Nothing is waited for meanwhile. At the end a process waits for the others as long as they show that
they live, and what has failed in one has failed in all.

    rows = shared(len(files), lambda part: [measured(files[number]) for number in part])
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TypeVar

from util.base.errors import UserError, in_words, is_for_users
from util.processes import group

T = TypeVar("T")
LOOKS = 0.05  # seconds between two looks at the others
SIGNS = 5.0  # seconds between two signs of life, at most


class CalledOff(BaseException):
    """Another process has failed: what this one does is of no use any more."""


def own_part(count: int, at_once: int = 1) -> range:
    """Return which of so many things are this process's: some in a row.

    Those that are done `at_once` stay together, and the first process has as many as any other.
    """
    with group.with_others():
        rank, processes = group.rank(), group.count()
    batches = -(-count // at_once)
    first, end = (-(-batches * number // processes) for number in (rank, rank + 1))
    return range(min(count, first * at_once), min(count, end * at_once))


def own_items(items: Sequence[T], at_once: int = 1) -> Sequence[T]:
    """Return those of the things that are this process's, see `own_part`."""
    part = own_part(len(items), at_once)
    return items[part.start : part.stop]


def shared(count: int, work: Callable[[range], list[T]], at_once: int = 1) -> list[T]:
    """Let each process do its part of so many things, and return in each what all have, in order.

    Raises:
        UserError: it has failed in one of them.
    """
    part = own_part(count, at_once)
    with own_pace():
        done = work(part)
    return of_all(done)


def of_all(done: list[T]) -> list[T]:
    """Return what all processes have done, in order."""
    with group.with_others():
        return [*chain.from_iterable(group.gathered(done))]


def by_first(action: Callable[[], T]) -> T:
    """Return, in all processes, what an action gives in the first one, which does it for all.

    Raises:
        UserError: it has failed.
    """
    with group.with_others():
        is_first = group.rank() == 0
    with own_pace():
        done = [action()] if is_first else []
    with group.with_others():
        return group.of_first(done)[0]


@contextmanager
def own_pace() -> Iterator[None]:
    """Let each process do something by itself in a `with` block; at the end all have done it.

    Raises:
        UserError: one of them has failed; the first one says why.
    """
    with group.with_others():
        if group.count() == 1:
            yield
            return
        problem: Exception | None = None
        with _block() as block:
            try:
                with group.alone():
                    yield
            except CalledOff:
                pass
            except Exception as error:  # noqa: BLE001 - raised below, when the others know
                problem = error
                block.call_off()
            block.wait_for_others()
        _require_success(problem)


def go_on() -> None:
    """Leave a block of `own_pace` whose work has failed in another process.

    To be called now and then: who fails need not wait for long then.

    Raises:
        CalledOff: it has.
    """
    if _current is not None and _current.is_called_off():
        raise CalledOff


def _require_success(problem: Exception | None) -> None:
    """Raise one error in all processes if there is a problem in one; the first one says it."""
    every = group.gathered(None if problem is None else in_words(problem))
    first = {text: number for number, text in reversed([*enumerate(every)]) if text is not None}
    if not first:
        return
    if problem is not None and not is_for_users(problem):
        raise problem  # a bug, perhaps: where it is helps to mend it
    by_process = sorted((number, text) for text, number in first.items())
    texts = [f"process {number}: {text}" if number else text for number, text in by_process]
    error = UserError("\n  ".join(texts))
    error.is_said = group.rank() > 0
    raise error from problem


class _Block:
    """What the processes tell each other about one block of `own_pace`."""

    def __init__(self, number: int) -> None:
        self._board, self._seconds = group.board()
        self._alive, self._ended, self._failed = (
            f"{what} in block {number}" for what in ("alive", "ended", "failed")
        )
        self._is_over = threading.Event()
        self._signs = threading.Thread(target=self._show_life, name="signs", daemon=True)
        self._signs.start()

    def call_off(self) -> None:
        """Let the others leave the block: what they do is of no use any more."""
        with group.named("call_off"):
            self._board.set(self._failed, "yes")

    def is_called_off(self) -> bool:
        """Tell whether another process has failed."""
        with group.named("go_on"):
            return self._board.check([self._failed])

    def wait_for_others(self) -> None:
        """Wait until all have ended the block, while those who have not show that they live."""
        self.leave()
        count, last, since = group.count(), -1, time.monotonic()
        with group.named("own_pace"):
            ended = self._board.add(self._ended, 1)
            while ended < count:
                time.sleep(LOOKS)
                ended = self._board.add(self._ended, 0)
                if (signs := self._board.add(self._alive, 0)) != last:
                    last, since = signs, time.monotonic()
                elif time.monotonic() - since > self._seconds:
                    raise RuntimeError(f"no sign of life for {self._seconds:g} seconds")

    def leave(self) -> None:
        """Show no more life."""
        self._is_over.set()
        self._signs.join()

    def _show_life(self) -> None:
        while not self._is_over.wait(min(SIGNS, self._seconds / 4)):
            try:
                self._board.add(self._alive, 1)
            except RuntimeError:
                return  # whoever keeps the board is gone, which is noticed elsewhere


_current: _Block | None = None
_blocks = 0  # so far: all processes have the same blocks


@contextmanager
def _block() -> Iterator[_Block]:
    global _current, _blocks
    _blocks += 1
    _current = _Block(_blocks)
    try:
        yield _current
    finally:
        _current.leave()
        _current = None
