"""Whether the tests are to try as much as they can: RELIABILITY=long; DIST=all of processes."""

import os
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")

LONG = os.environ.get("RELIABILITY") == "long"
EVERY_LAUNCH = LONG or os.environ.get("DIST") == "all"  # of several processes, as ci.sh dist does


def some(cases: Iterable[T], count: int = 1) -> list[T]:
    """Return the first cases, for tests that take seconds each; all of them if there is time."""
    every = list(cases)
    return every if LONG else every[:count]
