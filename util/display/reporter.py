"""Hand what training reports to every sink that takes it."""

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from util.base.errors import UserError
from util.display.sinks.base import EpochRecord, ImageArray, LogStep, Overview, Sink, deliver
from util.images.ranges import tensor2im

WHOLE_EPOCH = 2**31  # more images than any epoch has


class Reporter:
    """Hand losses, images and epochs to sinks; one that fails stops nothing."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.sinks = sinks
        self.shown = False  # has the page shown images of this epoch already?
        self._last = LogStep(0, 0, total_images=0)  # when numbers were shown last

    def begin(self, overview: Overview) -> None:
        """Tell what is known about the run."""
        deliver(self.sinks, lambda sink: sink.begin(overview))

    def begin_epoch(self) -> None:
        """Begin an epoch: its images have not been on the page yet."""
        self.shown = False

    def print_losses(self, when: LogStep, losses: Mapping[str, float]) -> None:
        """Report losses to print and to write down."""
        self._last = when
        sinks = [sink for sink in self.sinks if sink.losses_as == "print"]
        deliver(sinks, lambda sink: sink.scalars(when, losses))

    def plot_losses(self, when: LogStep, losses: Mapping[str, float]) -> None:
        """Report a point of live curves."""
        sinks = [sink for sink in self.sinks if sink.losses_as == "plot"]
        deliver(sinks, lambda sink: sink.scalars(when, losses))

    def images(self, when: LogStep, visuals: Mapping[str, Any], *, for_page: bool) -> None:
        """Report images; the page takes the first ones of an epoch, and those `for_page`."""
        due = ["display_freq"]
        if for_page or not self.shown:
            due.append("update_html_freq")
        sinks = [sink for sink in self.sinks if sink.images_every in due]
        self.shown |= any(sink.images_every == "update_html_freq" for sink in sinks)
        if sinks:  # else the device need not be waited for
            images = {label: tensor2im(image) for label, image in visuals.items()}
            deliver(sinks, lambda sink: sink.images(when, images))

    def epoch(self, record: EpochRecord, samples: list[dict[str, ImageArray]]) -> None:
        """Report what an epoch brought, and what was made of some validation images."""
        self._last = LogStep(record["epoch"], WHOLE_EPOCH, total_images=record["total_iters"])
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
        states = [sink.state_dict() for sink in self.sinks]
        return {
            "saved": self.shown,
            "last_moment": [self._last.epoch, self._last.images],
            "total_images": self._last.total_images or 0,
            "curves": next(filter(None, states), None),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the history of the run that is continued."""
        self.shown = state["saved"]
        epoch, images = map(int, state["last_moment"])
        self._last = LogStep(epoch, images, total_images=state["total_images"])
        for sink in self.sinks:
            sink.go_on_after(self._last)
            if state["curves"] is not None:
                sink.load_state_dict(state["curves"])


class ForeignReporter(Reporter):
    """Report through somebody's own `util/visualizer.py`, which has the original's calls alone."""

    def __init__(self, visualizer: Any) -> None:
        super().__init__([])
        self._visualizer = [visualizer]

    def begin_epoch(self) -> None:
        """Begin an epoch."""
        super().begin_epoch()
        deliver(self._visualizer, lambda it: it.reset())

    def print_losses(self, when: LogStep, losses: Mapping[str, float]) -> None:
        """Print losses."""
        super().print_losses(when, losses)
        told = (when.epoch, when.images, losses, when.compute_seconds, when.load_seconds)
        deliver(self._visualizer, lambda it: it.print_current_losses(*told))

    def plot_losses(self, when: LogStep, losses: Mapping[str, float]) -> None:
        """Plot losses, if there is a server to plot on."""
        if getattr(self._visualizer[0], "display_id", 0) > 0:
            plot = (when.epoch, when.fraction, losses)
            deliver(self._visualizer, lambda it: it.plot_current_losses(*plot))

    def images(self, when: LogStep, visuals: Mapping[str, Any], *, for_page: bool) -> None:
        """Show images."""
        self.shown = True
        shown = (visuals, when.epoch, for_page)
        deliver(self._visualizer, lambda it: it.display_current_results(*shown))


def reporter_of(visualizer: Any) -> Reporter:
    """Return what reports to a visualizer: to the sinks of ours, else by the original's calls."""
    sinks = getattr(visualizer, "sinks", None)
    if isinstance(sinks, list) and all(isinstance(sink, Sink) for sink in sinks):
        return Reporter(sinks)
    return ForeignReporter(visualizer)


def _reason(error: BaseException) -> str:
    """Say in a line why training did not end by itself."""
    if isinstance(error, SystemExit):
        by = next((f" by {each.name}" for each in signal.Signals if error.code == 128 + each), "")
        return f"Training was stopped{by}."
    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    return f"Training was stopped by an error. {kind}{error}".split("\n")[0]
