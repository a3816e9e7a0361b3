"""What two originals have under one name: other people's code was written for 2024's or 2025's."""

import inspect
from collections.abc import Callable
from functools import wraps
from numbers import Integral
from pathlib import Path
from typing import Any, TypeVar, cast

Method = TypeVar("Method", bound=Callable[..., Any])


class PathText(str):
    """A path that is text, as in 2024, and does what a `Path` does, as in 2025.

    So `folder + "/x"`, `folder / "x"` and `folder.mkdir()` all work; `replace` is that of text.
    """

    __slots__ = ()

    def __truediv__(self, name: str | Path) -> Path:
        return Path(self) / name

    def __rtruediv__(self, name: str) -> Path:
        return name / Path(self)

    def __fspath__(self) -> str:  # so that it counts as os.PathLike
        return str(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(Path(self), name)


def also_called_as(of_2025: Callable[..., Any]) -> Callable[[Method], Method]:
    """Let a method take calls in the form of 2025 too: those with a count as `total_iters`."""
    form = inspect.signature(of_2025)

    def decorate(method: Method) -> Method:
        @wraps(method)
        def either(*args: Any, **named: Any) -> Any:
            try:
                count = form.bind(*args, **named).arguments["total_iters"]
            except TypeError:
                return method(*args, **named)
            is_count = isinstance(count, Integral) and not isinstance(count, bool)
            return (of_2025 if is_count else method)(*args, **named)

        return cast(Method, either)

    return decorate


def is_of_2025(call: Callable[..., Any]) -> bool:
    """Tell whether somebody's method of a visualizer has the form of 2025."""
    return "total_iters" in inspect.signature(call).parameters
