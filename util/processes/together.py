"""Begin a command in several processes: they find each other, and mean the same run."""

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from util.base import system
from util.base.errors import UserError
from util.base.log import note, warn
from util.base.new_options import new_option, set_new_option
from util.processes import group
from util.storage.run_folder import RunFolder

OWN = ("gpu_ids", "device", "dataroot", "num_threads")  # options of each process, or machine
BEGUN = "the run has begun"


@contextmanager
def together(opt: Namespace) -> Iterator[None]:
    """Compute with the other processes that torchrun has started, if it has, in a `with` block.

    All have the options of the first; after a restart the run goes on where it was saved.
    """
    device = "cuda" if opt.gpu_ids else "cpu"
    with group.joined(device, new_option(opt, "dist_timeout")):
        set_new_option(opt, "seed", group.of_first(new_option(opt, "seed")))
        _require_same_options(opt)
        if system.restarts() > 0 and opt.isTrain:
            _go_on_after_restart(opt)
        yield


def _require_same_options(opt: Namespace) -> None:
    """Raise a UserError if this process was started with other options than the first."""
    own = {name: str(value) for name, value in vars(opt).items() if name not in OWN}
    first = group.of_first(own)
    if different := sorted(
        name for name in own.keys() | first.keys() if own.get(name) != first.get(name)
    ):
        listed = ", ".join(f"--{n} {own.get(n)} instead of {first.get(n)}" for n in different)
        raise UserError(
            f"This process was started with other options than the first one: {listed}. Start all "
            "machines with one command line."
        )


def _go_on_after_restart(opt: Namespace) -> None:
    """Continue a run that these processes began before one of them failed."""
    latest = RunFolder(opt.checkpoints_dir, opt.name).state_file("latest")
    if group.of_first(group.is_remembered(BEGUN) and latest.exists()):
        opt.continue_train, opt.epoch, opt.load_iter = True, "latest", 0
        note(f"Restart {system.restarts()}: the run goes on from {latest}.")
    else:
        warn(f"Restart {system.restarts()}: nothing was saved before it, so the run begins again.")
