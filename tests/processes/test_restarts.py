"""Processes that are started again: together, and with the run's own saves."""

import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.processes.test_failures import EACH_TAKES_LONG, TRAIN, free_port, options, says
from tests.processes.test_failures import data as data
from tests.support.launched import launched, run, torchrun
from tests.support.paths import ROOT
from tests.support.tiers import LONG, some

pytestmark = [pytest.mark.slow, pytest.mark.dist]


@pytest.mark.skipif(not LONG, reason="RELIABILITY=long")
def test_what_starts_again_is_this_run_and_no_earlier_one(data: Path, tmp_path: Path) -> None:
    """It fails before its first save, then with an option that says where it began."""
    failing = str(ROOT / "tests" / "processes" / "failing.py")
    argv = options(data, tmp_path, "--n_epochs", "1", "--n_epochs_decay", "0")
    assert run([sys.executable, TRAIN, *argv], tmp_path)[0] == 0
    again = torchrun(2, "--max-restarts=1")
    for before, step in enumerate(some(["1", "0"]), 1):
        status, said = run([*again, failing, step, *argv], tmp_path)
        assert status == 0, said[-4000:]
        assert "goes on from" not in said
        assert said.count("Restart 1: nothing was saved before it, so the run begins") == int(step)
        assert len([*(tmp_path / "run").glob("before-*")]) == before
        assert "End of epoch 1 / 1" in said
    argv += ["--continue_train", "--epoch_count", "2", "--n_epochs", "3"]
    status, said = run([*again, failing, "3", *argv], tmp_path)
    assert status == 0, said[-4000:]
    assert "Restart 1: the run goes on from" in said
    assert said.count("(epoch: 2, iters: 6") == said.count("(epoch: 3, iters: 6") == 1


@pytest.mark.skipif(not LONG, reason="RELIABILITY=long")
def test_a_restart_goes_on_from_saves_by_iterations(data: Path, tmp_path: Path) -> None:
    failing = str(ROOT / "tests" / "processes" / "failing.py")
    argv = options(data, tmp_path, "--save_by_iter", "--save_latest_freq", "6", "--n_epochs", "2")
    status, said = run([*torchrun(2, "--max-restarts=1"), failing, "4", *argv], tmp_path)
    assert status == 0, said[-4000:]
    assert "Restart 1: the run goes on from its save iter_" in said
    assert said.count("(epoch: 1, iters: 6") == 1


@EACH_TAKES_LONG
def test_several_machines_start_again_together(data: Path, tmp_path: Path) -> None:
    """Each has a torchrun of its own, which counts its own restarts alone."""
    port = free_port()
    argv = options(data, tmp_path, "--n_epochs", "3", "--n_epochs_decay", "0")
    machines = []
    with ExitStack() as stack:
        for number in (0, 1):
            command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2"]
            command += ["--nproc_per_node=1", "--max-restarts=2", "--local_addr=127.0.0.1"]
            command += ["--rdzv_backend=c10d", "--rdzv_id=x", f"--rdzv_endpoint=127.0.0.1:{port}"]
            command += [f"--rdzv_conf=is_host={number == 0}", TRAIN, *argv]
            machines.append(stack.enter_context(launched(command, tmp_path, f"machine {number}")))
        first = machines[0]
        says(first, "(epoch: 2, iters: 6")
        (victim,) = (m for m in machines if m.has_rank(1))
        os.kill(victim.pid_of(1), signal.SIGKILL)
        says(first, "Restart 1: the run goes on from its save latest")
        assert [machine.wait() for machine in machines] == [0, 0], first.said[-4000:]
        assert "End of epoch 3 / 3" in first.said
