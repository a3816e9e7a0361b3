"""A progress line with the time left, on a terminal; nothing when the output goes to a file."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from util.log import lines_through


@contextmanager
def progress_bar(
    description: str, total: int, unit: str = "img", done: int = 0
) -> Iterator["tqdm[Any]"]:
    """Show how far a loop is; lines printed meanwhile appear above the bar."""
    shown = sys.stderr.isatty()
    with tqdm(
        total=total,
        initial=done,
        desc=description,
        unit=unit,
        disable=not shown,
        leave=False,
        dynamic_ncols=True,
    ) as bar:
        if not shown:
            yield bar
            return
        with lines_through(lambda text, stream: bar.write(text, file=stream)):
            yield bar


def epoch_bar(epoch: int, last_epoch: int, images: int, done: int = 0) -> Any:
    """Show how far an epoch is; `done` images were seen before an interruption."""
    return progress_bar(f"epoch {epoch}/{last_epoch}", images, done=done)
