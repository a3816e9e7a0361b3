"""Whole commands: training, testing, continuing, and what they say when something is wrong."""

import json
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.base_model import BaseModel
from models.cycle_gan_model import CycleGANModel
from models.pix2pix_model import Pix2PixModel
from models.template_model import TemplateModel
from tests.support import commands
from tests.support.commands import ROOT, Page, draw, loss_lines, names, scene
from util.storage import checkpoint

pytestmark = [
    # What torch and Python say about machines with few cores, and about fork beside threads.
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks"),
]
Capture = pytest.CaptureFixture[str]

# model -> its networks, losses, and images while training and testing
MODELS: dict[str, dict[str, list[str]]] = {
    "cycle_gan": {
        "nets": ["D_A", "D_B", "G_A", "G_B"],
        "losses": ["D_A", "G_A", "cycle_A", "idt_A", "D_B", "G_B", "cycle_B", "idt_B"],
        "train": ["real_A", "fake_B", "rec_A", "idt_B", "real_B", "fake_A", "rec_B", "idt_A"],
        "test": ["real_A", "fake_B", "rec_A", "real_B", "fake_A", "rec_B"],
    },
    "pix2pix": {
        "nets": ["D", "G"],
        "losses": ["G_GAN", "G_L1", "D_real", "D_fake"],
        "train": ["real_A", "fake_B", "real_B"],
        "test": ["real_A", "fake_B", "real_B"],
    },
    "colorization": {
        "nets": ["D", "G"],
        "losses": ["G_GAN", "G_L1", "D_real", "D_fake"],
        "train": ["real_A", "real_B_rgb", "fake_B_rgb"],
        "test": ["real_A", "real_B_rgb", "fake_B_rgb"],
    },
    "template": {
        "nets": ["G"],
        "losses": ["G"],
        "train": ["data_A", "data_B", "output"],
        "test": ["data_A", "data_B", "output"],
    },
}


@pytest.fixture
def roots(pairs: Path, unpaired: Path) -> dict[str, Path]:
    """Return a data set for each model."""
    return {name: unpaired if name == "cycle_gan" else pairs for name in MODELS}


@pytest.fixture(scope="module")
def trained(unpaired: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run of a CycleGAN that was trained for an epoch."""
    return commands.train(tmp_path_factory.mktemp("trained"), unpaired, "cycle_gan")


def stems_of(root: Path, model: str) -> list[str]:
    """Return the names of the inputs that a test translates."""
    folder = root / ("testA" if model == "cycle_gan" else "test")
    return [Path(name).stem for name in names(folder)]


# ---- train and test -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "direction"),
    [(model, "AtoB") for model in MODELS]
    + [(model, "BtoA") for model in MODELS if model != "colorization"],
)
def test_trained_model_translates(
    model: str, direction: str, roots: dict[str, Path], tmp_path: Path, capsys: Capture
) -> None:
    facts, root = MODELS[model], roots[model]
    more = ("--direction", direction, "--print_freq", "1", "--n_epochs_decay", "1")
    run = commands.train(tmp_path, root, model, *more, "--save_epoch_freq", "1")
    out = capsys.readouterr().out
    lines = [(epoch, iters, facts["losses"]) for epoch in (1, 2) for iters in (1, 2, 3)]
    assert loss_lines(out) == lines
    assert loss_lines((run / "loss_log.txt").read_text()) == lines
    for epoch in (1, 2):
        assert f"End of epoch {epoch} / 2 \t Time Taken: " in out
    assert names(run, "*.pth") == sorted(
        f"{epoch}_{file}.pth"
        for epoch in ("1", "2", "latest")
        for file in [*(f"net_{net}" for net in facts["nets"]), "state"]
    )
    page = Page(run / "web" / "index.html")
    assert page.headings == ["epoch [2]", "epoch [1]"]
    assert page.images == [
        f"images/epoch{epoch:03d}_{visual}.png" for epoch in (2, 1) for visual in facts["train"]
    ]
    assert json.loads((run / "train_opt.json").read_text())["direction"] == direction

    results = commands.test(tmp_path, root, model, "--direction", direction)
    stems = [Path(name).stem for name in names(root / "test")] or (
        stems_of(root, model) if direction == "AtoB" else ["b0", "b1"]
    )
    wanted = [f"images/{stem}_{visual}.png" for stem in stems for visual in facts["test"]]
    page = Page(results / "index.html")
    assert page.images == wanted
    assert page.headings == stems
    assert names(results / "images") == sorted(Path(file).name for file in wanted)
    for file in wanted:
        assert commands.size(results / file) == (32, 32)
    assert (run / "test_opt.txt").is_file()


def test_direction_turns_the_task_around(pairs: Path, tmp_path: Path) -> None:
    commands.train(tmp_path, pairs, "template")
    for direction, half in (("AtoB", 0), ("BtoA", 40)):
        more = ("--direction", direction, "--preprocess", "none")
        results = commands.test(tmp_path, pairs, "template", *more)
        with Image.open(pairs / "test" / "p0.png") as both:
            wanted = np.asarray(both.crop((half, 0, half + 40, 40)), dtype=int)
        with Image.open(results / "images" / "p0_data_A.png") as found:
            assert np.abs(np.asarray(found, dtype=int) - wanted).max() <= 1


@pytest.mark.slow
def test_pix2pix_as_in_the_paper_trains_and_tests(pairs: Path, tmp_path: Path) -> None:
    """The default networks: U-Net 256 with dropout and batch norm, at 256 x 256."""
    argv = ("--netG", "unet_256", "--load_size", "286", "--crop_size", "256", "--ngf", "4")
    commands.train(tmp_path, pairs, "pix2pix", *argv, "--direction", "BtoA")
    more = ("--netG", "unet_256", "--crop_size", "256", "--ngf", "4", "--direction", "BtoA")
    results = commands.test(tmp_path, pairs, "pix2pix", *more)
    assert commands.size(results / "images" / "p0_fake_B.png") == (256, 256)


def test_template_data_set_teaches_the_template_model(
    pairs: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Both files to copy, together: the loss falls."""
    more = ["--dataset_mode", "template", "--lr", "0.002", "--print_freq", "3", "--ngf", "8"]
    more += ["--seed", "1", "--n_epochs", "15"]
    more += ["--serial_batches", "--no_flip", "--load_size", "32"]  # losses are of one image then
    run = commands.train(tmp_path, pairs, "template", *more)
    found = re.findall(r"\(epoch: .*\) G: (\S+)", capsys.readouterr().out)
    losses = [float(loss) for loss in found]
    assert len(losses) == 15
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])
    assert "new_dataset_option" in (run / "train_opt.txt").read_text()
    commands.test(tmp_path, pairs, "template", "--dataset_mode", "template", "--ngf", "8")


def test_test_model_translates_a_folder_with_one_generator(
    trained: Path, unpaired: Path, tmp_path: Path
) -> None:
    commands.copy_run(trained, tmp_path)
    for suffix in ("_A", "_B"):
        results = commands.test(tmp_path, unpaired / "testA", "test", "--model_suffix", suffix)
        assert names(results / "images") == [
            *["a0_fake.png", "a0_real.png", "a1_fake.png", "a1_real.png"]
        ]


def test_number_of_tests_is_limited(trained: Path, unpaired: Path, tmp_path: Path) -> None:
    commands.copy_run(trained, tmp_path)
    results = commands.test(tmp_path, unpaired, "cycle_gan", "--num_test", "1")
    assert Page(results / "index.html").headings == ["a0"]


@pytest.mark.parametrize("more", [("--eval",), ("--no_dropout", "--norm", "instance")], ids=str)
def test_repeated_tests_give_the_same_images(
    more: tuple[str, ...], pairs: Path, tmp_path: Path
) -> None:
    commands.train(tmp_path, pairs, "pix2pix", *[word for word in more if word != "--eval"])
    found = []
    for _ in range(2):
        results = commands.test(tmp_path, pairs, "pix2pix", *more)
        found.append((results / "images" / "p0_fake_B.png").read_bytes())
    assert found[0] == found[1]


# ---- several images at once ---------------------------------------------------------------


def outcome(results: Path) -> tuple[str, dict[str, Any]]:
    """Return a page of results, and its images by name."""
    images = {}
    for path in sorted((results / "images").iterdir()):
        with Image.open(path) as image:
            images[path.name] = np.asarray(image).astype(int)
    return (results / "index.html").read_text(), images


@pytest.fixture(scope="module")
def instance_normed(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a pix2pix run without statistics of batches."""
    folder = tmp_path_factory.mktemp("instance")
    return commands.train(folder, pairs, "pix2pix", "--norm", "instance", "--no_dropout")


@pytest.mark.parametrize("more", [(), ("--num_test", "2"), ("--max_dataset_size", "2")], ids=str)
def test_a_batch_gives_the_images_the_page_and_the_scores_of_single_images(
    more: tuple[str, ...], instance_normed: Path, tmp_path: Path, capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    commands.draw_pairs(tmp_path / "data", "test", 5)
    commands.copy_run(instance_normed, tmp_path)
    sizes: list[int] = []
    original = Pix2PixModel.forward

    def forward(model: Pix2PixModel) -> None:
        sizes.append(len(model.real_A))
        original(model)

    monkeypatch.setattr(Pix2PixModel, "forward", forward)
    found, said = [], []
    for size in ("1", "3"):
        options = ("--eval", "--batch_size", size, *more)
        found.append(outcome(commands.test(tmp_path, tmp_path / "data", "pix2pix", *options)))
        said.append(re.findall(r"processing .*", capsys.readouterr().out))
    assert sizes == ([1] * 5 + [3, 2] if not more else [1, 1, 2])
    assert said[0] == said[1]
    (page, alone), (page_of_batches, together) = found
    no_digits = [re.sub(r"(?<=\d\.\d\d)\d+", "", text) for text in (page, page_of_batches)]
    assert no_digits[0] == no_digits[1]
    assert alone.keys() == together.keys()
    for name, image in alone.items():
        assert np.abs(image - together[name]).max() <= 1, name


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--norm", "batch"), "--norm batch takes its statistics from the batch"),
        ((), "dropout would draw otherwise"),
        (("--no_dropout", "--preprocess", "none"), "may differ in size"),
    ],
)
def test_a_batch_that_would_change_results_is_not_used_and_that_is_said(
    more: tuple[str, ...], why: str, pairs: Path, tmp_path: Path, capsys: Capture
) -> None:
    norm = () if "--norm" in more else ("--norm", "instance")
    kept = [word for word in more if word not in ("--preprocess", "none")]
    commands.train(tmp_path, pairs, "pix2pix", *norm, *kept)
    capsys.readouterr()
    results = commands.test(tmp_path, pairs, "pix2pix", *norm, *more, "--batch_size", "2")
    (line,) = re.findall(r".*one by one.*", capsys.readouterr().out)
    assert line.startswith("--batch_size 2 is not used")
    assert why in line
    assert Page(results / "index.html").headings == ["p0", "p1"]


# ---- names of results ---------------------------------------------------------------------


@pytest.fixture
def colliding(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for number, name in enumerate(
        ("x/1.png", "y/1.png", "1.jpg", "1.png", "y/2.png", "y/sub/3.bmp")
    ):
        draw(root / name, scene(number))
    return root


def test_inputs_of_the_same_name_keep_their_results_apart(
    trained: Path, colliding: Path, tmp_path: Path
) -> None:
    commands.copy_run(trained, tmp_path)
    results = commands.test(tmp_path, colliding, "test", "--model_suffix", "_A")
    images = results / "images"
    found = {str(path.relative_to(images)) for path in images.rglob("*.png")}
    assert found == {
        f"{name}_{visual}.png"
        for name in ("x/1", "y/1", "1.jpg", "1.png", "2", "3")
        for visual in ("real", "fake")
    }
    page = Page(results / "index.html")
    assert page.headings == ["1.jpg", "1.png", "x/1", "y/1", "2", "3"]
    assert len(set(page.images)) == 12
    for number, name in enumerate(("x/1", "y/1", "1.jpg", "1.png", "2", "3")):
        if name != "1.jpg":
            with Image.open(images / f"{name}_real.png") as found_image:
                pixels = np.asarray(found_image, dtype=int)
            wanted = np.asarray(scene(number).resize((32, 32), Image.Resampling.BICUBIC), dtype=int)
            assert np.abs(pixels - wanted).max() <= 1, name


def test_flat_names_stay_when_the_twin_is_not_tested(
    trained: Path, colliding: Path, tmp_path: Path
) -> None:
    commands.copy_run(trained, tmp_path)
    root = colliding / "y"
    results = commands.test(tmp_path, root, "test", "--model_suffix", "_A")
    assert Page(results / "index.html").headings == ["1", "2", "3"]


# ---- continuing ---------------------------------------------------------------------------


def test_training_continues_from_the_latest_networks(
    trained: Path, unpaired: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    commands.copy_run(trained, tmp_path)
    before = checkpoint.load_state(trained / "latest_net_G_A.pth")
    loaded: list[bool] = []
    original = CycleGANModel.set_input

    def look(model: Any, batch: dict[str, Any]) -> None:
        if not loaded:
            now = model.netG_A.state_dict()
            loaded.append(all(torch.equal(now[key], before[key]) for key in before))
        original(model, batch)

    monkeypatch.setattr(CycleGANModel, "set_input", look)
    more = ("--continue_train", "--epoch_count", "2", "--n_epochs", "2", "--print_freq", "1")
    run = commands.train(tmp_path, unpaired, "cycle_gan", *more)
    out = capsys.readouterr().out

    assert loaded == [True]
    assert f"loading the model from {run / 'latest_net_G_A.pth'}" in out
    assert [epoch for epoch, _, _ in loss_lines(out)] == [2, 2, 2]
    assert {"1_net_G_A.pth", "2_net_G_A.pth", "latest_net_G_A.pth"} <= set(names(run))
    assert Page(run / "web" / "index.html").headings == ["epoch [2]", "epoch [1]"]
    assert (run / "loss_log.txt").read_text().count("Training Loss (") == 2


def test_checkpoints_by_iteration_are_saved_continued_and_tested(
    unpaired: Path, tmp_path: Path, capsys: Capture
) -> None:
    by_iter = ("--save_latest_freq", "2", "--save_by_iter")
    run = commands.train(tmp_path, unpaired, "cycle_gan", *by_iter, "--n_epochs", "2")
    assert names(run, "iter_*_net_G_A.pth") == [
        *["iter_2_net_G_A.pth", "iter_4_net_G_A.pth", "iter_6_net_G_A.pth"]
    ]
    capsys.readouterr()
    commands.train(tmp_path, unpaired, "cycle_gan", "--continue_train", "--load_iter", "4")
    assert str(run / "iter_4_net_G_A.pth") in capsys.readouterr().out

    commands.test(tmp_path, unpaired, "cycle_gan", "--load_iter", "2")
    assert str(run / "iter_2_net_G_A.pth") in capsys.readouterr().out
    results = tmp_path / "results" / "run" / "test_latest_iter2"
    assert len(Page(results / "index.html").headings) == 2


def test_an_earlier_epoch_can_be_continued_and_tested(
    trained: Path, unpaired: Path, tmp_path: Path, capsys: Capture
) -> None:
    commands.copy_run(trained, tmp_path)
    commands.test(tmp_path, unpaired, "cycle_gan", "--epoch", "1")
    assert "1_net_G_A.pth" in capsys.readouterr().out
    assert (tmp_path / "results" / "run" / "test_1" / "index.html").is_file()


# ---- what happens when --------------------------------------------------------------------


def test_page_exists_from_the_first_epoch_on(
    unpaired: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although --display_freq (400) is larger than the data set."""
    index = tmp_path / "checkpoints" / "run" / "web" / "index.html"
    seen: list[list[str]] = []
    original = BaseModel.update_learning_rate

    def look(model: BaseModel) -> None:
        for thread in threading.enumerate():
            if thread.name == "PageSink":  # writes it beside training
                thread.join()
        seen.append(Page(index).headings)
        original(model)

    monkeypatch.setattr(BaseModel, "update_learning_rate", look)
    commands.train(tmp_path, unpaired, "cycle_gan", "--n_epochs", "2")
    assert seen == [["epoch [1]"], ["epoch [2]", "epoch [1]"]]


def test_without_html_there_is_no_page(pairs: Path, tmp_path: Path) -> None:
    run = commands.train(tmp_path, pairs, "template", "--no_html")
    assert not (run / "web").exists()


def test_frequencies_fire_when_a_multiple_is_crossed(
    pairs: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Batches of 2 and a frequency of 3: after 4, 6, 10 and 12 images, in three epochs."""
    more = ("--batch_size", "2", "--print_freq", "3", "--n_epochs", "3")
    commands.train(tmp_path, pairs, "template", *more)
    found = [(epoch, iters) for epoch, iters, _ in loss_lines(capsys.readouterr().out)]
    assert found == [(1, 4), (2, 2), (3, 2), (3, 4)]


def test_last_epoch_and_latest_are_always_saved(pairs: Path, tmp_path: Path) -> None:
    run = commands.train(tmp_path, pairs, "template", "--n_epochs", "3")  # --save_epoch_freq 5
    assert names(run, "*_net_*.pth") == ["3_net_G.pth", "latest_net_G.pth"]


def test_learning_rate_steps_at_the_end_of_each_epoch(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    rates: list[float] = []
    original = TemplateModel.optimize_parameters

    def look(model: TemplateModel) -> None:
        rates.append(float(model.optimizers[0].param_groups[0]["lr"]))
        original(model)

    monkeypatch.setattr(TemplateModel, "optimize_parameters", look)
    commands.train(tmp_path, pairs, "template", "--n_epochs", "2", "--n_epochs_decay", "3")
    wanted = [0.0002 * share for share in (1, 1, 3 / 4, 2 / 4, 1 / 4) for _ in range(3)]
    assert rates == pytest.approx(wanted)
    assert "learning rate 0.0002000 -> 0.0001500" in capsys.readouterr().out


def test_plateau_follows_the_mean_of_the_generators_loss(
    unpaired: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[float] = []
    metrics: list[float] = []
    optimize, update = CycleGANModel.optimize_parameters, BaseModel.update_learning_rate

    def after(model: CycleGANModel) -> None:
        optimize(model)
        losses.append(float(model.loss_G.detach()))

    def before(model: BaseModel) -> None:
        metrics.append(float(model.metric))
        update(model)

    monkeypatch.setattr(CycleGANModel, "optimize_parameters", after)
    monkeypatch.setattr(BaseModel, "update_learning_rate", before)
    more = ("--lr_policy", "plateau", "--n_epochs", "2")
    commands.train(tmp_path, unpaired, "cycle_gan", *more)
    wanted = [sum(losses[:3]) / 3, sum(losses[3:]) / 3]
    assert metrics == pytest.approx(wanted, rel=1e-4)


def test_same_seed_gives_the_same_run(unpaired: Path, tmp_path: Path) -> None:
    """With any number of workers above 0; without them there is another sequence."""
    states = []
    for number, workers in enumerate((1, 2)):
        folder = tmp_path / str(number)
        more = ("--seed", "3", "--num_threads", str(workers))
        run = commands.train(folder, unpaired, "cycle_gan", *more)
        states.append(checkpoint.load_state(run / "latest_net_D_A.pth"))
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_main_can_be_called_again_and_again(pairs: Path, tmp_path: Path) -> None:
    for number in range(2):
        run = commands.train(tmp_path / str(number), pairs, "template")
        assert "latest_net_G.pth" in names(run)


# ---- mistakes -----------------------------------------------------------------------------


def test_unknown_option_ends_with_status_two(pairs: Path, tmp_path: Path, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as raised:
        commands.train(tmp_path, pairs, "pix2pix", "--lambda_L2", "3")
    assert raised.value.code == 2
    captured = capsys.readouterr()
    assert "--lambda_L2" in captured.err
    assert "--lambda_L2" not in captured.out
    assert not (tmp_path / "checkpoints").exists()


def test_training_option_is_unknown_to_the_test(
    pairs: Path, tmp_path: Path, capsys: Capture
) -> None:
    with pytest.raises(SystemExit) as raised:
        commands.test(tmp_path, pairs, "pix2pix", "--lambda_L1", "3")
    assert raised.value.code == 2
    assert "--lambda_L1" in capsys.readouterr().err


# ---- real processes -----------------------------------------------------------------------


@pytest.mark.slow
def test_commands_run_from_anywhere_and_write_plain_lines(pairs: Path, tmp_path: Path) -> None:
    """train.py, then test.py, with relative folders, the default GPU and redirected output."""
    (tmp_path / "my data").symlink_to(pairs, target_is_directory=True)
    common = ["--dataroot", "my data", "--name", "run", "--model", "pix2pix"]
    common += ["--direction", "BtoA", "--netG", "resnet_6blocks", "--ngf", "2"]
    common += ["--crop_size", "32", "--num_threads", "1"]
    more = ["--ndf", "2", "--load_size", "36", "--n_epochs", "1", "--n_epochs_decay", "0"]
    more += ["--display_id", "0"]
    training = commands.start([ROOT / "train.py", *common, *more, "--print_freq", "1"], tmp_path)
    assert training.returncode == 0, training.stderr
    assert [iters for _, iters, _ in loss_lines(training.stdout)] == [1, 2, 3]
    assert training.stdout.count("No CUDA device was found: running on the CPU") == 1
    assert names(tmp_path / "checkpoints" / "run", "latest*") == [
        *["latest_net_D.pth", "latest_net_G.pth", "latest_state.pth"]
    ]

    testing = commands.start([ROOT / "test.py", *common], tmp_path)
    assert testing.returncode == 0, testing.stderr
    page = Page(tmp_path / "results" / "run" / "test_latest" / "index.html")
    assert page.headings == ["p0", "p1"]

    for output in (training.stdout, training.stderr, testing.stdout, testing.stderr):
        assert "\r" not in output
        assert "\x1b" not in output
        assert "it/s" not in output
        assert "%|" not in output
    assert "warning" not in training.stderr
    said = {line.split(":")[0] for line in training.stderr.splitlines()}
    assert {"data", "networks", "device", "validation", "page", "Losses and images"} <= said
    assert testing.stderr == ""
    assert not list(ROOT.glob("results/run"))


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        (["train.py", "--dataroot", "X", "--no_such_option", "1"], 2, "--no_such_option"),
        (["train.py", "--dataroot", "./missing", "--num_threads", "2"], 1, "missing/trainA"),
    ],
    ids=["unknown option", "missing data"],
)
def test_mistakes_are_told_on_standard_error_without_a_traceback(
    arguments: list[str], status: int, named: str, tmp_path: Path
) -> None:
    ended = commands.start([ROOT / arguments[0], *arguments[1:]], tmp_path)
    assert ended.returncode == status
    assert named in ended.stderr
    assert named not in ended.stdout.replace("dataroot", "")
    assert "Traceback" not in ended.stderr + ended.stdout


LAUNCHER = """
import multiprocessing
import sys

sys.path.insert(0, {root!r})

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    import train

    for argv in {commands!r}:
        train.main(argv)
"""


@pytest.mark.slow
def test_workers_start_as_on_windows_and_macos(unpaired: Path, tmp_path: Path) -> None:
    """Everything that goes to a worker can be pickled, whatever --preprocess says."""
    lines = []
    for preprocess in ("none", "scale_width"):
        argv = commands.small(tmp_path, unpaired, "cycle_gan", "--ndf", "2", "--load_size", "36")
        argv += ["--n_epochs", "1", "--n_epochs_decay", "0", "--num_threads", "2"]
        lines.append([*argv, "--preprocess", preprocess, "--name", preprocess])
    launcher = tmp_path / "launch.py"
    launcher.write_text(LAUNCHER.format(root=str(ROOT), commands=lines))
    ended = commands.start([launcher], tmp_path)
    assert ended.returncode == 0, ended.stderr
    for preprocess in ("none", "scale_width"):
        assert "latest_net_G_A.pth" in names(tmp_path / "checkpoints" / preprocess)


@pytest.mark.slow
def test_broken_image_ends_a_real_run_with_its_name(pairs: Path, tmp_path: Path) -> None:
    for number in range(3):
        draw(tmp_path / "data" / "train" / f"{number}.png", scene(number, 80))
    broken = tmp_path / "data" / "train" / "1.png"
    broken.write_bytes(broken.read_bytes()[:100])
    argv = commands.small(tmp_path, tmp_path / "data", "template", "--num_threads", "2")
    ended = commands.start([ROOT / "train.py", *argv, "--load_size", "36"], tmp_path)
    assert ended.returncode == 1
    assert f"\nerror: {broken} cannot be read" in ended.stderr
    assert "Mend or remove it, or give --skip_bad_images." in ended.stderr
    assert "Traceback" not in ended.stderr


# ---- accumulated steps --------------------------------------------------------------------


def test_batches_that_fill_no_step_are_told(pairs: Path, tmp_path: Path, capsys: Capture) -> None:
    more = ("--batch_size", "2", "--n_epochs", "2")
    run = commands.train(tmp_path, pairs, "template", *more, "--accumulate", "3")
    assert "with 4 batches to go: the last 1 fill no step" in capsys.readouterr().out
    again = ("--continue_train", "--n_epochs", "3")  # one waits for two more
    commands.train(tmp_path, pairs, "template", *more[:2], *again, "--accumulate", "3")
    assert "fill no step" not in capsys.readouterr().out
    with pytest.raises(ValueError, match="--accumulate 50 with 4 batches .* nothing would be tr"):
        commands.train(tmp_path, pairs, "template", *more, "--accumulate", "50", "--name", "other")
    assert not list((run.parent / "other").glob("*.pth"))
