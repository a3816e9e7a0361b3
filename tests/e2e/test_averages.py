"""Averages of weights (`--ema`) through whole commands."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.commands import draw_pairs, draw_unpaired, names, test
from tests.support.runs import command, differences, outcome, resume, run, run_until
from util.storage import checkpoint

SMALL = ("--netG", "resnet_6blocks", "--crop_size", "32", "--load_size", "36")
LENGTH = ("--n_epochs", "2", "--n_epochs_decay", "0", "--num_threads", "0", "--lr", "0.02")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for phase, count in (("train", 3), ("val", 2), ("test", 2)):
        draw_pairs(root, phase, count)
        draw_unpaired(root, phase, count, 2)
    return root


def small(root: Path, folder: Path, model: str, *more: str) -> list[str]:
    """Return the command line of a run of two epochs; with averages, unless `more` says no."""
    options = (*SMALL, *LENGTH, "--save_epoch_freq", "1", "--ema", "0.8", *more)
    return command(root, folder / "checkpoints", model, *options)


@pytest.fixture(scope="module")
def whole(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that trains in one go, once for each command, and returns where."""
    done: dict[tuple[str, ...], Path] = {}

    def train(*more: str) -> Path:
        if more not in done:
            done[more] = tmp_path_factory.mktemp("whole")
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            run(small(root, done[more], *more))
            torch.set_num_threads(threads)
        return done[more]

    return train


def validations(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "checkpoints" / "run" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["val"] for line in lines]


def translated(folder: Path, root: Path, *more: str) -> dict[str, bytes]:
    """Return the images that test.py makes with a run."""
    results = test(folder, root, "pix2pix", *more)
    return {file.name: file.read_bytes() for file in (results / "images").glob("*_fake_B.png")}


@pytest.mark.parametrize("model", ["pix2pix", "cycle_gan"])
def test_a_run_with_averages_that_is_stopped_ends_as_one_that_is_not(
    model: str, root: Path, tmp_path: Path, whole: Callable[..., Path]
) -> None:
    cheap = ("--val_freq", "0", "--no_html", "--max_dataset_size", "2")
    more = ("--accumulate", "2", *cheap) if model == "cycle_gan" else ()
    assert run_until(small(root, tmp_path, model, *more), 3 if more else 4)
    run(resume(tmp_path / "checkpoints"))
    found, wanted = (
        outcome(folder / "checkpoints" / "run") for folder in (tmp_path, whole(model, *more))
    )
    assert sum("_ema" in name for name in wanted["networks"]) == (2 if more else 1)
    assert differences(wanted, found) == []


def test_averages_leave_no_trace_in_training_and_are_what_is_validated(
    whole: Callable[..., Path],
) -> None:
    runs = [whole("pix2pix"), whole("pix2pix", "--no_ema"), whole("pix2pix", "--ema", "0")]
    networks = []
    for folder in runs:
        found: Any = outcome(folder / "checkpoints" / "run")
        networks.append({n: v for n, v in found["networks"].items() if "ema" not in n})
        networks[-1]["losses"] = found["losses"]
    assert differences(networks[0], networks[1]) == differences(networks[0], networks[2]) == []
    averaged, plain, without = map(validations, runs)
    assert plain == without
    assert all(one["L1"] != other["L1"] for one, other in zip(averaged, plain, strict=True))


def test_tests_translate_with_averages_unless_told_otherwise(
    root: Path, tmp_path: Path, whole: Callable[..., Path]
) -> None:
    source = whole("pix2pix") / "checkpoints"
    for name in ("both", "plain", "average"):
        shutil.copytree(source, tmp_path / name / "checkpoints")
    for name in ("plain", "average"):
        file = tmp_path / name / "checkpoints" / "run" / "latest_net_G_ema.pth"
        file.replace(file.with_name("latest_net_G.pth")) if name == "average" else file.unlink()
    plain, average = (translated(tmp_path / name, root) for name in ("plain", "average"))
    assert plain != average
    assert translated(tmp_path / "both", root) == average
    assert translated(tmp_path / "both", root, "--no_ema") == plain


def test_averages_are_deleted_with_their_save(whole: Callable[..., Path]) -> None:
    folder = whole("pix2pix", "--keep_last", "1") / "checkpoints" / "run"
    assert names(folder, "*_ema.pth") == ["2_net_G_ema.pth", "latest_net_G_ema.pth"]
    average = checkpoint.load_state(folder / "2_net_G_ema.pth")
    assert differences(average, checkpoint.load_state(folder / "latest_net_G_ema.pth")) == []
