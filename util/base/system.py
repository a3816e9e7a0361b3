"""What the system gives this process: cores, memory, a device, a place among other processes."""

import errno
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CONTROL_GROUP = Path("/sys/fs/cgroup")  # of a container, which sees its own here
# What torch, and the libraries it computes with, say when there is no memory left.
NO_MEMORY = (
    "can't allocate memory",
    "std::bad_alloc",
    "out of memory",
    "ALLOC_FAILED",
    "Storage size calculation overflowed",  # more than any memory
)

OF_TORCHRUN = {  # variables that tell a process its place
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT"),
    *(f"{kind}WORLD_SIZE" for kind in ("", "LOCAL_", "GROUP_", "ROLE_")),
}


def usable_cores() -> int:
    """Return how many cores this process may run on; in a container fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory() -> int | None:
    """Return how many bytes may still be taken before the system runs short; None if unknown."""
    try:
        free = 1024 * _number_after("MemAvailable:", Path("/proc/meminfo"))
    except (OSError, LookupError, ValueError):
        return None
    with suppress(OSError, LookupError, ValueError):  # no group, or no limit: "max"
        limit = int((CONTROL_GROUP / "memory.max").read_text())
        taken = int((CONTROL_GROUP / "memory.current").read_text())
        files = _number_after("inactive_file", CONTROL_GROUP / "memory.stat")  # can be taken back
        free = min(free, max(0, limit - taken + files))
    return free


def _number_after(word: str, file: Path) -> int:
    words = file.read_text().split()
    return int(words[words.index(word) + 1])


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether the system, or a device, had no memory left for what was asked."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    torch = sys.modules.get("torch")  # what has not been imported raises nothing
    if isinstance(error, (MemoryError, *([torch.OutOfMemoryError] if torch else []))):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in NO_MEMORY)


def processes_started(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many processes torchrun, or what is like it, has started this one among."""
    if "RANK" not in environment:
        return 1
    count = environment.get("WORLD_SIZE", "1")
    return int(count) if count.isdigit() else 1


def is_main_process(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether this process talks, shows and saves: of several that train together only one."""
    return processes_started(environment) == 1 or environment["RANK"] == "0"


def processes_here(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Return the number of this process among those of its machine, and how many these are."""
    if processes_started(environment) == 1:
        return 0, 1
    return int(environment.get("LOCAL_RANK", 0)), int(environment.get("LOCAL_WORLD_SIZE", 1))


def is_launched(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether torchrun has started this process, alone or among others."""
    return processes_started(environment) > 1 or "TORCHELASTIC_RUN_ID" in environment


def environment_of_one() -> dict[str, str]:
    """Return the environment for a command that is none of the processes of this one."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in OF_TORCHRUN and not name.startswith("TORCHELASTIC_")
    }


def device_of(gpu_ids: Sequence[int]) -> "torch.device":
    """Return the first of these GPUs, or the CPU without any."""
    import torch  # here: worker processes and short commands ask for cores alone

    return torch.device("cuda", gpu_ids[0]) if gpu_ids else torch.device("cpu")


def claim_device(gpu_ids: Sequence[int]) -> "torch.device":
    """Return the first of these GPUs, from now on torch's current one, or the CPU without any."""
    import torch

    if gpu_ids:
        torch.cuda.set_device(gpu_ids[0])
    return device_of(gpu_ids)
