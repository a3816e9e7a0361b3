"""Start several processes of a command on this machine, as torchrun does."""

import logging
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence
from uuid import uuid4

from util.base import system
from util.base.log import note
from util.base.new_options import new_option

SECONDS_TO_SAVE = 600  # after a signal, which may come in the middle of a slow save
OWN = "by-command-"  # what torch's name of a run begins with, if `start` has started it


def count_of(opt: Namespace, gpu_ids: Sequence[int]) -> int:
    """Return how many processes compute together, once they have been started."""
    started = system.processes_started()
    return started if started > 1 else max(len(gpu_ids), new_option(opt, "processes"))


def must_be_started(opt: Namespace) -> bool:
    """Tell whether the options ask for several processes, and nobody has started them yet."""
    return system.processes_started() == 1 and count_of(opt, opt.gpu_ids) > 1


def starter() -> str:
    """Return what stands before a script's name to start it as this process was: python, usually.

    What torchrun was told to find other machines cannot be known; the user knows it.
    """
    count = system.processes_started()
    if count == 1 or os.environ.get("TORCHELASTIC_RUN_ID", "").startswith(OWN):
        return "python"
    _, here = system.processes_here()
    return f"torchrun --nproc_per_node={count}" if here == count else "torchrun ..."


def start(opt: Namespace, script: str, argv: Sequence[str] | None) -> None:
    """Run a script with these arguments in each process.

    Raises:
        SystemExit: one of them has failed; with its exit status.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    count = count_of(opt, opt.gpu_ids)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, system.usable_cores() // count)))
    # torch kills processes 30 seconds after it has passed a signal on, saved or not.
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SECONDS_TO_SAVE))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # processes speak
    config = LaunchConfig(
        run_id=OWN + uuid4().hex, min_nodes=1, max_nodes=1, nproc_per_node=count, max_restarts=0,
        monitor_interval=0.1, rdzv_backend="c10d", rdzv_endpoint="localhost:0",
    )  # fmt: skip
    words = sys.argv[1:] if argv is None else argv
    try:
        elastic_launch(config, sys.executable)(script, *words)
    except ChildFailedError as error:
        rank, first = min(error.failures.items(), key=lambda each: each[1].timestamp)
        if (status := first.exitcode) >= 0:  # it has said why
            raise SystemExit(status) from None
        note(f"error: process {rank} was ended by {signal.Signals(-status).name}.")
        raise SystemExit(128 - status) from None
    except SignalException as error:
        raise SystemExit(128 + error.sigval) from None
