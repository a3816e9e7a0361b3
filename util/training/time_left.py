"""How long a run will go on, and the progress line that says so."""

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from util.display.progress_bar import progress_bar
from util.training.length import Length
from util.training.progress import Progress

EPOCH_LINE = (  # fits into 60 columns
    "{desc}{percentage:4.0f}%|{bar}| {rate_noinv_fmt}, left {remaining}{postfix}"
)


@dataclass
class TimeLeft:
    """Tell how long a run will go on, by what this process has done so far, saving included."""

    progress: Progress
    length: Length

    def __post_init__(self) -> None:
        self._images_before, self._began = self.progress.images_here, time.monotonic()

    def seconds_left(self) -> float | None:
        """Return an estimate, None before anything was trained."""
        trained = self.progress.images_here - self._images_before
        if trained <= 0:
            return None
        left = self.length.images_left(self.progress)
        return left * (time.monotonic() - self._began) / trained

    def in_words(self) -> str:
        """Return the estimate for the line, as tqdm does; what takes days, in days."""
        if (seconds := self.seconds_left()) is None:
            return "run ?"
        days, hours = divmod(round(seconds / 3600), 24)
        return f"run {f'{days}d {hours}h' if days > 1 else tqdm.format_interval(seconds)}"


def epoch_bar(time_left: TimeLeft) -> AbstractContextManager["tqdm[Any]"]:
    """Show how far the running epoch is, how fast it goes, and what is left of it and of the run.

    Images that were seen before an interruption count as done, but not for the speed.
    """
    progress, length = time_left.progress, time_left.length
    return progress_bar(
        f"epoch {progress.epoch}/{length.last_epoch(progress)}",
        length.epoch_images(progress),
        initial=progress.epoch_images,
        bar_format=EPOCH_LINE,
        more=time_left.in_words,
    )
