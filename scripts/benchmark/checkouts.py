"""One side of the comparison: a process inside a checkout that does what it is asked."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

WORKER = Path(__file__).parent / "worker" / "worker.py"
LAUNCHER = Path(__file__).parent / "worker" / "launcher.py"


class BenchError(Exception):
    """A measurement could not be made."""


class UnknownOptionError(BenchError):
    """The checkout has no such option: this mode cannot be measured there."""


class Checkout:
    """A warm process; every request waits for its answer, so only one side works at a time.

    Args:
        folder: with train.py; both working folder and first place for imports.
        log: file for everything that the checkout prints.
        threads: of torch.
        more: other variables of its environment.
    """

    def __init__(
        self, folder: Path, log: Path, threads: int, more: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        answers, theirs = os.pipe()
        with open(log, "ab") as sink:
            self._process = subprocess.Popen(
                [sys.executable, str(WORKER), str(folder), str(theirs)],
                cwd=folder,
                env=environment(threads) | dict(more or {}),
                stdin=subprocess.PIPE,
                stdout=sink,
                stderr=sink,
                pass_fds=[theirs],
                text=True,
            )
        os.close(theirs)
        self._answers = open(answers, encoding="utf-8")  # noqa: SIM115 - closed by close()

    def ask(self, task: str, /, **arguments: Any) -> dict[str, Any]:
        """Have `module.function` of `benchmark.worker` called, and return what it returns.

        Raises:
            UnknownOptionError: the checkout does not know an option.
            BenchError: the task failed.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"task": task, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
            line = self._answers.readline()
        except BrokenPipeError:
            line = ""
        answer: dict[str, Any] = (
            json.loads(line) if line else {"error": f"the process ended; {self.log} says why"}
        )
        if "refused" in answer:
            raise UnknownOptionError(answer["refused"])
        if "error" in answer:
            raise BenchError(f"{task}: {answer['error']}")
        return dict(answer["result"])

    def task(self, name: str, /, **arguments: Any) -> Callable[[], dict[str, Any]]:
        """Return a function that asks for this task."""
        return lambda: self.ask(name, **arguments)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()


def launch(
    checkout: Path, log: Path, threads: int, watch: str, script: str, argv: list[str]
) -> dict[str, Any]:
    """Run a command of a checkout under the eyes of `worker/launcher.py`, and return its report.

    Raises:
        UnknownOptionError: the checkout does not know an option.
        BenchError: the command failed.
    """
    report = log.with_suffix(".json")
    report.unlink(missing_ok=True)
    command = [sys.executable, str(LAUNCHER), watch, str(report), script, *argv]
    done = subprocess.run(
        command, cwd=checkout, env=environment(threads), capture_output=True, text=True
    )
    with open(log, "a", encoding="utf-8") as file:
        file.write(done.stdout + done.stderr)
    last = done.stderr.strip().splitlines()[-1:] or ["no message"]
    if done.returncode == 2 and "unrecognized" in last[0]:
        raise UnknownOptionError(last[0].partition("error: ")[2])
    if done.returncode != 0 or not report.exists():
        raise BenchError(f"{script} ended with status {done.returncode}: {last[0]}")
    return dict(json.loads(report.read_text(encoding="utf-8")))


def environment(threads: int) -> dict[str, str]:
    """Return the environment of measured processes: as many threads as asked, no surprises."""
    return os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "PYTHONDONTWRITEBYTECODE": "",  # or every start would compile everything
        "PYTHONWARNINGS": "ignore",
        "NO_PROXY": "*",  # what the visdom client sends stays on this machine
        "no_proxy": "*",
    }
