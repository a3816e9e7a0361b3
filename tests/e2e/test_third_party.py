"""Files that third parties wrote for the original framework run unchanged."""

import re
import runpy
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from models import create_model, find_model_using_name
from models.storage.trained_model import TrainedModel
from options.train_options import TrainOptions
from tests.support import commands
from tests.support.checkpoints import save_state
from tests.support.commands import THIRD_PARTY, Page, loss_lines, names
from util.storage import checkpoint

pytestmark = [
    # What torch and Python say about machines with few cores, and about fork beside threads.
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks"),
]
ROOT = commands.ROOT
AddPlugins = Callable[[Path], None]


@pytest.fixture
def plugins(add_plugins: AddPlugins) -> None:
    """Put the third-party files where the framework finds them."""
    add_plugins(THIRD_PARTY)


def fork(monkeypatch: pytest.MonkeyPatch, name: str, argv: list[str]) -> None:
    """Run a fork's script as `python NAME.py ARGV`."""
    before = threading.enumerate()
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *argv])
    runpy.run_path(str(THIRD_PARTY / "fork" / f"{name}.py"), run_name="__main__")
    for thread in threading.enumerate():  # as Python does before it ends
        if thread not in before and not thread.daemon:
            thread.join()


# ---- plugins under our scripts ------------------------------------------------------------


@pytest.mark.usefixtures("plugins")
def test_model_and_data_set_that_step_themselves_train_and_test(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = commands.train(tmp_path, pairs, "foo", "--print_freq", "1", "--foo_tag", "seen")
    out = capsys.readouterr().out
    assert "foo tag: seen" in out
    assert "dataset [FooDataset] was created" in out
    assert "model [FooModel] was created" in out
    wanted = [(1, iters, ["G_GAN", "G_foo", "D"]) for iters in (1, 2, 3)]
    assert loss_lines(out) == wanted
    assert loss_lines((run / "loss_log.txt").read_text()) == wanted
    assert names(run, "*_net_*.pth") == [
        *["1_net_D.pth", "1_net_G.pth", "latest_net_D.pth", "latest_net_G.pth"]
    ]
    visuals = ["real_A", "fake_B", "real_B", "edges"]
    page = Page(run / "web" / "index.html")
    assert page.images == [f"images/epoch001_{visual}.png" for visual in visuals]
    assert "lambda_foo" in (run / "train_opt.txt").read_text()

    results = commands.test(tmp_path, pairs, "foo")
    wanted_images = {f"p{number}_{visual}.png" for number in (0, 1) for visual in visuals}
    assert set(names(results / "images")) == wanted_images
    assert len(Page(results / "index.html").images) == len(wanted_images)


@pytest.mark.usefixtures("plugins")
def test_model_that_ignores_gpu_ids_trains_and_tests(
    unpaired: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--display_freq", "1", "--print_freq", "2", "--batch_size", "2")
    run = commands.train(tmp_path, unpaired, "bar", *more)
    assert loss_lines(capsys.readouterr().out) == [(1, n, ["G", "D", "tv"]) for n in (2, 4)]
    assert "latest_net_bar.pth" in names(run)
    assert "latest_net_critic.pth" in names(run)
    # An array among the visuals is shown as it is: here two images beside each other.
    assert commands.size(run / "web" / "images" / "epoch001_montage.png") == (64, 32)

    results = commands.test(tmp_path, unpaired, "bar", "--dataset_mode", "unaligned")
    assert "a1_montage.png" in names(results / "images")


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize("gan_mode", ["vanilla", "wgangp"])
@pytest.mark.parametrize("netG", ["tiny", "resnet_6blocks"])
def test_model_derived_from_ours_brings_networks_and_options_of_its_own(
    netG: str, gan_mode: str, pairs: Path, tmp_path: Path
) -> None:
    run = commands.train(tmp_path, pairs, "baz", "--netG", netG, "--gan_mode", gan_mode)
    assert {"latest_net_G.pth", "latest_net_D.pth"} <= set(names(run))
    results = commands.test(tmp_path, pairs, "baz", "--netG", netG)
    assert "p0_fake_B.png" in names(results / "images")


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize("norm", ["instance", "batch", "none", "syncbatch"])
def test_third_party_network_decides_about_its_biases(
    norm: str, pairs: Path, tmp_path: Path
) -> None:
    argv = commands.small(tmp_path, pairs, "bar", "--norm", norm, "--ndf", "2")
    model: Any = create_model(TrainOptions().parse(argv))
    assert model.netbar.uses_bias == (norm == "instance")


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize("model_name", ["foo", "bar"])
def test_old_plugin_takes_part_in_the_training_state(
    model_name: str, pairs: Path, tmp_path: Path
) -> None:
    argv = commands.small(tmp_path, pairs, model_name, "--ndf", "2")
    opt = TrainOptions().parse(argv)
    model: Any = create_model(opt)
    model.setup(opt)
    batch = {
        "A": torch.rand(1, 3, 32, 32),
        "B": torch.rand(1, 3, 32, 32),
        "A_paths": ["a"],
        "B_paths": ["b"],
    }
    for _ in range(3):
        model.set_input(batch)
        model.optimize_parameters()
    save_state(TrainedModel(model).training_state(), tmp_path / "state.pth")
    state = checkpoint.load_state(tmp_path / "state.pth")
    assert len(state["optimizers"]) == len(state["schedulers"]) == 2
    assert all(optimizer["state"] for optimizer in state["optimizers"])
    if model_name == "foo":
        assert len(state["image_pools"]["fake_AB_pool"]["images"]) == 2


@pytest.mark.usefixtures("plugins")
def test_data_set_plugin_works_in_worker_processes(pairs: Path, tmp_path: Path) -> None:
    argv = ("--dataset_mode", "foo", "--num_threads", "2", "--batch_size", "2")
    run = commands.train(tmp_path, pairs, "template", *argv)
    assert "latest_net_G.pth" in names(run)


@pytest.mark.usefixtures("plugins")
def test_options_of_plugins_are_in_the_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as raised:
        commands.script("train", ["--model", "foo", "--help"])
    assert raised.value.code == 0
    out = capsys.readouterr().out
    for option in ("--lambda_foo", "--foo_tag", "--foo_noise"):
        assert option in out


def test_plugin_with_a_missing_import_says_so(add_plugins: AddPlugins, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "needy_model.py").write_text("import a_package_nobody_has\n")
    add_plugins(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_package_nobody_has"):
        find_model_using_name("needy")


# ---- a fork's own scripts -----------------------------------------------------------------

# Stepped before the first step of an optimiser, as in the original: torch has always warned.
stepped_at_the_start = pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")


@stepped_at_the_start
@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize("model", ["cycle_gan", "pix2pix", "foo"])
def test_scripts_of_a_fork_drive_our_modules(
    model: str,
    pairs: Path,
    unpaired: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = unpaired if model == "cycle_gan" else pairs
    argv = commands.small(tmp_path, root, model, "--load_size", "36", "--ndf", "2")
    training = [*argv, "--n_epochs", "1", "--n_epochs_decay", "1", "--print_freq", "2"]
    training += ["--display_freq", "2", "--update_html_freq", "2", "--save_epoch_freq", "1"]
    fork(monkeypatch, "training", training)
    out = capsys.readouterr().out

    # The original's rates: one epoch ahead of ours, the last one at 0.
    rates = re.findall(r"fork: epoch \d at lr (\S+)", out)
    assert rates == ["0.0001000", "0.0000000"]
    assert [(epoch, iters) for epoch, iters, _ in loss_lines(out)] == [(1, 2), (2, 1), (2, 3)]
    run = tmp_path / "checkpoints" / "run"
    assert {"1_net_D.pth", "2_net_D.pth", "1_net_D_A.pth", "2_net_D_A.pth"} & set(names(run))
    assert Page(run / "web" / "index.html").headings == ["epoch [2]", "epoch [1]"]

    testing = [*argv, "--results_dir", str(tmp_path / "results"), "--aspect_ratio", "2.0"]
    fork(monkeypatch, "testing", [*testing, "--eval"])
    results = tmp_path / "results" / "run" / "test_latest"
    page = Page(results / "index.html")
    assert len(page.headings) == 2
    assert sorted(Path(image).name for image in page.images) == names(results / "images")
    for image in (results / "images").iterdir():
        assert commands.size(image) == (64, 32)


@stepped_at_the_start
def test_training_of_a_fork_continues(
    pairs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = commands.train(tmp_path, pairs, "pix2pix")
    argv = commands.small(tmp_path, pairs, "pix2pix", "--load_size", "36", "--ndf", "2")
    argv += ["--continue_train", "--epoch_count", "2", "--n_epochs", "2", "--n_epochs_decay", "0"]
    argv += ["--save_latest_freq", "2", "--save_by_iter", "--display_freq", "1"]
    fork(monkeypatch, "training", argv)
    assert f"loading the model from {run / 'latest_net_G.pth'}" in capsys.readouterr().out
    assert "iter_2_net_G.pth" in names(run)
    assert Page(run / "web" / "index.html").headings == ["epoch [2]", "epoch [1]"]


# ---- copies of the templates --------------------------------------------------------------


def copy_templates(folder: Path) -> None:
    """Do what the templates tell: copy them and rename the classes, and no more."""
    for package, kind in (("models", "Model"), ("data", "Dataset")):
        source = (ROOT / package / f"template_{kind.lower()}.py").read_text()
        (folder / package).mkdir()
        renamed = re.sub(rf"\bTemplate{kind}\b", f"MyIdea{kind}", source)
        (folder / package / f"my_idea_{kind.lower()}.py").write_text(renamed)


@pytest.mark.parametrize("dataset_mode", ["my_idea", "aligned"])
def test_copied_templates_train_and_test(
    dataset_mode: str,
    add_plugins: AddPlugins,
    pairs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy_templates(tmp_path)
    add_plugins(tmp_path)
    chosen = ("--dataset_mode", dataset_mode)
    run = commands.train(tmp_path, pairs, "my_idea", *chosen, "--print_freq", "1")
    out = capsys.readouterr().out
    assert "model [MyIdeaModel] was created" in out
    assert loss_lines(out) == [(1, iters, ["G"]) for iters in (1, 2, 3)]
    assert names(run, "*_net_*.pth") == ["1_net_G.pth", "latest_net_G.pth"]
    results = commands.test(tmp_path, pairs, "my_idea", *chosen)
    wanted = [f"p{n}_{visual}.png" for n in (0, 1) for visual in ("data_A", "data_B", "output")]
    assert names(results / "images") == wanted
