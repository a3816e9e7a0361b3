"""How many processor cores there are for this process."""

import os


def usable_cores() -> int:
    """Return how many cores this process may run on; in a container fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
