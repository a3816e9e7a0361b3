"""Several commands one after the other in each of several processes, which are started once.

    torchrun --nproc_per_node=2 tests/support/commands_in_turn.py COMMANDS.json

The file holds a list of commands: the script, its arguments, and the file on its standard input.
What each process ends each command with is written beside it.
"""

import json
import os
import runpy
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from torch import Tensor

import models
from tests.support.paths import ROOT
from tests.support.warm import OF_COMMANDS
from util.base.errors import run_command
from util.processes import group
from util.scores import scorer
from util.scores.networks import Identity


class Features:
    """In place of Inception: what tells also which images are in a batch together."""

    identity = Identity("features", "features.pth", "features", published=True)

    def sizes(self, generated: tuple[int, int]) -> list[tuple[int, int]]:
        """Take images as they are."""
        return []

    def __call__(self, batch: Tensor) -> Tensor:
        """Return (N, 6)."""
        pixels = batch.float().flatten(2) / 255
        found = torch.cat([pixels.mean(dim=2), pixels.std(dim=2)], dim=1)
        return found + found.mean(dim=0) / 7


class Distances:
    """In place of LPIPS, likewise."""

    identity = Identity("distances", "distances.pth", "distances", published=True)

    def check(self, images: Tensor) -> None:
        """Take all images."""

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """Return (N,)."""
        found = (a - b).abs().mean(dim=(1, 2, 3)).float()
        return found + found.mean() / 7

    def among(self, images: Tensor) -> Tensor:
        """Return (1,)."""
        pairs = list(combinations(images, 2))
        return self(*map(torch.stack, zip(*pairs, strict=True))).mean().view(1)


def run(script: str, argv: list[str], given: str) -> int:
    """Run a command as a process of its own would, and return its exit status."""
    sys.argv = [script, *argv]
    if os.environ.get("RANK", "0") != "0":
        given = ""  # there is one standard input, and the first process reads it
    status: Any
    with open(given or os.devnull) as sys.stdin:
        try:
            status = runpy.run_path(str(ROOT / script), run_name="command")
            status = run_command(status["main"], several=script in SEVERAL)
        except SystemExit as error:
            status = error.code or 0
    group.leave()  # after an error too, which ends a process otherwise
    return int(status)


SEVERAL = ("test.py", "scripts/translate.py", "scripts/evaluate.py")


def main(file: Path) -> None:
    """Run the commands of a file."""
    os.environ.update(OF_COMMANDS)
    torch.set_num_threads(1)
    setattr(scorer, "load_inception", lambda *_, **__: Features())  # noqa: B010
    setattr(scorer, "load_lpips", lambda *_, **__: Distances())  # noqa: B010
    models.__path__.append(str(file.parent / "models"))
    statuses = [run(*command) for command in json.loads(file.read_text())]
    rank = os.environ.get("RANK", "0")
    (file.parent / f"{file.stem}_{rank}.json").write_text(json.dumps(statuses))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
