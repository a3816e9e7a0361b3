"""train.py in float64, where rounding hides nothing."""

import runpy
import sys
from collections.abc import Iterator
from typing import Any

import torch

from data.pipeline.loader import BatchLoader
from tests.processes.worker import in_default_type
from tests.support.paths import ROOT
from util.base.errors import run_command

torch.set_default_dtype(torch.float64)
batches_of = BatchLoader.__iter__


def in_float64(self: BatchLoader) -> Iterator[dict[str, Any]]:
    """Yield batches of float64."""
    for batch in batches_of(self):
        yield in_default_type(batch)


BatchLoader.__iter__ = in_float64
if __name__ == "__main__":
    sys.exit(run_command(runpy.run_path(str(ROOT / "train.py"))["main"], several=True))
