"""What the system gives this process: cores, a device, a place among other processes."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def usable_cores() -> int:
    """Return how many cores this process may run on; in a container fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_main_process() -> bool:
    """Tell whether this process talks, shows and saves: of several that train together only one."""
    return True


def claim_device(gpu_ids: Sequence[int]) -> "torch.device":
    """Return the first of these GPUs, from now on torch's current one, or the CPU without any."""
    import torch  # here: worker processes and short commands ask for cores alone

    if not gpu_ids:
        return torch.device("cpu")
    torch.cuda.set_device(gpu_ids[0])
    return torch.device("cuda", gpu_ids[0])
