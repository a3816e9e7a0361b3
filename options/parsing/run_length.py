"""What a run is counted in, epochs or steps: what the command line gives decides."""

from argparse import Namespace
from collections.abc import Iterator

from util.base.log import say
from util.base.new_options import OURS, framework_option, new_option, set_new_option

OF_EPOCHS = ("n_epochs", "n_epochs_decay")
OF_STEPS = ("val_steps", "decay_steps")


def settle(opt: Namespace, given: frozenset[str]) -> Iterator[str]:
    """Count in epochs if their number is `given`, not that of the steps; yield contradictions.

    The steps then are those of the model's defaults, or of the run that is continued.
    """
    given -= getattr(opt, OURS, {}).keys()  # those are options of plugins
    if not (total := new_option(opt, "total_steps")):
        yield from _without_steps(opt, given)
        return
    epochs = next((f"--{name} {getattr(opt, name)}" for name in OF_EPOCHS if name in given), "")
    if epochs and "total_steps" not in given:
        set_new_option(opt, "total_steps", 0)
        say(f"{epochs} counts the run in epochs, in the place of --total_steps {total}.")
        yield from _without_steps(opt, given)
    elif epochs:
        yield (
            f"{epochs} and --total_steps {total} contradict each other: one counts the run in "
            "epochs, the other in steps. Leave one out."
        )
    elif "epoch_count" in given and (opt.epoch_count != 1 or opt.continue_train):
        yield (
            f"--epoch_count {opt.epoch_count} and --total_steps {total} contradict each other: a "
            "run that is counted in steps knows the step from which it goes on. Leave one out; "
            "--epoch says which save to go on from."
        )


def _without_steps(opt: Namespace, given: frozenset[str]) -> Iterator[str]:
    for name in OF_STEPS:
        if name in given:
            yield (
                f"--{name} {framework_option(opt, name)} needs --total_steps, which says how many "
                "steps the run has: without it a run is counted in epochs, each of them a pass "
                "over the data. Give --total_steps, or leave it out."
            )
