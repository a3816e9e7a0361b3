"""A progress line with the time left, on a terminal; nothing when the output goes to a file."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from tqdm import tqdm

from util.base.log import lines_through
from util.training.progress import Progress

EPOCH_LINE = (
    "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}, {rate_noinv_fmt}, "
    "left: epoch {remaining}{postfix}"
)


@contextmanager
def progress_bar(
    description: str,
    total: int,
    unit: str = "img",
    done: int = 0,
    *,
    line: str | None = None,
    more: Callable[[], str] | None = None,
) -> Iterator["tqdm[Any]"]:
    """Show how far a loop is; lines printed meanwhile appear above the bar.

    Args:
        description: what stands before the bar.
        total: how many steps there are.
        unit: of a step.
        done: steps that were taken before.
        line: tqdm's format of the whole line, if not its own.
        more: returns what stands at its end; asked when the line is drawn, a few times a second.
    """
    shown = sys.stderr.isatty()
    with _Bar(
        more,
        total=total,
        initial=done,
        desc=description,
        unit=unit,
        disable=not shown,
        leave=False,
        dynamic_ncols=True,
        bar_format=line,
    ) as bar:
        if not shown:
            yield bar
            return
        with lines_through(lambda text, stream: bar.write(text, file=stream)):
            yield bar


class _Bar(tqdm):
    """A bar that looks at what stands at its end only when it is drawn."""

    def __init__(self, more: Callable[[], str] | None, **options: Any) -> None:
        self._more = more
        super().__init__(**options)

    @property
    def format_dict(self) -> dict[str, Any]:
        """Return all that the line is made of."""
        known: dict[str, Any] = super().format_dict
        return known if self._more is None else {**known, "postfix": self._more()}


class TimeLeft:
    """Tell how long a run will go on.

    Goes by the mean over all that this process has trained so far, with the time that validation,
    images and saving took. Nothing is counted at a step: `progress` knows.

    Args:
        progress: where training stands.
        last_epoch: the last epoch of the run.
        images: in an epoch.
    """

    def __init__(self, progress: Progress, last_epoch: int, images: int) -> None:
        self.progress = progress
        self.last_epoch = last_epoch
        self.images = images
        self._images_before = progress.total_images
        self._began = time.monotonic()

    def seconds_left(self) -> float | None:
        """Return an estimate, None before anything was trained."""
        trained = self.progress.total_images - self._images_before
        if trained <= 0:
            return None
        epochs = self.last_epoch - self.progress.epoch + 1
        left = max(0, epochs * self.images - self.progress.epoch_images)
        return left * (time.monotonic() - self._began) / trained

    def in_words(self) -> str:
        """Return the estimate for the line, `?` before there is one."""
        seconds = self.seconds_left()
        return f"run {'?' if seconds is None else _duration(seconds)}"


def _duration(seconds: float) -> str:
    """Write hours and minutes as tqdm does; what takes days, in days."""
    hours = round(seconds / 3600)
    return tqdm.format_interval(seconds) if hours < 48 else f"{hours // 24}d {hours % 24}h"


def epoch_bar(clock: TimeLeft) -> AbstractContextManager["tqdm[Any]"]:
    """Show how far the running epoch is, how fast it goes, and what is left of it and of the run.

    Images that were seen before an interruption count as done, but not for the speed.
    """
    progress = clock.progress
    return progress_bar(
        f"epoch {progress.epoch}/{clock.last_epoch}",
        clock.images,
        done=progress.epoch_images,
        line=EPOCH_LINE,
        more=clock.in_words,
    )
