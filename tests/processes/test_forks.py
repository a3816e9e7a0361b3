"""A fork's own training script of 2025, in several processes: `init_ddp` is all that it calls."""

from pathlib import Path

import pytest

from tests.support.commands import THIRD_PARTY, draw_unpaired
from tests.support.launched import run, torchrun
from tests.support.tiers import EVERY_LAUNCH

pytestmark = [
    pytest.mark.slow,
    pytest.mark.dist,
    pytest.mark.skipif(not EVERY_LAUNCH, reason="DIST=all"),
]


def test_a_script_of_2025_trains_in_two_processes(tmp_path: Path) -> None:
    draw_unpaired(tmp_path, "train", 5, 4)
    argv = ["--dataroot", str(tmp_path), "--checkpoints_dir", str(tmp_path / "checkpoints")]
    argv += ["--name", "run", "--gpu_ids", "-1", "--ngf", "2", "--ndf", "2", "--display_id", "-1"]
    argv += ["--netG", "resnet_6blocks", "--crop_size", "32", "--load_size", "36", "--no_html"]
    argv += ["--num_threads", "1", "--batch_size", "2", "--print_freq", "2", "--display_freq", "4"]
    argv += ["--n_epochs", "1", "--n_epochs_decay", "1", "--save_epoch_freq", "1"]
    script = str(THIRD_PARTY / "fork_2025" / "training.py")
    status, said = run([*torchrun(2), script, *argv], tmp_path)
    assert status == 0, said[-4000:]
    assert said.count("fork: 5 images on cpu") == 2  # both ran it
    assert said.count("2 processes, speed faithful") == 1
    assert said.count("(epoch: 2, iters: ") == 3  # of five images two by two
    nets = sorted(path.name for path in (tmp_path / "checkpoints" / "run").glob("2_net_*.pth"))
    assert nets == [f"2_net_{name}.pth" for name in ("D_A", "D_B", "G_A", "G_B")]
