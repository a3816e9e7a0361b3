"""Train and test every built-in model for a moment, before a change is shared.

    python scripts/test_before_push.py

The commands that the original's script of this name runs, on drawn images and with networks that
nobody has trained, so that nothing is downloaded. Every command is printed. Exit status: 0, or that
of the first command that failed. (`scripts/ci.sh` runs all checks.)
"""

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.base.stop_signals import end_in_order

ROOT = Path(__file__).resolve().parent.parent
DATA = "datasets/demo_before_push"
UNPAIRED = ["--dataroot", f"./{DATA}/unpaired"]
PAIRED = ["--dataroot", f"./{DATA}/paired"]
SMALL = ["--load_size", "143", "--crop_size", "128"]  # unet_256 needs 256
TRAINING = ["--save_latest_freq", "10", "--print_freq", "1", "--display_id", "-1"]
ONCE = ["--n_epochs", "1", "--n_epochs_decay", "0"]
PREFIX = "before_push"  # of the names of all runs


def run(script: str, *arguments: str) -> None:
    """Run one of the project's commands, and show it."""
    print(f"\n$ python {shlex.join([script, *arguments])}", flush=True)
    status = subprocess.run([sys.executable, script, *arguments], cwd=ROOT).returncode
    if status:
        sys.exit(status)  # the command has said why


def save_untrained(name: str, netG: str, norm: str, *, dropout: bool) -> None:
    """Write a generator in place of one that was published."""
    import torch

    from models.networks import define_G
    from util.storage.checkpoint import FileSet
    from util.storage.run_folder import RunFolder

    torch.manual_seed(0)
    folder = RunFolder(ROOT / "checkpoints", name)
    folder.path.mkdir(parents=True, exist_ok=True)
    network = define_G(3, 3, 64, netG, norm, dropout)
    with FileSet() as files:
        files.add(folder.network_file("latest", "G"), network.state_dict())


def name(model: str) -> list[str]:
    """Return the option that names the run of a model."""
    return ["--name", f"{PREFIX}_{model}"]


def test_published_generators() -> None:
    """One direction of CycleGAN on a single image, and pix2pix from B to A."""
    save_untrained(f"{PREFIX}_horse2zebra_pretrained", "resnet_9blocks", "instance", dropout=False)
    run("test.py", "--dataroot", f"{DATA}/unpaired/testA", *name("horse2zebra_pretrained"),
        "--model", "test", "--no_dropout", "--num_test", "1")  # fmt: skip
    save_untrained(f"{PREFIX}_facades_pretrained", "unet_256", "batch", dropout=True)
    run("test.py", *PAIRED, *name("facades_pretrained"), "--model", "pix2pix",
        "--direction", "BtoA", "--num_test", "1")  # fmt: skip


def train_and_test_cycle_gan() -> None:
    """Both directions in training, one in the test."""
    run("train.py", *UNPAIRED, *name("cyclegan"), "--model", "cycle_gan", *TRAINING, *ONCE, *SMALL)
    run("test.py", "--dataroot", f"{DATA}/unpaired/testA", *name("cyclegan"), "--model", "test",
        "--model_suffix", "_A", "--no_dropout", "--num_test", "1", *SMALL)  # fmt: skip


def train_and_test_pix2pix() -> None:
    """Six epochs, of which five with a falling rate."""
    run("train.py", *PAIRED, *name("pix2pix"), "--model", "pix2pix", "--n_epochs", "1",
        "--n_epochs_decay", "5", *TRAINING)  # fmt: skip
    run("test.py", *PAIRED, *name("pix2pix"), "--model", "pix2pix", "--num_test", "1")


def train_and_test(model: str, data: list[str]) -> None:
    """One epoch of any other model."""
    run("train.py", *data, *name(model), "--model", model, *ONCE, *TRAINING)
    run("test.py", *data, *name(model), "--model", model, "--num_test", "1")


def main() -> int:
    """Run everything and return the exit status."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    for folder in ROOT.glob(f"checkpoints/{PREFIX}_*"):
        shutil.rmtree(folder)  # of an earlier time
    run("datasets/make_demo_dataset.py", "--output", DATA, "--kind", "all", "--train", "2",
        "--val", "0", "--test", "1")  # fmt: skip
    test_published_generators()
    train_and_test_cycle_gan()
    train_and_test_pix2pix()
    train_and_test("template", PAIRED)
    train_and_test("colorization", PAIRED)  # images in colour: whole pairs will do
    print("\nAll of it ran.")
    return 0


if __name__ == "__main__":
    with end_in_order():
        sys.exit(main())
