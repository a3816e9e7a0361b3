"""Stop when the system or the user asks for it, after the running iteration and a save."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Note SIGTERM and SIGINT within a `with` block instead of dying of them.

    A second signal ends the process at once. What the process was started to ignore it goes on to
    ignore: shells start the background jobs of scripts so, which a Ctrl-C is not meant for.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._owner = os.getpid()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # others cannot have handlers
            heeded = [n for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._note) for number in heeded}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def status(self) -> int:
        """Return the exit status that tells of the signal: 143 for SIGTERM, 130 for SIGINT."""
        assert self.received is not None
        return 128 + self.received

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:  # a worker that has just been forked
            return
        if self.received is not None:
            os._exit(128 + number)
        self.received = signal.Signals(number)
        # Not through sys.stderr, which may be in the middle of a write.
        name = self.received.name.encode()
        with suppress(OSError):  # Ctrl-C has ended whoever read it, as in: train.py 2>&1 | tee log
            os.write(2, b"\n" + name + b": saving after this iteration; once more stops at once\n")


@contextmanager
def end_in_order() -> Iterator[None]:
    """Let SIGTERM end a `with` block as Ctrl-C does, through its exits, with the status 143."""
    is_main = threading.current_thread() is threading.main_thread()  # others have no handlers
    if not is_main or signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def leave_stopping_to_the_parent() -> None:
    """Let a worker survive a signal to the whole group of processes.

    The parent needs it to finish the iteration, then ends it, by a second SIGTERM if need be.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
