"""What all groups of measurements share: the two sides, data, options, and what is said."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmark.cases import MODES
from benchmark.checkouts import Checkout, UnknownOptionError
from benchmark.results import Goal, Measured, Row, Series, interleave, of_times

FALL = 1.3  # amplitude falls with frequency to this power: PNGs and JPEGs get a photo's size


def photo(side: int, seed: int, *, wide: int = 1) -> NDArray[np.uint8]:
    """Return an image (side, wide * side, 3)."""
    random = np.random.default_rng(seed)
    shape = (side, wide * side)
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    frequency[0, 0] = 1.0
    channels = []
    for _ in range(3):
        waves = np.fft.rfft2(random.standard_normal(shape)) / frequency**FALL
        noise = np.fft.irfft2(waves, shape)
        channels.append(128 + 45 * (noise - noise.mean()) / noise.std())
    grey, *colours = channels
    mixed = np.stack([grey, 0.8 * grey + 0.2 * colours[0], 0.8 * grey + 0.2 * colours[1]], axis=2)
    return np.asarray(mixed.clip(0, 255), dtype=np.uint8)


def write_photos(folder: Path, count: int, side: int, *, wide: int = 1) -> None:
    """Write JPEG images of quality 90."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image = Image.fromarray(photo(side, number, wide=wide))
        image.save(folder / f"{number:04}.jpg", quality=90)


def write_dataset(root: Path, count: int, side: int) -> Path:
    """Write what cycle_gan (trainA, trainB) and pix2pix (train) train on, and return `root`."""
    for name in ("trainA", "trainB"):
        write_photos(root / name, count, side)
    write_photos(root / "train", count, side, wide=2)
    return root


NO_REFERENCE = "there is no --reference"


@dataclass
class Context:
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
    def checkout(self, name: str, threads: int | None = None) -> Iterator[Checkout]:
        """Start the process of a checkout: ours or reference."""
        folder = self.ours if name == "ours" else self.reference
        assert folder is not None
        with Checkout(folder, self.folder / f"{name}.log", threads or self.threads) as checkout:
            yield checkout

    @contextmanager
    def checkouts(self, threads: int | None = None) -> Iterator[dict[str, Checkout]]:
        """Start a process for each checkout there is, ours first."""
        with ExitStack() as stack:
            names = ["ours"] if self.reference is None else ["ours", "reference"]
            yield {name: stack.enter_context(self.checkout(name, threads)) for name in names}

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


def mode_options(name: str, mode: str) -> list[str]:
    """Return what a mode adds to the options of a checkout."""
    return MODES[mode] if name == "ours" else []
