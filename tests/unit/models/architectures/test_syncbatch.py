"""Sync batch norm over two processes is batch norm over the joint batch."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp

from tests.support.ports import free_port
from tests.support.two_processes import HALVES, SHARES, WORLD, run, run_half, work
from util.storage import checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.dist]
SECONDS = 120


@contextmanager
def processes(folder: Path, share: str) -> Iterator[list[SpawnProcess]]:
    """Start the processes; none of them outlives the test."""
    context, port = mp.get_context("spawn"), free_port()
    started = [
        context.Process(target=work, args=(rank, str(folder), share, port)) for rank in range(WORLD)
    ]
    for process in started:
        process.start()
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.join()
            process.close()


@pytest.fixture(scope="module", params=SHARES)
def ranks(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """Return what each of two processes found."""
    folder = tmp_path_factory.mktemp("ranks")
    deadline = time.monotonic() + SECONDS
    with processes(folder, request.param) as started:
        for process in started:
            process.join(max(0.0, deadline - time.monotonic()))
        assert [process.exitcode for process in started] == [0] * WORLD
    return [checkpoint.load_state(folder / f"{rank}.pth") for rank in range(WORLD)]


def test_two_processes_compute_what_one_does_with_the_joint_batch(
    ranks: list[dict[str, Any]],
) -> None:
    results = [rank["result"] for rank in ranks]
    joint = run(slice(None))
    for name, value in joint["buffers"].items():
        for result in results:
            torch.testing.assert_close(result["buffers"][name], value, rtol=1e-12, atol=1e-12)
    for name, value in joint["tensors"].items():
        together = torch.cat([result["tensors"][name] for result in results])
        assert torch.allclose(together, value, rtol=1e-9, atol=1e-11), name
    for name, value in joint["gradients"].items():
        total = results[0]["gradients"][name] + results[1]["gradients"][name]
        assert torch.allclose(total, value, rtol=1e-9, atol=1e-11), name


@pytest.mark.parametrize("which", range(len(HALVES)), ids=map(str, HALVES))
def test_half_precision_is_that_of_one_process(ranks: list[dict[str, Any]], which: int) -> None:
    """Sums of 65,536 values and more, which float16 does not have, nor bfloat16 to the digit."""
    rounding = torch.finfo(HALVES[which]).eps
    for name, value in run_half(slice(None), HALVES[which]).items():
        together = torch.cat([rank["half"][which][name] for rank in ranks])
        assert together.dtype == value.dtype == HALVES[which]
        bound = 2 * rounding * float(value.abs().max())
        torch.testing.assert_close(together, value, rtol=0, atol=bound)


def test_nobody_is_warned(ranks: list[dict[str, Any]]) -> None:
    assert [rank["warnings"] for rank in ranks] == [[], []]
