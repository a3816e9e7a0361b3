"""What all comparisons with recorded values share."""

from collections.abc import Callable, Iterator

import pytest

from tests.golden.formulas import one_thread
from tests.summary import SUMMARY

Largest = Callable[[str, float, float], None]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture
def largest(request: pytest.FixtureRequest) -> Largest:
    """Return a function (group, value, bound) that keeps the largest value and checks the bound."""
    summary = request.config.stash[SUMMARY]

    def check(group: str, value: float, bound: float) -> None:
        summary.note_difference(group, value, bound)
        assert value <= bound, f"{group}: {value:.3g} is above {bound:.3g}"

    return check
