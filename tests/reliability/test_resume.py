"""Runs that are stopped and continued end exactly as runs that are not."""

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.e2e.conftest import add_plugins  # noqa: F401 - a fixture
from tests.reliability.conftest import Count
from tests.support.commands import THIRD_PARTY
from tests.support.runs import (
    MODELS,
    command,
    differences,
    draw_data,
    outcome,
    resume,
    run,
    run_until,
)
from tests.support.tiers import LONG, some


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def undisturbed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Return a function that trains in one go and returns what is left; once for each command."""

    @functools.cache
    def train(model: str, *more: str) -> dict[str, Any]:
        checkpoints = tmp_path_factory.mktemp("undisturbed")
        run(command(root, checkpoints, model, *more))
        return outcome(checkpoints / "run")

    return train


@pytest.fixture(autouse=True)
def _plugins(add_plugins: Callable[[Path], None]) -> None:  # noqa: F811
    add_plugins(THIRD_PARTY)


MORE = [("--epoch_size", "7", "--rotate90", "--balanced")] if LONG else []
VARIANTS = [
    ("--num_threads", workers, "--batch_size", batch, *order)
    for workers in ("0", "2")
    for batch in ("1", "3")
    for order in ((), ("--serial_batches",), ("--cache", "resized"), *MORE)
]


TRIED = [
    pytest.param(model, marks=pytest.mark.slow if model == "stargan_v2" else ())
    for model in some(MODELS, 3)
]


@pytest.mark.parametrize("model", TRIED)
@given(data=st.data())
@settings(
    max_examples=80 if LONG else 3,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a smaller example takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_run_that_is_stopped_anywhere_ends_as_one_that_is_not(
    model: str,
    root: Path,
    undisturbed: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
    count: Count,
    data: st.DataObject,
) -> None:
    more = data.draw(st.sampled_from(VARIANTS))
    steps = 3 * (5 if "1" in more else 2)
    stops = data.draw(st.lists(st.integers(1, steps), min_size=1, max_size=3, unique=True))
    checkpoints = tmp_path_factory.mktemp("stopped")
    argv = command(root, checkpoints, model, *more)
    for stop in sorted(stops):
        assert run_until(argv, stop)
        count("stops tried")
        argv = resume(checkpoints)
    run(argv)
    assert differences(undisturbed(model, *more), outcome(checkpoints / "run")) == []
    shutil.rmtree(checkpoints)
