"""Processes that begin with torch loaded are processes of their own."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.warm import OF_COMMANDS, WarmProcess, popen, run

SAYS = """
import os, sys, time
print(sys.argv[1:], os.getcwd(), __name__, os.getppid(), os.environ.get("MINE"), sys.path[0])
print(input(), file=sys.stderr)
sys.stdout.flush()
while "wait" in sys.argv:
    time.sleep(0.01)
sys.exit(3)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="of Linux alone")


@pytest.fixture
def command(tmp_path: Path) -> dict[str, Any]:
    """Return a script's command, and what it is started with."""
    script = tmp_path / "says.py"
    script.write_text(SAYS)
    environment = {**os.environ, **OF_COMMANDS, "MINE": "1"}
    arguments = [sys.executable, script, "one"]
    return {"command": arguments, "cwd": tmp_path, "env": environment, "stdin": subprocess.PIPE}


@pytest.mark.parametrize("kind", ["script", "program"])
def test_it_runs_as_it_does_in_any_process(kind: str, command: dict[str, Any]) -> None:
    arguments, options = command.pop("command"), {**command, "stdout": subprocess.PIPE}
    if kind == "program":
        arguments[1:2] = ["-c", SAYS]
    options |= {"stderr": subprocess.PIPE, "text": True}
    warm, ordinary = popen(arguments, **options), subprocess.Popen(arguments, **options)
    assert isinstance(warm, WarmProcess)
    said = warm.communicate("hello\n")
    assert said == ordinary.communicate("hello\n")
    assert warm.returncode == ordinary.returncode == 3
    assert said[0].split()[2:4] == ["__main__", str(os.getpid())]


def test_one_that_is_killed_is_gone(command: dict[str, Any]) -> None:
    command["command"].append("wait")
    process = popen(**command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                    start_new_session=True)  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline()
    assert os.getpgid(process.pid) == process.pid
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_what_python_reads_when_it_starts_gets_a_process_that_starts(
    command: dict[str, Any],
) -> None:
    command["env"]["PYTHONPATH"] = "/nowhere"
    process = popen(**command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert not isinstance(process, WarmProcess)
    process.communicate(b"\n")
    assert process.returncode == 3


def test_random_numbers_of_two_processes_differ(tmp_path: Path) -> None:
    script = tmp_path / "draws.py"
    script.write_text("import torch, random, numpy\n"
                      "print(torch.rand(1), random.random(), numpy.random.rand())\n")  # fmt: skip
    environment = {**os.environ, **OF_COMMANDS}
    said = {run([sys.executable, script], env=environment).stdout for _ in range(2)}
    assert len(said) == 2
