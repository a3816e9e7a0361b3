"""Continue without guessing: the options of the run that `--continue_train` goes on with.

Only for runs that saved their whole state: folders of the original framework, which hold networks
alone, continue as they did there, with the options that are given.
"""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from options.parsing.parser import OptionParser
from options.parsing.trained_run import apply_options, read_saved_options, report_options
from util.storage import journal

# What says which run to continue, from where, or how to find it.
NOT_TAKEN_OVER = frozenset({
    "name", "checkpoints_dir", "suffix", "model", "dataset_mode", "continue_train", "epoch",
    "load_iter", "epoch_count", "pretrained", "isTrain", "verbose",
})  # fmt: skip


def peek_at_run(parser: OptionParser, argv: Sequence[str]) -> dict[str, Any]:
    """Return what the run to be continued says of the framework's own options, if it says it."""
    opt = parser.peek(argv)
    if not opt.continue_train or opt.suffix:  # its name is not known before all options are
        return {}
    folder = Path(opt.checkpoints_dir, opt.name)
    return read_saved_options(folder, parser)[1] if _has_state(opt, folder) else {}


def take_over(opt: Namespace, given: frozenset[str], parser: OptionParser) -> None:
    """Set the options that are not `given` to those of the continued run; print what changed."""
    folder = Path(opt.checkpoints_dir, opt.name)
    if not opt.continue_train or not _has_state(opt, folder):
        return
    source, saved = read_saved_options(folder, parser)
    changes = {
        name: value
        for name, value in saved.items()
        if name not in NOT_TAKEN_OVER and value != getattr(opt, name)
    }
    report_options(apply_options(opt, given, changes), source)


def _has_state(opt: Namespace, folder: Path) -> bool:
    label = f"iter_{opt.load_iter}" if opt.load_iter > 0 else opt.epoch
    return journal.exists(folder / f"{label}_state.pth")
