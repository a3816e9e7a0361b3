"""train.py, in which process 1 fails once, in a step of this number: failing.py STEP OPTIONS.

Step 0: before it has joined the others.
"""

import os
import runpy
import sys
from itertools import count

from models.cycle_gan_model import CycleGANModel
from tests.support.paths import ROOT
from util.base.errors import run_command
from util.processes import group

STEP = int(sys.argv.pop(1))
IS_FIRST = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
steps = count(1)
step = CycleGANModel.optimize_parameters


def fail_once(self: CycleGANModel) -> None:
    """Take a step, unless it is the one."""
    if next(steps) == STEP and group.rank() == 1 and IS_FIRST:
        raise RuntimeError("a failure that nobody expects")
    step(self)


CycleGANModel.optimize_parameters = fail_once
if STEP == 0 and os.environ["RANK"] == "1" and IS_FIRST:
    sys.exit(3)
if __name__ == "__main__":
    sys.exit(run_command(runpy.run_path(str(ROOT / "train.py"))["main"], several=True))
