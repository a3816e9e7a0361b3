"""A progress line on a terminal; nothing when the output goes to a file."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from util.base.log import lines_through


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
