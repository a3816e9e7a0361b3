"""A sink that works in a thread of its own, so that training does not wait for it."""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from util.display.sinks.base import EpochRecord, ImageArray, LogStep, Overview, Sink, deliver

S = TypeVar("S", bound=Sink)
MOST_EVENTS = 1000  # that wait,
MOST_IMAGES = 8  # and how many of them may have images


@dataclass(frozen=True)
class _Event(Generic[S]):
    call: Callable[[S], None]
    has_images: bool = False
    epoch: int | None = None  # of images that give way to newer ones of that epoch


class BackgroundSink(Sink, Generic[S]):
    """Hand everything to another sink, in the same order, beside training.

    Nothing that was reported is lost, and memory is bounded: if the sink is so slow that too much
    waits, the caller waits too. Errors of the sink are handled as `deliver` handles them. The
    thread ends when there is nothing to do; Python waits for it before it ends itself. A state is
    not kept: asking for one would mean waiting. Nobody else may use the sink; with `newest_only`,
    images that wait are replaced by newer ones of the same epoch.
    """

    def __init__(self, sink: S, *, newest_only: bool = False) -> None:
        self.sink = sink
        self.losses_as = sink.losses_as
        self.images_every = sink.images_every
        self._newest_only = newest_only
        self._changed = threading.Condition()  # guards what follows
        self._waiting: deque[_Event[S]] = deque()
        self._works = False

    def begin(self, overview: Overview) -> None:
        """Take what is known about the run before it begins."""
        self._add(_Event(lambda sink: sink.begin(overview)))

    def scalars(self, when: LogStep, losses: Mapping[str, float]) -> None:
        """Take the losses of one moment."""
        kept = dict(losses)
        self._add(_Event(lambda sink: sink.scalars(when, kept)))

    def images(self, when: LogStep, images: Mapping[str, ImageArray]) -> None:
        """Take labelled images; the arrays must not change any more."""
        kept = dict(images)
        epoch = when.epoch if self._newest_only else None
        self._add(_Event(lambda sink: sink.images(when, kept), has_images=True, epoch=epoch))

    def epoch(self, record: EpochRecord, samples: list[dict[str, ImageArray]]) -> None:
        """Take an epoch's numbers and validation images."""
        self._add(_Event(lambda sink: sink.epoch(record, samples), has_images=bool(samples)))

    def go_on_after(self, when: LogStep) -> None:
        """Forget what was reported after this moment."""
        self._add(_Event(lambda sink: sink.go_on_after(when)))

    def finish(self, text: str) -> None:
        """Take the last words."""
        self._add(_Event(lambda sink: sink.finish(text)))

    def wait(self) -> None:
        """Return when the sink has done all it was handed."""
        with self._changed:
            self._changed.wait_for(lambda: not self._works)

    def close(self) -> None:
        """Let the sink finish all it was handed, then close it."""
        self.wait()
        deliver([self.sink], lambda sink: sink.close())

    def _add(self, event: _Event[S]) -> None:
        with self._changed:
            if event.epoch is not None:
                self._waiting = deque(old for old in self._waiting if old.epoch != event.epoch)
            self._changed.wait_for(lambda: not self._works or self._has_room(event))
            self._waiting.append(event)
            if not self._works:
                threading.Thread(target=self._work, name=type(self.sink).__name__).start()
                self._works = True  # it waits for this block to end

    def _has_room(self, event: _Event[S]) -> bool:
        with_images = sum(each.has_images for each in self._waiting)
        few_images = with_images < MOST_IMAGES or not event.has_images
        return few_images and len(self._waiting) < MOST_EVENTS

    def _work(self) -> None:
        try:
            while (event := self._next()) is not None:
                with suppress(OSError, ValueError):  # nobody reads its warning any more
                    deliver([self.sink], event.call)
        except BaseException:
            with self._changed:  # nobody shall wait for this thread
                self._works = False
                self._changed.notify_all()
            raise

    def _next(self) -> _Event[S] | None:
        """Return what to do next; None, and the thread's work is over, if there is nothing."""
        with self._changed:
            self._changed.notify_all()
            self._works = bool(self._waiting)
            return self._waiting.popleft() if self._waiting else None
