"""From a fresh clone to translated images: draw data, train, translate, show where to look.

    python scripts/demo.py

Runs the project's ordinary commands and prints each one, so that you can go on from there. Takes
a few minutes on two CPU cores. Exits with status 1 if the network has not learned anything.
"""

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.base.errors import run_command

ROOT = Path(__file__).resolve().parent.parent
RUN = ["--name", "demo", "--model", "pix2pix"]
NETWORK = ["--netG", "unet_128", "--ngf", "32", "--ndf", "32"]
SIZE = ["--load_size", "143", "--crop_size", "128"]
WANTED_GAIN = 0.40  # share by which training must lower the L1 distance


def run(script: str, *arguments: str) -> None:
    """Run one of the project's commands, and show it."""
    print(f"\n$ python {shlex.join([script, *arguments])}", flush=True)
    status = subprocess.run([sys.executable, script, *arguments], cwd=ROOT).returncode
    if status:
        sys.exit(status)  # the command has said why


def save_untrained_networks(arguments: list[str]) -> None:
    """Write networks as they are before training into the run, as epoch 0, to compare with."""
    import torch

    from models import create_model
    from options.train_options import TrainOptions

    torch.manual_seed(0)
    opt = TrainOptions().parse(arguments, quiet=True)
    model = create_model(opt)
    model.setup(opt)
    model.save_networks(0)


def mean_l1(images: Path) -> tuple[float, int]:
    """Return the mean distance in grey levels (0 to 255) of results from targets, and how many."""
    distances = []
    for real in sorted(images.glob("*_real_B.png")):
        fake = real.with_name(real.name.replace("_real_B", "_fake_B"))
        pixels = [np.asarray(Image.open(file), dtype=np.float64) for file in (real, fake)]
        distances.append(np.abs(pixels[0] - pixels[1]).mean())
    return float(np.mean(distances)), len(distances)


def main() -> None:
    """Run the demonstration.

    Raises:
        SystemExit: with status 1 if the network has learned too little.
    """
    parser = argparse.ArgumentParser(description="Draw data, train pix2pix on it, translate.")
    parser.add_argument("--epochs", type=int, default=6, help="epochs to train")
    epochs = parser.parse_args().epochs
    if epochs < 1:
        parser.error(f"--epochs {epochs} cannot work: it must be 1 or more.")
    began = time.time()

    run("datasets/make_demo_dataset.py", "--kind", "paired")
    data = ["--dataroot", "./datasets/demo/paired"]
    half = epochs // 2
    length = ["--n_epochs", str(epochs - half), "--n_epochs_decay", str(half)]
    often = ["--print_freq", "40", "--display_freq", "80", "--save_epoch_freq", str(epochs)]
    training = [
        *data,
        *RUN,
        *NETWORK,
        *SIZE,
        *length,
        *often,
        "--num_threads",
        "1",
        "--display_id",
        "-1",
    ]
    run("train.py", *training)
    save_untrained_networks(training)
    # Results are as large as the crops: --crop_size sets --load_size too.
    testing = [*data, *RUN, *NETWORK, "--crop_size", "128"]
    run("test.py", *testing, "--epoch", "0")
    run("test.py", *testing)

    results = ROOT / "results" / "demo"
    before, _ = mean_l1(results / "test_0" / "images")
    after, images = mean_l1(results / "test_latest" / "images")
    gain = 1 - after / before
    print(f"\nDone in {time.time() - began:.0f} seconds.")
    print(f"Mean L1 distance on {images} test images, in grey levels of 255:")
    print(f"  before training {before:6.1f}")
    print(f"  after training  {after:6.1f}   ({gain:.0%} lower)")
    print("Open these pages in a browser:")
    print(f"  {results / 'test_latest' / 'index.html'}")
    print(f"  {ROOT / 'checkpoints' / 'demo' / 'web' / 'index.html'}")
    if gain < WANTED_GAIN:
        print(f"Training should lower it by at least {WANTED_GAIN:.0%}.", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(run_command(main))
