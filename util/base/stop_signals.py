"""Stop when the system or the user asks for it, where nothing is lost."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn, Self

from util.base.system import is_main_process

# From people, and from systems that soon take more than a request.
REQUESTS = (signal.SIGTERM, signal.SIGINT)
# A terminal has gone, or time is nearly up: these come again by themselves. Windows has none.
NOTICES: tuple[signal.Signals, ...] = tuple(
    getattr(signal, name) for name in ("SIGHUP", "SIGUSR1", "SIGXCPU") if hasattr(signal, name)
)
SIGNALS = (*REQUESTS, *NOTICES)
HAS_TIMER = hasattr(signal, "setitimer")  # not on Windows
PATIENCE = 1.0  # seconds that what is waited for may take, once a signal has come
Handlers = dict[signal.Signals, Any]

_active: "StopSignals | None" = None


class Stopped(BaseException):
    """A signal asked to stop, and this is a place where that loses nothing."""


class StopSignals:
    """Note signals that ask to stop within a `with` block instead of dying of them.

    A second request ends the process at once. What the process was started to ignore it goes on to
    ignore: shells start the background jobs of scripts so, which a Ctrl-C is not meant for, and
    nohup what is to outlive its terminal.
    """

    def __init__(self, *, with_others: bool = False) -> None:
        self.received: signal.Signals | None = None  # the first one
        self.with_others = with_others  # several processes stop together, at places they agree on
        self._was_requested = False
        self._may_stop = False  # here and now
        self._owner = os.getpid()
        self._before: Handlers = {}

    def __enter__(self) -> Self:
        global _active
        self._outer, _active = _active, self
        self._before = _set_handlers(SIGNALS, self._note)
        if HAS_TIMER:
            self._before |= _set_handlers([signal.SIGALRM], self._lose_patience)
        return self

    def __exit__(self, *exception: object) -> None:
        global _active
        if HAS_TIMER:
            signal.setitimer(signal.ITIMER_REAL, 0)
        _put_back(self._before)
        _active = self._outer

    @property
    def status(self) -> int:
        """Return the exit status that tells of the signal: 143 for SIGTERM, 130 for SIGINT."""
        assert self.received is not None
        return 128 + self.received

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:  # a worker that has just been forked
            return
        is_request = number in REQUESTS
        if is_request and self._was_requested:
            os._exit(128 + number)
        is_first = self.received is None
        self._was_requested |= is_request
        self.received = self.received or signal.Signals(number)
        if (is_request or is_first) and is_main_process():
            _announce(signal.Signals(number), "; once more stops at once" if is_request else "")
        if self._may_stop and not HAS_TIMER:
            raise Stopped
        if self._may_stop and is_first:  # what comes just now is taken still
            signal.setitimer(signal.ITIMER_REAL, PATIENCE)

    def _lose_patience(self, number: int, frame: FrameType | None) -> None:
        if self._may_stop and self.received is not None and os.getpid() == self._owner:
            raise Stopped


@contextmanager
def may_stop() -> Iterator[None]:
    """Let a signal end a block by `Stopped`, before it begins or within: nothing is lost there.

    Only while `StopSignals` notes signals; otherwise they do what they always do.
    """
    stop = _active
    is_main_thread = threading.current_thread() is threading.main_thread()
    if stop is None or stop.with_others or not is_main_thread:
        yield
        return
    stop._may_stop = True
    try:
        if stop.received is not None:  # before this block
            raise Stopped
        yield
    finally:
        stop._may_stop = False


def noted() -> int:
    """Return the number of the signal that `StopSignals` has noted, 0 for none."""
    return 0 if _active is None or _active.received is None else _active.received


def stop_as_others(number: int) -> NoReturn:
    """Stop since another process has noted this signal.

    Raises:
        Stopped: always.
    """
    if _active is not None and _active.received is None:
        _active.received = signal.Signals(number)
    raise Stopped


@contextmanager
def end_in_order() -> Iterator[None]:
    """Let signals end a `with` block as Ctrl-C does, through its exits, with the status 128 + n."""
    owner = os.getpid()

    def leave(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            raise SystemExit(128 + number)
        signal.signal(number, signal.SIG_DFL)  # a process forked from this one just ends
        os.kill(os.getpid(), number)

    before = _set_handlers([number for number in SIGNALS if number != signal.SIGINT], leave)
    try:
        yield
    finally:
        _put_back(before)


def end_at_ctrl_c() -> None:
    """Let Ctrl-C end the process at once, without a word, while modules are imported.

    Python's own way is an exception, which some libraries swallow when they are loaded.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def end_at_once() -> Iterator[None]:
    """Let signals end the process at once in a `with` block in which nothing can be lost.

    For calls into libraries that wait for something: Python would see a signal when they end.
    """
    before = _set_handlers(SIGNALS, signal.SIG_DFL)
    try:
        yield
    finally:
        _put_back(before)


def raise_at_ctrl_c() -> None:
    """Take back `end_at_ctrl_c`: from now on there is something to put in order."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def leave_stopping_to_the_parent() -> None:
    """Let a worker survive a signal to the whole group of processes.

    The parent needs it to finish the iteration, then ends it, by a second SIGTERM if need be.
    """
    signal.set_wakeup_fd(-1)  # what comes here is not for the parent, whose it may be
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def _set_handlers(
    numbers: Iterable[signal.Signals],
    handler: Callable[[int, FrameType | None], None] | signal.Handlers,
) -> Handlers:
    """Handle those signals that are not ignored; return what was done at them before."""
    if threading.current_thread() is not threading.main_thread():  # others cannot have handlers
        return {}
    heeded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in heeded}


def _put_back(handlers: Handlers) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _announce(received: signal.Signals, more: str) -> None:
    # Not through sys.stderr, which may be in the middle of a write.
    text = f"\n{received.name}: saving after this iteration{more}\n"
    with suppress(OSError):  # Ctrl-C has ended whoever read it, as in: train.py 2>&1 | tee log
        os.write(2, text.encode())
