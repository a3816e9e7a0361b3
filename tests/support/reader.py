"""Somebody who follows a document in a copy of the checkout, command by command."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.paths import copy_checkout

Done = subprocess.CompletedProcess[str]

# What `python` is to a reader: this one, in an environment that uv has made already.
PYTHON = r"""#!/bin/sh
case "$*" in
"-m pip install uv") exit ;;
"-m uv run "*) shift 3 ;;
{cases}
esac
exec {python} "$@"
"""
FIRST = """{pattern}) script=$1; shift; set -- "$script" {options} "$@" ;;"""
TORCHRUN = r"""#!/bin/sh
for word; do
    case "$word" in *.py) break ;; esac
    options="$options $word"
    shift
done
exec {python} -m torch.distributed.run $options --no-python python "$@"
"""
SRUN = '#!/bin/sh\nexec "$@"\n'  # Slurm's, without a cluster
SECONDS = 600  # for one command


class Reader:
    """A reader who has nothing yet but a fresh clone, `checkout`, and no GPU.

    `first` holds options by patterns of the shell: where one fits the words after `python`, its
    options come directly after the script, before those that the command has, which win.
    """

    def __init__(self, folder: Path, first: Mapping[str, str] | None = None) -> None:
        self.checkout = folder / "checkout"
        copy_checkout(self.checkout)
        programs = folder / "programs"
        programs.mkdir()
        cases = "\n".join(
            FIRST.format(pattern=pattern.replace(" ", "\\ "), options=options)
            for pattern, options in (first or {}).items()
        )
        python = PYTHON.format(cases=cases, python=shlex.quote(sys.executable))
        torchrun = TORCHRUN.format(python=shlex.quote(sys.executable))
        own = {"python": python, "python3": python, "torchrun": torchrun, "srun": SRUN}
        for name, text in own.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        self.home = folder / "home"
        self.home.mkdir()
        kept = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
        kept.pop("PYTHON", None)
        self._environment = {
            **kept,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.home),
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
        }

    def run(self, command: str) -> Done:
        """Run a command of bash as it is printed; one that is a whole script (`#!`), as such."""
        flags = [] if command.startswith("#!") else ["-e", "-o", "pipefail"]
        return self._run(["bash", *flags, "-c", command])

    def write(self, file: str, text: str) -> None:
        """Write a file that a document shows."""
        (self.checkout / file).write_text(text, encoding="utf-8")

    def patch(self, diff: str) -> Done:
        """Make the changes that a document shows."""
        return self._run(["git", "apply", "--verbose", "-"], diff)

    def _run(self, words: list[str], given: str | None = None) -> Done:
        return subprocess.run(
            words, cwd=self.checkout, env=self._environment, input=given, capture_output=True,
            text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
