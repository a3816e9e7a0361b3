"""A progress line on a terminal; nothing when the output goes to a file."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from tqdm import tqdm

from util.base import system
from util.base.log import lines_through
from util.base.system import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def progress_bar(
    description: str, total: int, *, more: Callable[[], str] | None = None, **options: Any
) -> Iterator["tqdm[Any]"]:
    """Show how far a loop is; lines printed meanwhile appear above the bar.

    `more` is asked what stands at its end when the line is drawn; other `options` are tqdm's.
    """
    shown = sys.stderr.isatty() and system.is_main_process()
    known: dict[str, Any] = {"unit": "img", "leave": False, "dynamic_ncols": True} | options
    with _Bar(more, desc=description, total=total, disable=not shown, **known) as bar:
        if not shown:
            yield bar
            return
        with lines_through(lambda text, stream: bar.write(text, file=stream)):
            yield bar


def in_threads(
    description: str, work: Callable[[Item], Result], items: Sequence[Item], threads: int = 0
) -> Iterator[Result]:
    """Yield what `work` makes of each item, in order; by default in one thread for each core.

    For work that leaves Python, as reading and writing images does. After an error what has not
    begun is left out.
    """
    pool = ThreadPoolExecutor(threads or usable_cores())
    try:
        with progress_bar(description, len(items)) as bar:
            results: Iterable[Result] = pool.map(work, items)
            for result in results:
                bar.update(1)
                yield result
    finally:
        pool.shutdown(cancel_futures=True)


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
