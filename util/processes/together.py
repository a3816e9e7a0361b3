"""Begin a command in several processes: they find each other, and mean the same run."""

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from util.base.errors import UserError
from util.base.log import note, warn
from util.base.new_options import new_option, set_new_option
from util.processes import group

OWN = ("gpu_ids", "device", "dataroot", "num_threads")  # options of each process, or machine
STARTS, LAST_SAVE = "starts", "last save"  # what is remembered


@contextmanager
def together(opt: Namespace) -> Iterator[bool]:
    """Compute with the other processes that torchrun has started, if it has, in a `with` block.

    All have the options of the first. The block is told whether a run was restarted that goes on
    where it was saved, whatever place its options name.
    """
    device = "cuda" if opt.gpu_ids else "cpu"
    with group.joined(device, new_option(opt, "dist_timeout")):
        set_new_option(opt, "seed", group.of_first(new_option(opt, "seed")))
        _require_same_options(opt)
        yield opt.isTrain and _goes_on_after_restart(opt)


@contextmanager
def sharing(options: Namespace) -> Iterator[None]:
    """Share work with the other processes, if there are any, in a `with` block of a script.

    Each computes by itself meanwhile, see `parts`.
    """
    device = "cuda" if options.gpu_ids else "cpu"
    with group.joined(device, new_option(options, "dist_timeout")):
        _require_same_options(options)
        with group.alone():
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


def _goes_on_after_restart(opt: Namespace) -> bool:
    """Let a run go on that these processes began before one of them failed, if they have saved."""
    starts, label = group.of_first(
        (int(group.remembered(STARTS) or 0), group.remembered(LAST_SAVE))
    )
    if group.rank() == 0:
        group.remember(STARTS, str(starts + 1))
    if starts == 0:
        return False
    if not label:
        warn(f"Restart {starts}: nothing was saved before it, so the run begins again.")
        return False
    opt.continue_train, opt.epoch, opt.load_iter = True, label, 0
    note(f"Restart {starts}: the run goes on from its save {label}.")
    return True
