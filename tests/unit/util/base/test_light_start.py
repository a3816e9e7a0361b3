"""What takes long to import stays out until somebody needs it, and steps stay what they are."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# What each command does without, up to the end of a short run.
HEAVY = ("torch._dynamo", "torch._inductor", "sympy", "visdom", "wandb", "matplotlib",
         "torchvision", "tensorboard", "numpy.testing")  # fmt: skip

LOADED = f"""
import sys
print("loaded:", [name for name in {HEAVY} if name in sys.modules])
"""
TRAIN = """
import runpy, sys
from tests.support.commands import draw_pairs, test, train
from pathlib import Path
folder = Path(sys.argv[1])
draw_pairs(folder, "train", 2)
draw_pairs(folder, "test", 1)
train(folder, folder, "pix2pix", "--norm", "instance")
test(folder, folder, "pix2pix", "--norm", "instance")
"""

STEPS = """
import sys, torch
from util.base.light_start import leave_out_the_compiler

if "light" in sys.argv:
    leave_out_the_compiler()
for kind in torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(5, 3))
    optimizer = kind([weight], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    loss = optimizer.step(lambda: weight.sum())
    print(kind.__name__, weight.tolist(), loss.item(), torch.is_grad_enabled())
print("compiler:", "torch._dynamo" in sys.modules)
"""


def python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_training_and_testing_import_nothing_heavy_that_they_do_not_need(tmp_path: Path) -> None:
    out = python(TRAIN + LOADED, str(tmp_path))
    assert out.splitlines()[-1] == "loaded: []"


@pytest.mark.slow
def test_steps_without_the_compiler_are_those_of_torch() -> None:
    plain, light = python(STEPS).splitlines(), python(STEPS, "light").splitlines()
    assert light[:-1] == plain[:-1]
    assert (plain[-1], light[-1]) == ("compiler: True", "compiler: False")
