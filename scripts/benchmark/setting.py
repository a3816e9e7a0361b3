"""What all groups of measurements share: the two sides, data, options, and what is said."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.cases import MODES
from benchmark.images import write_dataset
from benchmark.series import Measured, Series, interleave, of_times
from benchmark.side import Side, UnknownOptionError
from benchmark.table import Goal, Row

NO_REFERENCE = "there is no --reference"


@dataclass
class Setting:
    """The sides of a benchmark, and how it is to be made.

    Attributes:
        ours: this checkout.
        reference: what it is compared with, if anything.
        folder: for data, checkpoints and logs; removed at the end.
        models: cycle_gan, pix2pix, or both.
        size: sides of the images.
        reps: repetitions, after one to warm up.
        threads: of torch.
        files: how many files are listed.
        quick: everything small; only to see that it works.
    """

    ours: Path
    reference: Path | None
    folder: Path
    models: Sequence[str]
    size: int
    reps: int
    threads: int
    files: int
    quick: bool = False
    _made: dict[Any, Path] = field(default_factory=dict)

    def tell(self, text: str) -> None:
        """Say how far it is, on standard error."""
        print(f"bench: {text}", file=sys.stderr, flush=True)

    @contextmanager
    def side(self, name: str, threads: int | None = None) -> Iterator[Side]:
        """Start the process of a side: ours or reference."""
        checkout = self.ours if name == "ours" else self.reference
        assert checkout is not None
        with Side(checkout, self.folder / f"{name}.log", threads or self.threads) as side:
            yield side

    @contextmanager
    def sides(self, threads: int | None = None) -> Iterator[dict[str, Side]]:
        """Start a process for each side there is, ours first."""
        with ExitStack() as stack:
            names = ["ours"] if self.reference is None else ["ours", "reference"]
            yield {name: stack.enter_context(self.side(name, threads)) for name in names}

    def options(
        self, run: str, *more: str, data: Path | None = None, size: int | None = None
    ) -> list[str]:
        """Return options for train.py that start nothing: on the CPU, without visdom.

        Args:
            run: name of the run.
            more: other options.
            data: the data set, by default none.
            size: sides of the images.
        """
        side = str(size or self.size)
        return [
            "--dataroot", str(data or self.folder), "--name", run,
            "--checkpoints_dir", str(self.folder / "checkpoints"), "--gpu_ids", "-1",
            "--display_id", "0", "--load_size", side, "--crop_size", side, *more,
        ]  # fmt: skip

    def dataset(self, count: int, side: int) -> Path:
        """Return a data set of that many images, drawn when it is first asked for."""
        if (count, side) not in self._made:
            root = self.folder / f"data_{count}_{side}"
            self._made[count, side] = write_dataset(root, count, side)
        return self._made[count, side]

    def measure(
        self, tasks: Mapping[str, Callable[[], Measured]], clock: str = "cpu"
    ) -> dict[str, Series]:
        """Measure the sides in turns and return what each needed."""
        found = interleave(list(tasks.values()), self.reps)
        return {name: of_times(times, clock) for name, times in zip(tasks, found, strict=True)}


def row(group: str, case: str, goal: Goal | None, found: dict[str, Series]) -> Row:
    """Make a row of what the sides needed."""
    notes = [] if "reference" in found or (goal and goal.kind == "limit") else [NO_REFERENCE]
    return Row(group, case, goal, found.get("reference"), found.get("ours"), notes)


def missing(group: str, case: str, goal: Goal | None, error: UnknownOptionError) -> Row:
    """Make the row of a mode that ours does not have."""
    return Row(group, case, goal, missing=str(error))


def mode_options(side: str, mode: str) -> list[str]:
    """Return what a mode adds to the options of a side."""
    return MODES[mode] if side == "ours" else []
