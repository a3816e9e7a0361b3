"""What all comparisons with recorded values share."""

from collections.abc import Callable, Iterator

import pytest

from tests.golden.formulas import one_thread

Largest = Callable[[str, float, float], None]

_DIFFERENCES = pytest.StashKey[dict[str, tuple[float, float]]]()


def pytest_configure(config: pytest.Config) -> None:
    """Make room for the largest difference of each group."""
    config.stash[_DIFFERENCES] = {}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture
def largest(request: pytest.FixtureRequest) -> Largest:
    """Return a function (group, value, bound) that keeps the largest value and checks the bound."""
    differences = request.config.stash[_DIFFERENCES]

    def check(group: str, value: float, bound: float) -> None:
        kept = differences.get(group)
        # A bound may depend on the case: the case closest to its bound is the one to know.
        if kept is None or value * kept[1] > kept[0] * bound:
            differences[group] = (value, bound)
        assert value <= bound, f"{group}: {value:.3g} is above {bound:.3g}"

    return check


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the largest difference of each group."""
    differences = config.stash[_DIFFERENCES]
    if differences:
        terminalreporter.section("largest difference from the recorded values")
    for group, (value, bound) in sorted(differences.items()):
        terminalreporter.line(f"{group:<45} {value:<12.3g} (bound {bound:.3g})")
