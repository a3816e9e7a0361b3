"""What all processes do together: share work out, go on only if all can."""

from collections.abc import Callable
from typing import TypeVar
from zlib import crc32

from util.base.errors import LoadError, UserError
from util.base.stop_signals import noted, stop_as_others
from util.processes import group

T = TypeVar("T")
FAILED = 1000  # above all signals


def all_or_none(action: Callable[[], T], alike: Callable[[T], str] = lambda _: "") -> T:
    """Return what an action gives, if it succeeds in every process and none is asked to stop.

    Raises:
        LoadError: it has failed in one process or more, with what these say; or what `alike` tells
            of the results is not the same in all.
        Stopped: a signal came to one of them.
    """
    if group.count() == 1:
        return action()
    problem: LoadError | None = None
    result: list[T] = []
    try:
        result.append(action())
    except LoadError as error:
        problem = error
    text = alike(result[0]) if result else ""
    mark = crc32(text.encode())
    worst, most, least = group.highest(noted() if problem is None else FAILED, mark, -mark)
    if worst == FAILED:
        raise _together(problem)
    if most != -least:
        raise _unlike(text)
    if worst > 0:
        stop_as_others(worst)
    return result[0]


def require_same(value: object, what: str) -> None:
    """Raise a UserError unless all processes have the same."""
    every = group.gathered(value)
    if different := [number for number, each in enumerate(every) if each != every[0]]:
        error = UserError(
            f"{what} of process {different[0]} are not those of process 0 ({every[different[0]]} "
            f"and {every[0]}). All machines need the same."
        )
        error.is_said = group.rank() > 0
        raise error


def _unlike(text: str) -> LoadError:
    """Return an error for all processes of what does not fit together."""
    every = group.gathered(text)
    other = next(number for number, each in enumerate(every) if each != every[0])
    return _shared(LoadError(
        f"Images of several sizes make no batch: process 0 has {every[0]}, process {other} has "
        f"{every[other]}, as channels x height x width. Give a --preprocess that brings all to one "
        "size, such as resize_and_crop, or train in one process with --batch_size 1."
    ))  # fmt: skip


def _shared(error: LoadError) -> LoadError:
    """Return an error that all processes raise, and the first one says."""
    error.is_shared = True
    error.is_said = group.rank() > 0
    return error


def _together(problem: LoadError | None) -> LoadError:
    """Return one error for all processes, which the first one says."""
    problems = group.gathered(None if problem is None else (str(problem), problem.hint))
    texts = [f"process {n}: {each[0]}" for n, each in enumerate(problems) if each is not None]
    error = LoadError("\n  ".join(texts))
    error.hint = next(each[1] for each in problems if each is not None)
    return _shared(error)
