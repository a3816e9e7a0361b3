"""What takes long to import stays out until somebody needs it."""

import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

# What each command does without, up to the end of a short run.
HEAVY = ("visdom", "wandb", "matplotlib", "torchvision", "tensorboard", "numpy.testing")

RUN = f"""
import sys
from tests.support.commands import draw_pairs, test, train
from pathlib import Path
folder = Path(sys.argv[1])
draw_pairs(folder, "train", 2)
draw_pairs(folder, "test", 1)
train(folder, folder, "pix2pix", "--norm", "instance")
test(folder, folder, "pix2pix", "--norm", "instance")
print("loaded:", [name for name in {HEAVY} if name in sys.modules])
"""


def test_training_and_testing_import_nothing_heavy_that_they_do_not_need(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded: []"
