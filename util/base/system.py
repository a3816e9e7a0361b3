"""What the system gives this process: processor cores, and a place among others."""

import os


def usable_cores() -> int:
    """Return how many cores this process may run on; in a container fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_main_process() -> bool:
    """Tell whether this process talks, shows and saves: of several that train together only one."""
    return True
