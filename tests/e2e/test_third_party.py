"""Files that third parties wrote for the original framework run unchanged."""

import gzip
import re
import runpy
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data import create_dataset
from data.image_folder import IMG_EXTENSIONS, make_dataset
from models import create_model, find_model_using_name
from models.storage.trained_model import TrainedModel
from options.train_options import TrainOptions
from tests.support import commands
from tests.support.checkpoints import save_state
from tests.support.commands import THIRD_PARTY, Page, loss_lines, names
from util import visualizer
from util.display.sinks.epochs import read_metrics
from util.display.sinks.jsonl import parse_loss_log
from util.scores.comparisons import from_results
from util.storage import checkpoint

pytestmark = [
    # What torch and Python say about machines with few cores, and about fork beside threads.
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks"),
]
ROOT = commands.ROOT
AddPlugins = Callable[[Path], None]


@pytest.fixture
def plugins(add_plugins: AddPlugins) -> Iterator[None]:
    """Put the third-party files where the framework finds them."""
    add_plugins(THIRD_PARTY)
    endings = list(IMG_EXTENSIONS)
    yield
    IMG_EXTENSIONS[:] = endings


def fork(monkeypatch: pytest.MonkeyPatch, name: str, argv: list[str], folder: str = "fork") -> None:
    """Run a fork's script as `python NAME.py ARGV`."""
    before = threading.enumerate()
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *argv])
    runpy.run_path(str(THIRD_PARTY / folder / f"{name}.py"), run_name="__main__")
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

TWO_EPOCHS = (
    *("--n_epochs", "1", "--n_epochs_decay", "1", "--print_freq", "2", "--display_freq", "2"),
    *("--update_html_freq", "2", "--save_epoch_freq", "1"),
)
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
    fork(monkeypatch, "training", [*argv, *TWO_EPOCHS])
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


# ---- scripts for the original of 2025 ------------------------------------------------------


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize("model", ["cycle_gan", "pix2pix", "lately"])
def test_scripts_for_the_original_of_2025_drive_our_modules(
    model: str,
    pairs: Path,
    unpaired: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = unpaired if model == "cycle_gan" else pairs
    argv = commands.small(tmp_path, root, model, "--load_size", "36", "--ndf", "2")
    fork(monkeypatch, "training", [*argv, *TWO_EPOCHS, "--display_id", "-1"], "fork_2025")
    out = capsys.readouterr().out
    assert "Initialized with device" in out
    rates = re.findall(r"fork: epoch \d at lr (\S+)", out)
    assert rates == ["0.0002000", "0.0001000"]  # stepped at the end, as here
    assert [(epoch, iters) for epoch, iters, _ in loss_lines(out)] == [(1, 2), (2, 1), (2, 3)]
    run = tmp_path / "checkpoints" / "run"
    assert {"2_net_D.pth", "2_net_D_A.pth"} & set(names(run))
    assert Page(run / "web" / "index.html").headings == ["epoch [2]", "epoch [1]"]
    assert (run / "notes.txt").exists() == (model == "lately")

    testing = [*argv, "--results_dir", str(tmp_path / "results")]
    fork(monkeypatch, "testing", testing, "fork_2025")
    results = tmp_path / "results" / "run" / "test_latest"
    page = Page(results / "index.html")
    assert len(page.headings) == 2
    assert sorted(Path(image).name for image in page.images) == names(results / "images")


def test_a_visualizer_of_2025_in_the_place_of_ours_gets_the_calls_of_its_form(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with commands.imported(THIRD_PARTY / "fork_2025" / "visualizer.py") as fork_2025:
        monkeypatch.setattr(visualizer, "Visualizer", fork_2025.Visualizer)
        more = ("--n_epochs", "2", "--print_freq", "2", "--display_freq", "2")
        run = commands.train(tmp_path, pairs, "pix2pix", *more, "--update_html_freq", "4")
    assert "failed" not in capsys.readouterr().err
    assert (run / "calls.txt").read_text().splitlines() == [
        *("display 1 2 False", "plot 2 4 3", "display 2 4 True", "plot 4 4 3"),
        *("display 2 6 False", "plot 6 4 3"),
    ]
    page = Page(run / "web" / "index.html")
    assert page.headings == ["epoch [2]"]
    losses = ["G_GAN", "G_L1", "D_real", "D_fake"]
    found = parse_loss_log(run / "loss_log.txt")
    assert [(each["epoch"], each["iters"], list(each["losses"])) for each in found] == [
        *((1, 2, losses), (2, 1, losses), (2, 3, losses))
    ]


# ---- files of other kinds -----------------------------------------------------------------


def write_nifti(path: Path, volume: np.ndarray) -> None:
    """Write what nibabel would: a header of 348 bytes, four more, and the numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *volume.shape, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 4, 16)
    struct.pack_into("<f", header, 108, 352.0)
    header[344:348] = b"n+1\0"
    path.write_bytes(gzip.compress(bytes(header) + volume.astype("<i2").tobytes(order="F")))


@pytest.mark.usefixtures("plugins")
def test_arrays_train_and_test_by_an_ending_that_their_data_set_adds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    for folder, count in (("trainA", 3), ("trainB", 2), ("testA", 2), ("testB", 3)):
        (tmp_path / folder).mkdir()
        for number in range(count):
            scan = random.integers(0, 4096, (40, 36), np.uint16)
            np.save(tmp_path / folder / f"{folder[-1].lower()}{number}.npy", scan)
    more = ("--dataset_mode", "npy", "--input_nc", "1", "--output_nc", "1", "--print_freq", "3")
    commands.train(tmp_path, tmp_path, "cycle_gan", *more)
    out, err = capsys.readouterr()
    assert "The number of training images = 3" in out
    assert "images will fail" not in err  # nobody but the plugin can read them
    results = commands.test(tmp_path, tmp_path, "cycle_gan", "--dataset_mode", "npy")
    assert {"a0_fake_B.png", "a1_fake_B.png"} <= set(names(results / "images"))
    assert len(names(results / "images", "*_fake_B.png")) == 2
    assert 'data-score="L1"' not in (results / "index.html").read_text()  # they are no pairs


@pytest.mark.usefixtures("plugins")
def test_slices_of_volumes_train_and_test(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for phase in ("train", "val", "test"):
        for kind, high in (("mr", 255), ("ct", 900)):
            volume = random.integers(0, high, (32, 32, 4))
            write_nifti(tmp_path / phase / f"case1_{kind}.nii.gz", volume)
    more = ("--norm", "instance", "--window", "0", "800")
    run = commands.train(tmp_path, tmp_path, "pix2pix", "--dataset_mode", "nifti", *more)
    (epoch,) = read_metrics(run / "metrics.jsonl")
    assert epoch["total_iters"] == epoch["val_images"] == 2
    results = commands.test(tmp_path, tmp_path, "pix2pix", "--dataset_mode", "nifti")
    assert {"case1_001_fake_B.png", "case1_002_fake_B.png"} <= set(names(results / "images"))


def draw_separated(root: Path) -> None:
    """Draw pairs and masks in folders of their own."""
    for phase, count in (("train", 3), ("test", 2)):
        for number in range(count):
            for side, outlined in (("A", True), ("B", False)):
                scene = commands.scene(number, outlined=outlined)
                commands.draw(root / f"{phase}{side}" / f"p{number}.png", scene)
            commands.draw(root / f"{phase}M" / f"p{number}.png", Image.new("L", (40, 40), 255))


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize("model", ["pix2pix", "masked"])
def test_pairs_in_two_folders_and_masks_train_and_test(model: str, tmp_path: Path) -> None:
    draw_separated(tmp_path)
    mode = ("--dataset_mode", "separated") if model == "pix2pix" else ()
    run = commands.train(tmp_path, tmp_path, model, *mode, "--direction", "BtoA")
    shown = names(run / "web" / "images")
    assert ("epoch001_mask.png" in shown) == (model == "masked")
    results = commands.test(tmp_path, tmp_path, model, *mode)
    assert {"p0_fake_B.png", "p1_fake_B.png"} <= set(names(results / "images"))
    assert 'data-score="L1"' in (results / "index.html").read_text()
    (comparison,) = from_results(
        str(results / "images"), make_dataset(results / "images"), paired=False
    )
    assert comparison.paired
    assert len(comparison.fake) == 2


@pytest.mark.usefixtures("plugins")
def test_a_subclass_with_attention_and_a_helper_file_trains_continues_and_tests(
    unpaired: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = commands.train(tmp_path, unpaired, "attention", "--print_freq", "3")
    (line,) = loss_lines(capsys.readouterr().out)
    assert line[2][-1] == "grad"
    more = ("--continue_train", "--n_epochs", "2")
    commands.train(tmp_path, unpaired, "attention", *more)
    state = checkpoint.load_state(run / "2_net_G_A.pth")
    assert "model.10.conv_block.7.gamma" in state
    mode = ("--dataset_mode", "unaligned")
    results = commands.test(tmp_path, unpaired, "attention", *mode)
    assert "a0_fake_B.png" in names(results / "images")


# ---- copies of the templates --------------------------------------------------------------


def copy_templates(folder: Path) -> None:
    """Do what the templates tell: copy them and rename the classes, and no more."""
    for package, kind in (("models", "Model"), ("data", "Dataset")):
        source = (ROOT / package / f"template_{kind.lower()}.py").read_text()
        (folder / package).mkdir()
        renamed = re.sub(rf"\bTemplate{kind}\b", f"MyIdea{kind}", source)
        (folder / package / f"my_idea_{kind.lower()}.py").write_text(renamed)


def test_a_copy_of_the_template_data_set_takes_all_images(
    add_plugins: AddPlugins, tmp_path: Path
) -> None:
    copy_templates(tmp_path)
    add_plugins(tmp_path)
    commands.draw_pairs(tmp_path, "train", 12)
    for mode, count in (("my_idea", 12), ("template", 10)):
        argv = commands.small(tmp_path, tmp_path, "template", "--dataset_mode", mode)
        assert len(create_dataset(TrainOptions().parse(argv))) == count


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
