"""Validation in whole runs."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from models.pix2pix_model import Pix2PixModel
from tests.support import commands
from tests.support.commands import draw_pairs, draw_unpaired, names
from util.scores.networks import Identity
from util.storage import checkpoint

Capture = pytest.CaptureFixture[str]
Monkeypatch = pytest.MonkeyPatch

PAIRED = {"L1", "PSNR", "SSIM"}
CYCLE = {f"cycle{side}_{metric}" for side in ("", "_A", "_B") for metric in PAIRED}
METRICS = {
    "pix2pix": {"G", *PAIRED},
    "colorization": {"G", "Lab_ab", *PAIRED},
    "template": PAIRED,
    "cycle_gan": {"G", "idt_L1", "idt_A_L1", "idt_B_L1", *CYCLE},
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return two data sets: the same training images without and with a validation split."""
    found = {}
    for name in ("without", "with"):
        root = tmp_path_factory.mktemp(name)
        draw_pairs(root, "train", 3)
        draw_unpaired(root, "train", 3, 2)
        if name == "with":
            draw_pairs(root, "val", 2)
            draw_unpaired(root, "val", 2, 2)
        found[name] = root
    return found


def epochs(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("model", METRICS)
def test_validation_measures_and_changes_nothing(
    model: str, roots: dict[str, Path], tmp_path: Path, capsys: Capture
) -> None:
    more = ("--seed", "3", "--n_epochs_decay", "1", "--norm", "batch", "--print_freq", "1")
    plain = commands.train(tmp_path / "plain", roots["without"], model, *more)
    assert "validation (epoch" not in capsys.readouterr().out
    measured = commands.train(tmp_path / "measured", roots["with"], model, *more)
    out = capsys.readouterr().out
    assert "validation (epoch: 1, images: 2) " in out
    assert "validation (epoch: 2, images: 2) " in out
    assert names(plain, "*_net_*.pth") == names(measured, "*_net_*.pth")
    for name in names(plain, "latest_net_*.pth"):
        a, b = (checkpoint.load_state(run / name) for run in (plain, measured))
        assert all(torch.equal(a[key], b[key]) for key in a), name
    assert "validation" not in (measured / "loss_log.txt").read_text()
    assert set(epochs(measured)[1]["val"]) == METRICS[model]
    assert "val" not in epochs(plain)[1]


def test_an_epoch_leaves_a_record(roots: dict[str, Path], tmp_path: Path) -> None:
    more = ("--print_freq", "1", "--n_epochs", "2", "--lr_G", "0.002", "--lr_D", "0.001")
    run = commands.train(tmp_path, roots["with"], "pix2pix", *more)
    first, second = epochs(run)
    assert (first["epoch"], second["epoch"]) == (1, 2)
    assert (first["total_iters"], second["total_iters"]) == (3, 6)
    assert first["lr"] == {"G": 0.002, "D": 0.001}
    assert first["images_per_second"] == pytest.approx(3 / first["seconds"])
    assert first["memory_mib"] > 50
    assert (first["val_images"], first["val_statistics"]) == (2, "batch")
    printed = [json.loads(line) for line in (run / "losses.jsonl").read_text().splitlines()]
    for name, mean in second["train"].items():
        losses = [record["losses"][name] for record in printed if record["epoch"] == 2]
        assert mean == pytest.approx(sum(losses) / 3, rel=1e-5)


def test_evaluation_mode_is_another_measurement(roots: dict[str, Path], tmp_path: Path) -> None:
    more = ("--seed", "1", "--norm", "batch")
    found = [
        epochs(commands.train(tmp_path / name, roots["with"], "pix2pix", *more, *switch))[0]
        for name, switch in (("batch", ()), ("running", ("--val_eval",)))
    ]
    assert [record["val_statistics"] for record in found] == ["batch", "running"]
    assert found[0]["train"] == found[1]["train"]
    assert found[0]["val"]["L1"] != found[1]["val"]["L1"]


def test_the_best_epoch_is_kept_and_can_be_tested_and_continued(
    roots: dict[str, Path], tmp_path: Path, capsys: Capture
) -> None:
    # The rate falls to zero, so the last epochs bring nothing, and training is given up.
    more = ["--save_best", "L1", "--early_stop", "2", "--keep_last", "1", "--save_epoch_freq", "1"]
    schedule = ("--n_epochs", "9", "--lr_policy", "step", "--lr_decay_iters", "1")
    more += (*schedule, "--lr_gamma", "1e-9", "--lr", "0.01", "--seed", "2")
    run = commands.train(tmp_path, roots["with"], "template", *more)
    out = capsys.readouterr().out
    records = epochs(run)
    values = [record["val"]["L1"] for record in records]
    best = values.index(min(values)) + 1
    assert len(records) == best + 2 < 9
    assert records[-1]["best"] == {"metric": "L1", "value": min(values), "epoch": best}
    assert f"Stopped early, best L1 so far: {min(values):.4f} in epoch {best}" in out
    last = len(records)
    assert names(run, "*.pth") == sorted(
        f"{label}_{file}.pth" for label in (last, "best", "latest") for file in ("net_G", "state")
    )
    commands.test(tmp_path, roots["with"], "template", "--phase", "val", "--epoch", "best")
    assert (tmp_path / "results/run/val_best/index.html").is_file()
    folder = str(tmp_path / "checkpoints")
    again = ["--name", "run", "--checkpoints_dir", folder, "--continue_train"]
    commands.script("train", again)
    assert "Nothing left to do: the run was stopped early, best L1" in capsys.readouterr().out
    again += ["--early_stop", "0"]
    commands.script("train", [*again, "--epoch", "best", "--n_epochs", str(best + 1)])
    assert f"Continuing from {run}/best: epoch {best + 1}, image 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        (("--save_best", "LL1"), "no such metric. Did you mean 'L1'? Available: G, L1, PSNR, SSIM"),
        (("--val_freq", "0", "--save_best", "L1"), "contradict each other"),
        (("--early_stop", "3"), "--early_stop 3 needs --save_best METRIC"),
        (("--save_best", "L1:low"), "must end with :min or :max"),
        (
            ("--save_best", "L1", "--val_freq", "2"),
            "--save_best L1 needs a validation, but --val_freq 2 is not reached in epochs 1 to 1.",
        ),
    ],
)
def test_wishes_that_cannot_be_met_are_refused_at_once(
    more: tuple[str, ...], wanted: str, roots: dict[str, Path], tmp_path: Path, capsys: Capture
) -> None:
    with pytest.raises((SystemExit, ValueError)) as raised:
        commands.train(tmp_path, roots["with"], "pix2pix", *more)
    assert wanted in f"{raised.value} {capsys.readouterr().err}"
    assert not list(tmp_path.rglob("*.pth"))


def test_a_best_epoch_needs_images_to_measure_on(roots: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--save_best L1 needs images to measure on"):
        commands.train(tmp_path, roots["without"], "pix2pix", "--save_best", "L1")


def test_plateau_follows_the_chosen_metric(roots: dict[str, Path], tmp_path: Path) -> None:
    """With a rate of almost zero nothing improves: the rate falls after five more epochs."""
    more = ("--lr_policy", "plateau", "--save_best", "PSNR", "--lr", "1e-12", "--n_epochs", "8")
    run = commands.train(tmp_path, roots["with"], "template", *more, "--seed", "1")
    state = checkpoint.load_state(run / "latest_state.pth")
    scheduler = state["model"]["schedulers"][0]
    assert scheduler["mode"] == "max"
    assert scheduler["best"] == pytest.approx(epochs(run)[0]["val"]["PSNR"])
    assert epochs(run)[-1]["lr"]["optimizer"] == pytest.approx(2e-13)


# ---- schedules that follow it ---------------------------------------------------------------


def schedule(run: Path) -> dict[str, Any]:
    """Return what the first schedule has remembered."""
    state: dict[str, Any] = checkpoint.load_state(run / "latest_state.pth")
    found: dict[str, Any] = state["model"]["schedulers"][0]
    return found


PLATEAU = ("--lr_policy", "plateau", "--lr", "0", "--seed", "1")  # nothing improves


def test_plateau_steps_when_something_was_measured_and_early_stopping_counts_that(
    roots: dict[str, Path], tmp_path: Path
) -> None:
    more = ("--save_best", "L1", "--val_freq", "2", "--n_epochs", "20", "--early_stop", "3")
    run = commands.train(tmp_path, roots["with"], "template", *PLATEAU, *more)
    measured = [record["val"]["L1"] for record in epochs(run) if "val" in record]
    assert len(measured) == 4
    assert len(epochs(run)) == 8
    found = schedule(run)
    assert (found["last_epoch"], found["num_bad_epochs"]) == (4, 3)
    assert found["best"] == pytest.approx(measured[0])


def test_a_validation_that_never_works_is_said_once_and_steps_nothing(
    tmp_path: Path, capsys: Capture
) -> None:
    draw_pairs(tmp_path / "data", "train", 2)
    draw_pairs(tmp_path / "data", "val", 2)
    (tmp_path / "data" / "val" / "p9.png").write_bytes(b"\x89PNG")
    more = ("--save_best", "L1", "--early_stop", "1", "--n_epochs", "3")
    run = commands.train(tmp_path, tmp_path / "data", "template", *PLATEAU, *more)
    said = capsys.readouterr().err
    assert said.count("No validation in epoch 1: ") == said.count("No validation") == 1
    assert said.count("p9.png") == 1  # images to compare epochs by fail for the same reason
    assert said.count("warning: 3 of 3 validations failed.\n") == 1
    assert len(epochs(run)) == 3
    assert schedule(run)["last_epoch"] == 0
    assert not (run / "best_net_G.pth").exists()


WITHOUT_LOSS_G = """
from models.template_model import TemplateModel

class NamelessModel(TemplateModel):
    def __init__(self, opt):
        super().__init__(opt)
        self.loss_names = ["pixels"]

    def backward(self):
        self.loss_pixels = self.criterionLoss(self.output, self.data_B)
        self.optimization.backward(self.loss_pixels, self.optimizer)
"""


def test_plateau_without_a_loss_to_follow_is_said_once(
    roots: dict[str, Path],
    tmp_path: Path,
    add_plugins: Callable[[Path], None],
    capsys: Capture,
) -> None:
    write_plugin(tmp_path, "models/nameless_model.py", WITHOUT_LOSS_G)
    add_plugins(tmp_path / "plugins")
    more = ("--lr_policy", "plateau", "--n_epochs", "8")
    run = commands.train(tmp_path, roots["without"], "nameless", *more)
    assert capsys.readouterr().err.count("plateau follows loss_G, which this model does not") == 1
    assert schedule(run)["last_epoch"] == 0
    assert {record["lr"]["optimizer"] for record in epochs(run)} == {0.0002}


# ---- what there is to measure -----------------------------------------------------------------


class Averages:
    """Stand in for Inception: the mean and the deviation of the colours, (N, 6)."""

    identity = Identity("averages", "averages.pth", "", published=False, remark="of another scale")

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        pixels = images.float().flatten(2) / 255
        return torch.cat([pixels.mean(dim=2), pixels.std(dim=2)], dim=1)


@pytest.mark.parametrize(("model", "metric"), [("pix2pix", "FID"), ("cycle_gan", "A_KID")])
def test_every_metric_can_be_the_best(
    model: str, metric: str, roots: dict[str, Path], tmp_path: Path, monkeypatch: Monkeypatch
) -> None:
    monkeypatch.setattr("util.training.validation.load_inception", lambda *_: Averages())
    more = ("--inception_weights", "stands in", "--save_best", metric)
    run = commands.train(tmp_path, roots["with"], model, *more)
    (record,) = epochs(run)
    assert record["best"] == {"metric": metric, "value": record["val"][metric], "epoch": 1}
    assert {"L1", "cycle_L1"} & record["val"].keys()


def test_one_image_has_no_distance_between_sets_but_all_else(
    roots: dict[str, Path], tmp_path: Path, monkeypatch: Monkeypatch, capsys: Capture
) -> None:
    monkeypatch.setattr("util.training.validation.load_inception", lambda *_: Averages())
    more = ("--inception_weights", "stands in", "--num_val", "1", "--save_best")
    run = commands.train(tmp_path, roots["with"], "pix2pix", *more, "L1")
    assert set(epochs(run)[0]["val"]) == METRICS["pix2pix"]
    said = capsys.readouterr()
    assert "FID and KID need 2 images or more to validate on; there is 1" in said.err
    assert "--inception_weights stands in: of another scale" in said.out + said.err
    with pytest.raises(ValueError, match="no such metric"):
        commands.train(tmp_path, roots["with"], "pix2pix", *more, "FID", "--name", "other")


def test_no_more_images_are_measured_than_the_data_set_may_have(
    roots: dict[str, Path], tmp_path: Path
) -> None:
    run = commands.train(tmp_path, roots["with"], "template", "--max_dataset_size", "1")
    assert epochs(run)[0]["val_images"] == 1


def write_plugin(folder: Path, name: str, text: str) -> None:
    path = folder / "plugins" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


KNOWS_TRAINING = """
from data.aligned_dataset import AlignedDataset

class ListedDataset(AlignedDataset):
    def __init__(self, opt):
        self.labels = {{"train": [1, 2]}}[opt.phase]
        super().__init__(opt)

    def __len__(self):
        return {length}
"""


@pytest.fixture
def listed(
    roots: dict[str, Path], tmp_path: Path, add_plugins: Callable[[Path], None]
) -> Callable[..., Path]:
    """Return a function that trains on a data set of somebody else, which has so many items."""

    def train(length: int, *more: str) -> Path:
        source = KNOWS_TRAINING.format(length=length)
        write_plugin(tmp_path, "data/listed_dataset.py", source)
        add_plugins(tmp_path / "plugins")
        mode = ("--dataset_mode", "listed")
        return commands.train(tmp_path, roots["with"], "template", *mode, *more)

    return train


def test_a_split_that_cannot_be_made_is_done_without(
    listed: Callable[..., Path], capsys: Capture
) -> None:
    run = listed(3)
    assert "val" not in epochs(run)[0]
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "alidation" in line)
    assert re.fullmatch(r"validation: none: KeyError: 'val' \(.+listed_dataset\.py, line 6\)", line)
    with pytest.raises(ValueError, match="--save_best L1 needs images .*: KeyError: 'val'"):
        listed(3, "--save_best", "L1", "--name", "other")


def test_a_data_set_of_length_0_is_refused_before_there_are_networks(
    listed: Callable[..., Path], capsys: Capture
) -> None:
    with pytest.raises(ValueError, match="ListedDataset finds nothing in .* for the phase train"):
        listed(0)
    assert "[Network G]" not in capsys.readouterr().out


def test_an_empty_folder_is_done_without(tmp_path: Path, capsys: Capture) -> None:
    draw_pairs(tmp_path / "data", "train", 1)
    (tmp_path / "data" / "val").mkdir()
    run = commands.train(tmp_path, tmp_path / "data", "template")
    said = capsys.readouterr().err
    assert f"\nvalidation: none: There are no images in {tmp_path}/data/val." in said
    assert said.count("alidation") == 1
    assert "val" not in epochs(run)[0]


@pytest.mark.parametrize(("model", "folders"), [("cycle_gan", "val"), ("template", "valA valB")])
def test_folders_of_another_kind_of_data_are_left_alone(
    model: str, folders: str, roots: dict[str, Path], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("train", "trainA", "trainB", *folders.split()):
        (data / name).symlink_to(roots["with"] / name)
    assert "val" not in epochs(commands.train(tmp_path, data, model))[0]
    with pytest.raises(ValueError, match="--save_best L1 needs images to measure on"):
        commands.train(tmp_path, data, model, "--save_best", "L1", "--name", "other")


# ---- which save is the best ---------------------------------------------------------------------


@pytest.mark.parametrize("networks_alone", [False, True])
def test_going_on_from_an_earlier_epoch_keeps_a_better_best(
    networks_alone: bool, roots: dict[str, Path], tmp_path: Path, capsys: Capture
) -> None:
    more = ["--save_best", "L1", "--save_epoch_freq", "1", "--keep_states", "all"]
    more += ["--n_epochs", "3", "--seed", "2"]
    run = commands.train(tmp_path, roots["with"], "template", *more, "--lr", "0.01")
    best = epochs(run)[-1]["best"]
    assert best["epoch"] > 1
    networks = (run / "best_net_G.pth").read_bytes()
    if networks_alone:
        (run / "1_state.pth").unlink()
    again = ("--continue_train", "--epoch", "1", "--epoch_count", "2", "--lr", "1e-12")
    run = commands.train(tmp_path, roots["with"], "template", *more, *again)
    assert f"in epoch {best['epoch']}: it stays saved as best" in capsys.readouterr().out
    assert [record["best"] for record in epochs(run)][1:] == [best, best]
    assert (run / "best_net_G.pth").read_bytes() == networks


@pytest.mark.parametrize(
    ("preprocess", "sizes", "says"),
    [
        ("resize_and_crop", {(32, 32)}, None),
        ("resize", {(48, 48)}, None),
        # Pairs of 66x42 in each half: 48 pixels wide, 30 high, but at least as high as a crop.
        ("scale_width_and_crop", {(32, 48)}, "48 pixels wide in validation"),
        ("crop", {(32, 32)}, None),
        ("none", {(40, 64)}, None),
    ],
)
def test_validation_looks_at_images_as_large_as_in_training(
    preprocess: str, sizes: set[tuple[int, int]], says: str | None,
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for phase in ("train", "val"):
        commands.draw(tmp_path / "data" / phase / "x.png", commands.scene(1).resize((132, 42)))
    seen: set[tuple[int, int]] = set()
    original = Pix2PixModel.forward

    def forward(model: Pix2PixModel) -> None:
        if not torch.is_grad_enabled():
            seen.add((model.real_A.shape[2], model.real_A.shape[3]))
        original(model)

    monkeypatch.setattr(Pix2PixModel, "forward", forward)
    more = ("--preprocess", preprocess, "--load_size", "48")
    commands.train(tmp_path, tmp_path / "data", "pix2pix", *more)
    assert seen == sizes
    out = capsys.readouterr().out
    assert (" in validation; in training " in out) == (says is not None)
    assert says is None or says in out


def test_each_image_of_two_domains_counts_once(
    tmp_path: Path, add_plugins: Callable[[Path], None]
) -> None:
    """A side's mean is that of its images, however many the other side has."""
    commands.copy_unaligned(tmp_path / "plugins")
    add_plugins(tmp_path / "plugins")
    for name, a in (("more", 3), ("equal", 2)):
        draw_unpaired(tmp_path / name, "train", 1, 1)
        draw_unpaired(tmp_path / name, "val", a, 2)
    seen: dict[str, list[float]] = {}
    for name, mode in (("equal", "unaligned"), ("more", "unaligned"), ("more", "copied")):
        more = ("--dataset_mode", mode, "--seed", "3")
        run = commands.train(tmp_path / f"{name} {mode}", tmp_path / name, "cycle_gan", *more)
        seen[f"{name} {mode}"] = [epochs(run)[0]["val"][f"cycle_{side}_L1"] for side in "AB"]
    equal = seen.pop("equal unaligned")
    for found in seen.values():
        assert found[1] == pytest.approx(equal[1], rel=1e-6)
        assert found[0] != pytest.approx(equal[0], rel=1e-3)
