"""Two machines, networks of their own, train one run until the cable between them is cut."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.processes.test_failures import TRAIN, options, says
from tests.support.commands import draw_unpaired
from tests.support.launched import launched
from tests.support.tiers import EVERY_LAUNCH

pytestmark = [
    pytest.mark.slow,
    pytest.mark.dist,
    pytest.mark.skipif(not EVERY_LAUNCH, reason="DIST=all"),
]

NAMES = (f"first{os.getpid()}", f"second{os.getpid()}")
FIRST = "10.213.0.1"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def machines() -> Iterator[tuple[str, str]]:
    """Make two networks with a cable between them; the ends of it are called `cable`."""
    if shutil.which("ip") is None:
        pytest.skip("no ip(8) here")
    with ExitStack() as stack:
        for name in NAMES:
            made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
            if made.returncode != 0:
                pytest.skip(f"networks cannot be made here: {made.stderr.decode()}")
            stack.callback(ip, "netns", "del", name)
        ip(
            "link",
            "add",
            "cable",
            "netns",
            NAMES[0],
            "type",
            "veth",
            "peer",
            "cable",
            "netns",
            NAMES[1],
        )
        for number, name in enumerate(NAMES, 1):
            ip("-n", name, "addr", "add", f"10.213.0.{number}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield NAMES


def torchrun(machine: str) -> list[str]:
    """Return the beginning of a command line on one of the machines."""
    inside = ["ip", "netns", "exec", machine, "env", "GLOO_SOCKET_IFNAME=cable", sys.executable]
    rendezvous = ["--rdzv_backend=c10d", f"--rdzv_endpoint={FIRST}:29400", "--rdzv_id=run"]
    rendezvous += [f"--rdzv_conf=is_host={str(machine == NAMES[0]).lower()}"]
    rendezvous += [f"--local_addr=10.213.0.{NAMES.index(machine) + 1}"]
    return [*inside, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1", *rendezvous]


def test_a_machine_that_is_cut_off_ends_the_run_which_goes_on_later(
    machines: tuple[str, str], tmp_path: Path
) -> None:
    draw_unpaired(tmp_path, "train", 11, 5)
    argv = [TRAIN, *options(tmp_path, tmp_path / "checkpoints", "--dist_timeout", "5")]
    argv += ["--n_epochs", "3", "--n_epochs_decay", "0"]
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(launched([*torchrun(name), *argv], tmp_path, name))
            for name in machines
        )
        says(first, "(epoch: 2, iters: 6")
        ip("-n", machines[1], "link", "set", "cable", "down")
        first.wait_until(lambda: "do not answer: 1 (" in first.said)
        assert "Continue with:\n  torchrun ... train.py --name run --continue_train" in first.said
        second.wait_until(lambda: "process 1: error: " in second.said)
        assert first.wait() != 0
    ip("-n", machines[1], "link", "set", "cable", "up")
    argv += ["--continue_train"]
    with ExitStack() as stack:
        both = [
            stack.enter_context(launched([*torchrun(name), *argv], tmp_path, f"{name} again"))
            for name in machines
        ]
        assert [machine.wait() for machine in both] == [0, 0], both[0].said[-4000:]
        assert "End of epoch 3 / 3" in both[0].said
