"""What a process does when another one fails: find out which, say it, and end.

Every process leaves a message in the store before it ends by an error, and one when it misses
others. So who still answers can tell who does not, and why.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from util.base.errors import UserError, in_words
from util.base.stop_signals import REQUESTS
from util.base.torch_private import Store

T = TypeVar("T")
PATIENCE = 3.0  # seconds for all that are left to say so; they notice at about the same time
SOON = 1.0  # seconds within which processes fail for the same reason
LONGEST_WAIT = 6.0  # seconds that a process asked to stop waits for others that show no life
LOOKS = 1.0  # seconds between two looks at them


class ProcessError(UserError):
    """Another process of the run does not answer, or has failed."""


def _in_time(action: Callable[[], T], otherwise: T) -> T:
    """Return what an action gives; whoever keeps the messages may be cut off, and never answer."""
    given: list[T] = []
    thread = threading.Thread(target=lambda: given.append(action()), daemon=True)
    thread.start()
    thread.join(2 * PATIENCE)
    return given[0] if given else otherwise


class Messages:
    """Messages of a run's processes to each other, in a store that outlives them."""

    def __init__(self, store: Store, rank: int, count: int) -> None:
        self._store, self.rank, self.count = store, rank, count

    def introduce(self, text: str) -> None:
        """Say who this process is."""
        self._set("who", text)

    def tell(self, error: BaseException) -> None:
        """Say why this process ends; a user need not read it twice if the first one ends so too."""
        if isinstance(error, Exception) and not isinstance(error, ProcessError):
            _in_time(lambda: self._tell(error), None)

    def _tell(self, error: Exception) -> None:
        text = in_words(error)
        self._set("failure", text)
        deadline = time.monotonic() + SOON
        while self.rank > 0 and isinstance(error, UserError) and time.monotonic() < deadline:
            error.is_said = error.is_said or self._get("failure", 0) == text
            time.sleep(0.05)

    def say_asked(self) -> None:
        """Say that this process was asked to stop."""
        _in_time(lambda: self._set("asked", "yes", of_all=True), None)

    def is_one_asked(self) -> bool:
        """Tell whether any process was."""
        return _in_time(lambda: bool(self._get("asked", "all")), False)

    def show_life(self) -> None:
        """Say that this process does something by itself, which others wait for."""
        _in_time(lambda: self._count("busy", 1), 0)

    def signs_of_life(self) -> int:
        """Return how often any process has said so."""
        return _in_time(lambda: self._count("busy", 0), 0)

    def _count(self, key: str, more: int) -> int:
        try:
            return self._store.add(key, more)
        except RuntimeError:
            return 0  # as above: whoever keeps the store is gone

    def name_missing(self) -> tuple[str, bool]:
        """Say who does not answer, and why; and whether it is this process's turn to say it."""
        text = f"Nothing can be heard of the other {self.count - 1} processes any more."
        return _in_time(self._ask_others, (text, True))

    def _ask_others(self) -> tuple[str, bool]:
        self._set("misses others", "yes")
        deadline = time.monotonic() + PATIENCE
        here = [self.rank]
        while len(here) < self.count - 1 and time.monotonic() < deadline:
            time.sleep(0.05)
            here = [each for each in range(self.count) if self._get("misses others", each)]
        gone = [each for each in range(self.count) if each not in (*here, self.rank)]
        names = [f"{each} ({self._get('who', each) or 'nothing is known of it'})" for each in gone]
        text = f"Of {self.count} processes these have ended, or do not answer: {', '.join(names)}."
        told = {each: self._get("failure", each) for each in range(self.count)}
        reasons = [f"Process {each}: {reason}" for each, reason in told.items() if reason]
        is_ours = min([self.rank, *here]) == self.rank and not told[0]  # which has said it
        return "\n  ".join([text, *reasons]), is_ours

    def _set(self, key: str, text: str, *, of_all: bool = False) -> None:
        try:
            self._store.set(f"{key} {'all' if of_all else self.rank}", text)
        except RuntimeError:
            return  # whoever keeps the store is gone too, which the others notice by themselves

    def _get(self, key: str, number: int | str) -> str:
        name = f"{key} {number}"
        try:
            return self._store.get(name).decode() if self._store.check([name]) else ""
        except RuntimeError:
            return ""


class Waiting:
    """Notice how long this process waits for others, so that it need not wait for ever.

    Python sees a signal only when a call into a library ends: one that waits for a process that is
    gone would end after --dist_timeout. So a thread of its own looks after it.
    """

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._since: float | None = None
        self._is_over = threading.Event()
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
        self._before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        threading.Thread(target=self._look_after_signals, name="leaver", daemon=True).start()

    def end(self) -> None:
        """Leave signals alone from here on."""
        signal.set_wakeup_fd(self._before)
        self._is_over.set()
        os.close(self._writer)

    @contextmanager
    def for_others(self, what: str) -> Iterator[None]:
        """Raise a ProcessError that names who is missing, instead of what the network says."""
        self._since = time.monotonic()
        try:
            yield
        except RuntimeError as error:
            text, is_ours = self._messages.name_missing()
            failed = ProcessError(f"{text}\n  ({what}: {str(error).partition(chr(10))[0]})")
            failed.is_said = not is_ours
            raise failed from error
        finally:
            self._since = None

    def _look_after_signals(self) -> None:
        """Leave if this process was asked to stop and waits in vain; show life if others wait."""
        asked, signs, last = 0, 0, 0.0
        while not self._is_over.wait(LOOKS):
            if not asked and (asked := self._request()):
                self._messages.say_asked()
                last = time.monotonic()
            if not (asked or self._messages.is_one_asked()):
                continue
            since = self._since
            if since is None:
                self._messages.show_life()
            elif asked and (there_are := self._messages.signs_of_life()) > signs:
                signs, last = there_are, time.monotonic()
            elif asked and time.monotonic() - max(last, since) > LONGEST_WAIT:
                self._leave(asked)
        os.close(self._reader)

    def _request(self) -> int:
        """Return the signal that asks this process to stop, if it has come; else 0."""
        with suppress(BlockingIOError):
            for number in os.read(self._reader, 1000):
                if number in REQUESTS:
                    return number
        return 0

    def _leave(self, asked: int) -> None:
        text = "was asked to stop, and the others do not answer: left without a save"
        os.write(2, f"process {self._messages.rank} {text}.\n".encode())
        os._exit(128 + asked)
