"""Continue without guessing: the options of the run that `--continue_train` goes on with.

Folders of the original framework, which hold networks alone, continue as they did there.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from options.parsing.parser import known
from options.parsing.trained_run import as_given, set_options
from util.base.new_options import OURS, new_option, set_new_option
from util.storage import journal
from util.storage.checkpoint import require_save
from util.storage.run_folder import RunFolder, label_of
from util.storage.saved_options import read_saved_options
from util.training.length import Length
from util.training.run_lock import RunLock

# What must be known before all options are: what brings options of its own, or is required.
NEEDED_EARLY = ("model", "dataset_mode", "dataroot")
# What says which run to continue, from where, or how to find it.
NOT_TAKEN_OVER = frozenset({
    "name", "checkpoints_dir", "suffix", "model", "dataset_mode", "continue_train", "epoch",
    "load_iter", "epoch_count", "pretrained", "isTrain", "verbose",
})  # fmt: skip


def repeated_arguments(parser: ArgumentParser, argv: Sequence[str]) -> list[str]:
    """Return what the run to be continued says of these options, to stand before `argv`."""
    opt = known(parser, argv)
    if opt.suffix:  # the name is not known before all options are
        return []
    label = label_of(opt.load_iter, opt.epoch)
    values = as_given(_saved(opt)[1], parser)
    if _continues(opt) and opt.dataroot is None:  # which is all that would be asked for
        require_save(opt.checkpoints_dir, opt.name, label)
    return [f"--{name}={values[name]}" for name in NEEDED_EARLY if name in values]


def take_over(opt: Namespace, given: frozenset[str], parser: ArgumentParser) -> None:
    """Set the options that are not `given` to those of the continued run; print what changed."""
    source, saved = _saved(opt)
    changes = {
        name: value
        for name, value in as_given(saved, parser).items()
        if name == "dataroot" or (name not in NOT_TAKEN_OVER and value != getattr(opt, name))
    }
    set_options(opt, given, changes, source)
    ours = saved.get(OURS)  # of names that plugins have taken
    if isinstance(ours, dict) and type(ours.get("seed")) is int:
        set_new_option(opt, "seed", ours["seed"])


def _saved(opt: Namespace) -> tuple[Path, dict[str, Any]]:
    """Return what the run to be continued has saved, and where; nothing if there is none."""
    run = RunFolder(opt.checkpoints_dir, opt.name)
    if _continues(opt) and run.moving.is_dir():
        with RunLock() as lock:
            lock.take(opt)  # puts back what a killed process was moving
    state = run.state_file(label_of(opt.load_iter, opt.epoch))
    is_ours = journal.exists(state) or any(run.path.glob("[!.]*_state.pth"))
    return read_saved_options(run) if _continues(opt) and is_ours else (state, {})


def _continues(opt: Namespace) -> bool:
    return bool(getattr(opt, "continue_train", False))  # not an option of every fork


def notes(opt: Namespace, given: frozenset[str]) -> Iterator[str]:
    """Yield what options mean in a run that begins anew, which are made for `--continue_train`."""
    if getattr(opt, "continue_train", True):  # not an option of every fork
        return
    length = Length.of(opt)
    pretrained = new_option(opt, "pretrained")
    for name in ("epoch", "load_iter"):
        if name in given and getattr(opt, name) not in ("latest", 0) and not pretrained:
            yield (
                f"--{name} {getattr(opt, name)} does nothing without --continue_train: it is the "
                f"save to go on from. How long to train is given by {length.given_by} now."
            )
    if "epoch_count" in given and opt.epoch_count > 1:
        networks = f"the networks of {pretrained}" if pretrained else "fresh networks"
        yield (
            f"--epoch_count {opt.epoch_count} without --continue_train: {networks} begin with that "
            f"epoch of {length.epochs}, at its learning rate."
        )
