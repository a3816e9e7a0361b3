"""A fork's own models/networks.py in the place of ours: the built-in models train through it."""

import shutil
from pathlib import Path

import pytest

from tests.support.commands import ROOT, names, small, start
from tests.support.tiers import some

NETWORKS = """
import torch
import torch.nn as nn
from torch.optim import lr_scheduler


class Tiny(nn.Module):
    def __init__(self, input_nc, output_nc, width):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(input_nc, width, 3, padding=1), nn.ReLU(),
                                  nn.Dropout(0.1), nn.Conv2d(width, output_nc, 3, padding=1))

    def forward(self, x):
        return torch.tanh(self.body(x))


class GANLoss(nn.Module):
    def __init__(self, gan_mode, target_real_label=1.0, target_fake_label=0.0):
        super().__init__()
        assert gan_mode == "hinge"

    def __call__(self, prediction, target_is_real):
        return nn.functional.relu(1 - prediction if target_is_real else 1 + prediction).mean()


def get_scheduler(optimizer, opt):
    return lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5 ** epoch)


def init_net(net, init_type="normal", init_gain=0.02, gpu_ids=[]):
    return net


def define_G(input_nc, output_nc, ngf, netG, norm="batch", use_dropout=False,
             init_type="normal", init_gain=0.02, gpu_ids=[]):
    assert netG == "tiny"
    print("a generator of the fork")
    return init_net(Tiny(input_nc, output_nc, ngf), init_type, init_gain, gpu_ids)


def define_D(input_nc, ndf, netD, n_layers_D=3, norm="batch", init_type="normal",
             init_gain=0.02, gpu_ids=[]):
    return init_net(Tiny(input_nc, 1, ndf), init_type, init_gain, gpu_ids)
"""


@pytest.fixture
def fork(tmp_path: Path) -> Path:
    """Copy our tree, and put the fork's file into it."""
    for folder in ("models", "data", "options", "util"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tmp_path / "fork" / folder, ignore=ignored)
    for script in ("train.py", "test.py"):
        shutil.copy(ROOT / script, tmp_path / "fork" / script)
    (tmp_path / "fork" / "models" / "networks.py").write_text(NETWORKS)
    return tmp_path / "fork"


def run(fork: Path, script: str, argv: list[str]) -> str:
    """Run a script of the fork and return what it says."""
    done = start([f"{script}.py", *argv], fork, seconds=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("model", some(["cycle_gan", "pix2pix", "template"]))
def test_built_in_models_train_and_test_through_it(
    model: str, fork: Path, pairs: Path, unpaired: Path, tmp_path: Path
) -> None:
    root = unpaired if model == "cycle_gan" else pairs
    argv = [*small(tmp_path, root, model, "--load_size", "36"), "--netG", "tiny"]
    training = ["--ndf", "2", "--gan_mode", "hinge", "--display_id", "-1", "--no_html"]
    training += ["--n_epochs", "1", "--n_epochs_decay", "0", "--print_freq", "1"]
    out = run(fork, "train", [*argv, *training])
    assert out.count("a generator of the fork") == (2 if model == "cycle_gan" else 1)
    assert "learning rate 0.0002000 -> 0.0001000" in out
    assert "latest_net_G" in " ".join(names(tmp_path / "checkpoints" / "run"))

    run(fork, "test", [*argv, "--results_dir", str(tmp_path / "results")])
    assert names(tmp_path / "results" / "run" / "test_latest" / "images")
