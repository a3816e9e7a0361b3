"""Hand what training reports to every sink that takes it."""

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from operator import methodcaller
from typing import Any

from util.base.errors import UserError
from util.display.sinks.base import (
    WHOLE_EPOCH,
    EpochRecord,
    ImageArray,
    LogStep,
    Overview,
    Sink,
    deliver,
)
from util.images.ranges import tensor2im


class Reporter:
    """Hand losses, images and epochs to sinks; one that fails stops nothing."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.sinks = sinks
        self.shown = False  # have images of this epoch been shown already?
        self.total_images: int | None = None  # seen since training began, as far as train.py says
        self.last = LogStep(0, 0, total_images=0)  # when something was shown last

    def begin(self, overview: Overview) -> None:
        """Tell what is known about the run."""
        deliver(self.sinks, lambda sink: sink.begin(overview))

    def begin_epoch(self) -> None:
        """Begin an epoch: its images have not been shown yet."""
        self.shown = False

    def print_losses(self, when: LogStep, losses: Mapping[str, float]) -> None:
        """Report losses to print and to write down."""
        self.last = replace(when, total_images=self.total_images)
        self._hand_on("print", self.last, losses)

    def plot_losses(self, when: LogStep, losses: Mapping[str, float]) -> None:
        """Report a point of live curves."""
        self._hand_on("plot", when, losses)

    def _hand_on(self, kind: str, when: LogStep, losses: Mapping[str, float]) -> None:
        sinks = [sink for sink in self.sinks if sink.losses_as == kind]
        deliver(sinks, lambda sink: sink.scalars(when, losses))

    def images(self, when: LogStep, visuals: Mapping[str, Any], *, for_page: bool) -> None:
        """Report images; the page takes the first ones of an epoch, and those `for_page`."""
        due = {"display_freq"}
        if for_page or not self.shown:
            due.add("update_html_freq")
        self.shown = True
        if when.total_images is None:
            when = replace(when, total_images=self.total_images)
        self.last = replace(self.last, total_images=when.total_images)
        self._hand_images_on(due, when, visuals)

    def first_images(self, when: LogStep, visuals: Mapping[str, Any]) -> None:
        """Report images to the page alone, long before it takes some regularly."""
        self._hand_images_on({"update_html_freq"}, when, visuals)

    def _hand_images_on(self, due: set[str], when: LogStep, visuals: Mapping[str, Any]) -> None:
        sinks = [sink for sink in self.sinks if sink.images_every in due]
        if sinks:  # else the device need not be waited for
            images = {label: tensor2im(image) for label, image in visuals.items()}
            deliver(sinks, lambda sink: sink.images(when, images))

    def epoch(self, record: EpochRecord, samples: list[dict[str, ImageArray]]) -> None:
        """Report what an epoch brought, and what was made of the same few images."""
        self.last = LogStep(record["epoch"], WHOLE_EPOCH, total_images=record["total_iters"])
        deliver(self.sinks, lambda sink: sink.epoch(record, samples))

    @contextmanager
    def session(self, how_to_continue: Callable[[], str]) -> Iterator[None]:
        """Let the sinks follow the training inside; then tell how it ended, and close them."""
        last_words = "Training has ended."
        try:
            yield
        except BaseException as error:
            last_words = f"{_reason(error)}\n{how_to_continue()}"
            raise
        finally:
            deliver(self.sinks, lambda sink: sink.finish(last_words))
            self.close()

    def wait(self) -> None:
        """Return when all that was reported is where it belongs, except on visdom."""
        deliver(self.sinks, lambda sink: sink.wait())

    def close(self) -> None:
        """Let every sink finish; more calls do no harm."""
        deliver(self.sinks, lambda sink: sink.close())

    def state_dict(self) -> dict[str, Any]:
        """Return what a run that is continued must know to show one history."""
        states: list[tuple[str, dict[str, Any]]] = []
        deliver(self.sinks, lambda sink: states.append((type(sink).__name__, sink.state_dict())))
        return {
            "saved": self.shown,
            "last_moment": [self.last.epoch, self.last.images],
            "total_images": self.last.total_images or 0,
            "curves": None,  # of visdom, in states of earlier versions
            "sinks": [(name, state) for name, state in states if state],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the history of the run that is continued."""
        self.shown = state["saved"]
        epoch, images = map(int, state["last_moment"])
        self._go_on_after(LogStep(epoch, images, total_images=state["total_images"]))
        earlier = [("VisdomSink", state["curves"])] if state["curves"] else []
        for name, kept in state.get("sinks", earlier):
            sinks = [sink for sink in self.sinks if type(sink).__name__ == name]
            deliver(sinks, methodcaller("load_state_dict", kept))

    def begin_again_with(self, epoch: int, total_images: int) -> None:
        """Let the history end before this epoch, from which the run goes on."""
        self._go_on_after(LogStep(epoch - 1, WHOLE_EPOCH, total_images=total_images))

    def _go_on_after(self, last: LogStep) -> None:
        self.last = last
        deliver(self.sinks, lambda sink: sink.go_on_after(last))


def reporter_of(visualizer: Any) -> Reporter:
    """Return what a visualizer of ours reports through; somebody else's does it by itself."""
    reporter = getattr(visualizer, "_reporter", None)
    if not isinstance(reporter, Reporter):
        return Reporter([])
    reporter.sinks = visualizer.sinks
    if strange := [sink for sink in reporter.sinks if not isinstance(sink, Sink)]:
        raise UserError(
            f"{strange[0]!r} in the visualizer's `sinks` is no sink. Derive its class from Sink in "
            "util/display/sinks/base.py."
        )
    return reporter


def _reason(error: BaseException) -> str:
    """Say in a line why training did not end by itself."""
    if isinstance(error, SystemExit):
        by = next((f" by {each.name}" for each in signal.Signals if error.code == 128 + each), "")
        return f"Training was stopped{by}."
    said = str(error).partition("\n")[0]
    if not isinstance(error, UserError):
        said = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return f"Training was stopped by an error. {said}{'' if said.endswith(('.', '?')) else '.'}"
