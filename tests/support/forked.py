"""Commands in processes that are forked: as separate as new ones, without the seconds to load."""

import os
import resource
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

from util.base.errors import run_command

MEMORY = 16 * 2**30  # bytes of addresses that a command may take
REPORTED = ("not computed: ", "\nProblems: ", " left out\n")  # by scripts that go on without
IN_ORDER = 128 + signal.SIGTERM
GRACE = 20.0  # seconds to end in order


Main = Callable[[Sequence[str]], int | None]  # of a script: a status, or nothing


class Ended(NamedTuple):
    """How a command ended; `status` is IN_ORDER if it had to be asked to."""

    status: int
    said: str  # on standard output and error

    def fault(self) -> str:
        """Say in what way a command must not end, if it did."""
        if self.status not in (0, 1, 2):
            return f"status {self.status}"
        for sign in ("Traceback (most recent", "Exception ignored", "Warning: ", "Fatal Python"):
            if sign in self.said:
                return sign
        errors = self.said.count("error: ")
        in_report = any(word in self.said for word in REPORTED)
        return f"{errors} messages" if self.status and errors != 1 and not in_report else ""


def run_forked(main: Main, argv: Sequence[str], *, script: str,
               seconds: float = 20) -> Ended:  # fmt: skip
    """Run a command's `main`; ask it to end after so many seconds."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        _become(writing)
        os._exit(_status_of(main, [*argv], script))
    os.close(writing)
    said = _listen(reading, process, seconds)
    return Ended(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), said)


def _become(output: int) -> None:
    """Be a process of its own, that has nothing of pytest's."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = open(number, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
    warnings.resetwarnings()
    warnings.simplefilter("default")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _status_of(main: Main, argv: list[str], script: str) -> int:
    sys.argv = [script, *argv]
    status: object = 1
    try:
        status = run_command(lambda: sys.exit(main(argv)))
    except SystemExit as error:
        status = error.code or 0
    except BaseException:  # noqa: BLE001 - what pytest would show
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return status if isinstance(status, int) else 1


def _listen(reading: int, process: int, seconds: float) -> str:
    """Return what is said until the end; ask for that after so many seconds, then enforce it."""
    said, deadline, signals = b"", time.monotonic() + seconds, [signal.SIGKILL, signal.SIGTERM]
    while True:
        left = deadline - time.monotonic()
        if select.select([reading], [], [], max(0.0, left))[0]:
            if not (chunk := os.read(reading, 1 << 16)):
                break
            said += chunk
        elif signals:
            os.kill(process, signals.pop())
            deadline += GRACE
        else:
            break
    os.close(reading)
    return said.decode("utf-8", "replace")
