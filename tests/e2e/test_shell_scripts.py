"""The original's scripts of one command each, and its check before a push."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import ROOT
from tests.support.paths import tracked_files
from tests.support.tiers import LONG

MAPS = "--dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan"
FACADES = "--dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --netG unet_256"
COLOURS = "--dataroot ./datasets/colorization --name color_pix2pix --model colorization"
COMMANDS = {
    "train_cyclegan": f"train.py {MAPS} --pool_size 50 --no_dropout",
    "train_pix2pix": f"train.py {FACADES} --direction BtoA --lambda_L1 100 "
    "--dataset_mode aligned --norm batch --pool_size 0",
    "train_colorization": f"train.py {COLOURS}",
    "test_cyclegan": f"test.py {MAPS} --phase test --no_dropout",
    "test_pix2pix": f"test.py {FACADES} --direction BtoA --dataset_mode aligned --norm batch",
    "test_single": "test.py --dataroot ./datasets/facades/testB/ --name facades_pix2pix "
    "--model test --netG unet_256 --direction BtoA --dataset_mode single --norm batch",
    "test_colorization": f"test.py {COLOURS}",
    "install_deps": "-m pip install -r requirements.txt",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_scripts_run_the_originals_commands_from_anywhere(name: str, tmp_path: Path) -> None:
    """`PYTHON` says which python they take; here it is a command that shows what it is given."""
    done = subprocess.run(
        ["bash", ROOT / "scripts" / f"{name}.sh", "--more", "two words"],
        cwd=tmp_path, env={**os.environ, "PYTHON": "echo"}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.strip() == f"{COMMANDS[name]} --more two words"
    assert "'two words'" in done.stderr  # set -x shows that it is still one


@pytest.mark.parametrize("name", [name for name in tracked_files() if name.endswith(".sh")])
def test_scripts_are_sound(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)
    subprocess.run(["bash", "-n", ROOT / name], check=True)


@pytest.mark.slow
@pytest.mark.skipif(not LONG, reason="takes over a minute; RELIABILITY=long tries it")
def test_the_check_before_a_push_passes() -> None:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "test_before_push.py"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    commands = [line for line in done.stdout.splitlines() if line.startswith("$ python ")]
    assert len(commands) == 1 + 2 + 2 + 2 + 2 + 2
    assert done.stdout.endswith("All of it ran.\n")
