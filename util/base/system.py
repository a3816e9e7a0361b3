"""What the system gives this process: cores, memory, a device, a place among other processes."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CONTROL_GROUP = Path("/sys/fs/cgroup")  # of a container, which sees its own here


def usable_cores() -> int:
    """Return how many cores this process may run on; in a container fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory() -> int | None:
    """Return how many bytes may still be taken before the system runs short; None if unknown."""
    with suppress(OSError, ValueError, KeyError):
        lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
        free = 1024 * int({words[0]: words[1] for words in lines}["MemAvailable:"])
        left_to_container = _left_to_container()
        return free if left_to_container is None else min(free, left_to_container)
    return None


def _left_to_container() -> int | None:
    """Return what the control group may still take; what files take of it can be taken back."""
    folder = CONTROL_GROUP
    with suppress(OSError, ValueError, KeyError):  # no group, or no limit: "max"
        limit = int((folder / "memory.max").read_text())
        taken = int((folder / "memory.current").read_text())
        lines = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        files = int({words[0]: words[1] for words in lines}["inactive_file"])
        return max(0, limit - taken + files)
    return None


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
