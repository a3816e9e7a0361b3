"""Commands in several processes, started by torchrun, or by `--processes`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.paths import ROOT

SECONDS = 300  # for a machine on which much else runs
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}


def torchrun(processes: int, *options: str) -> list[str]:
    """Return the beginning of a command line that starts so many processes on this machine."""
    count = f"--nproc_per_node={processes}"
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", count, *options]


class Launched:
    """A command that runs, with its processes; all it says goes to a file."""

    def __init__(self, command: Sequence[str], said: Path) -> None:
        self._said = said
        with said.open("wb") as stream:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **ENVIRONMENT},
                stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    @property
    def said(self) -> str:
        """All that was printed until now."""
        return self._said.read_text(errors="replace")

    def wait(self) -> int:
        """Return the exit status."""
        return self.process.wait(SECONDS)

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Return when something holds."""
        last = time.monotonic() + SECONDS
        while not condition():
            assert self.process.poll() is None, self.said[-4000:]
            assert time.monotonic() < last, self.said[-4000:]
            time.sleep(0.05)

    def pid_of(self, rank: int) -> int:
        """Return the process of a rank; of torchrun's own children, not of theirs."""
        for pid in _children(self.process.pid):
            if f"RANK={rank}".encode() in _environment(pid):
                return pid
        raise LookupError(f"no process {rank}: {self.said[-4000:]}")

    def has_rank(self, rank: int) -> bool:
        """Tell whether the process of a rank is one of this command's."""
        wanted = f"RANK={rank}".encode()
        return any(wanted in _environment(pid) for pid in _children(self.process.pid))

    def end(self) -> None:
        """Kill whatever runs still; a number that has been waited for may be somebody else's."""
        if self.process.poll() is not None:
            return
        for pid in [*_descendants(self.process.pid), self.process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def launched(command: Sequence[str], folder: Path, name: str = "said") -> Iterator[Launched]:
    """Start a command; nothing of it outlives the block."""
    running = Launched(command, folder / f"{name}.txt")
    try:
        yield running
    finally:
        running.end()


def run(command: Sequence[str], folder: Path, name: str = "said") -> tuple[int, str]:
    """Run a command to its end; return its exit status and all that it has said."""
    with launched(command, folder, name) as running:
        return running.wait(), running.said


def _children(parent: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        with suppress(OSError):  # that thread has ended meanwhile
            found += [int(pid) for pid in task.read_text().split()]
    return found


def _descendants(parent: int) -> list[int]:
    children = _children(parent)
    return [each for child in children for each in _descendants(child)] + children


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
