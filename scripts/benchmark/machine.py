"""What the numbers were measured on."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # of the processor, that decide speed


def describe(checkouts: dict[str, Path]) -> dict[str, Any]:
    """Return processor, its flags, cores, and which commits are compared."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _field("model name") or platform.processor(),
        "flags": [flag for flag in FLAGS if has_flag(flag)],
        "cores": os.cpu_count(),
        "commits": {name: commit(path) for name, path in checkouts.items()},
    }


def has_flag(flag: str) -> bool:
    """Tell whether the processor can do something."""
    return flag in _field("flags").split()


def memory_folder() -> str | None:
    """Return where files lie in memory, if there is such a place: disks are not measured."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def load() -> float:
    """Return how many processes wanted to run during the last minute."""
    return round(os.getloadavg()[0], 2)


def commit(checkout: Path) -> str:
    """Return a checkout's commit, with + if files have been changed; "" if it has none."""
    head = _git(checkout, "rev-parse", "--short", "HEAD")
    changed = _git(checkout, "status", "--porcelain", "--untracked-files=no")
    return f"{head}+" if head and changed else head


def _git(checkout: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(checkout), *arguments], capture_output=True, text=True
        )
    except OSError:  # no git
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _field(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return ""
    found = [line.partition(":")[2] for line in lines if line.startswith(name)]
    return found[0].strip() if found else ""
