r"""Measure how long a training step of any model takes on this machine, and how much memory.

    python scripts/measure_steps.py --dataroot ./datasets/maps --model cycle_gan
    python scripts/measure_steps.py --dataroot ./datasets/photos --model colorization \
        --crop_sizes 64,128 --ways "plain, precision bf16, compile" -- --batch_size 2

What stands behind -- is for train.py. Each size and way runs in a process of its own, from the same
weights and images: the time is the median of the steps after the first, the memory the most that
the process (on a GPU, the device) took, and the difference how far the losses of the first step
are from those of the first way. Nothing is saved. Exit status: 0 measured; 1 not, and why; 2 the
command was wrong.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.base.stop_signals import end_at_ctrl_c

if __name__ == "__main__":
    end_at_ctrl_c()  # importing all this takes a while

import torch

from data import create_dataset
from models import create_model
from models.storage.trained_model import TrainedModel
from options.train_options import TrainOptions
from util.base import rng
from util.base.commands import parser_of
from util.base.errors import run_command
from util.base.log import say
from util.training.run import most_memory

SEED = 1


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what the command line (or `argv`) says, and print a table."""
    args = parse(argv)
    if args.one is not None:
        args.one.write_text(json.dumps(measure(args.options, args.steps)))
        return
    say(f"| pixels | {'way':<28} | s / step | GB | difference |\n|---|---|---|---|---|")
    for size in args.crop_sizes:
        first: list[float] = []
        for way in map(str.strip, args.ways.split(",")):
            found = measured(args, size, way)
            first = first or found["losses"]
            pairs = zip(found["losses"], first, strict=True)
            apart = max(abs(loss - other) / max(abs(other), 0.01) for loss, other in pairs)
            seconds, memory = found["seconds"], found["memory"]
            say(f"| {size} | {way:<28} | {seconds:.3g} | {memory:.2f} | {apart:.1e} |")


def measured(args: argparse.Namespace, size: int, way: str) -> dict[str, Any]:
    """Measure in a process of its own.

    Raises:
        SystemExit: it failed, and has said why.
    """
    sizes = ["--crop_size", str(size), "--load_size", str(size)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "found.json")
        command = [sys.executable, __file__, "--one", str(file), "--steps", str(args.steps), "--"]
        given = ["--dataroot", args.dataroot, "--model", args.model, *args.options]
        command += [*given, *sizes, *options_of(way), "--checkpoints_dir", folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        if done.returncode != 0 or not file.is_file():
            raise SystemExit(done.returncode or 1)
        found: dict[str, Any] = json.loads(file.read_text())
    return found


def options_of(way: str) -> list[str]:
    """Return the options that a way stands for.

    >>> options_of("precision bf16"), options_of("plain")
    (['--precision', 'bf16'], [])
    """
    return [] if way == "plain" else f"--{way}".split()


def measure(options: Sequence[str], steps: int) -> dict[str, Any]:
    """Take steps as train.py does; return seconds, memory in GB and the first step's losses."""
    opt = TrainOptions().parse(list(options), quiet=True)
    rng.seed_all(SEED)
    dataset = create_dataset(opt)
    model = create_model(opt)
    model.setup(opt)
    trained, seconds = TrainedModel(model), []
    losses: dict[str, float] = {}
    for batch in first_batches(dataset, steps):
        began = time.perf_counter()
        trained.begin_batch()
        model.set_input(batch)
        model.optimize_parameters()
        losses = losses or dict(model.get_current_losses())
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)
        seconds.append(time.perf_counter() - began)
    return {
        "seconds": median(seconds[1:] or seconds),
        "memory": most_memory() * 2**20 / 1e9,
        "losses": list(losses.values()),
    }


def first_batches(dataset: Any, count: int) -> Iterator[Any]:
    """Yield so many batches, from the beginning again if there are fewer."""
    while True:
        for batch in dataset:
            yield batch
            count -= 1
            if count == 0:
                return


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("--dataroot", metavar="DIR", help="images, as for train.py")
    add("--model", default="cycle_gan", help="as for train.py (cycle_gan)")
    add("--crop_sizes", default="256", metavar="LIST", help="sides of images, as in 64,128 (256)")
    add("--ways", default="plain", metavar="LIST", help="options without their dashes, as in "
        "'plain, precision bf16, compile' (plain)")  # fmt: skip
    add("--steps", type=int, default=3, metavar="N", help="to take each time (3)")
    add("--one", type=Path, help=argparse.SUPPRESS)  # where to write what one process found
    add("options", nargs="*", help="behind --: more options of train.py")
    args = parser.parse_args(argv)
    if args.one is None and args.dataroot is None:
        parser.error("--dataroot is missing: the folder of the images to train on.")
    try:
        args.crop_sizes = [int(size) for size in args.crop_sizes.split(",")]
    except ValueError:
        parser.error(
            f"--crop_sizes {args.crop_sizes} is no list of numbers. Give for example 64,128."
        )
    if args.steps < 1:
        parser.error(f"--steps {args.steps} takes no step. Give 1 or more.")
    return args


if __name__ == "__main__":
    sys.exit(run_command(main))
