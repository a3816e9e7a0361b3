"""What a saved run keeps when it goes on with other options: the table of docs/continuing.md."""

import json
import shutil
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import SGD

from models.networks import get_scheduler
from tests.support.checkpoints import save_state
from tests.support.commands import draw_pairs
from tests.support.runs import (
    command,
    differences,
    draw_data,
    outcome,
    resume,
    run,
    run_until,
)
from tests.support.tiers import LONG, some
from util.base.errors import UserError
from util.storage import checkpoint

Capture = pytest.CaptureFixture[str]
Folders = pytest.TempPathFactory
Continued = Callable[..., dict[str, Any]]

SMALL = ("--netG", "resnet_6blocks", "--crop_size", "32", "--load_size", "36")
RATE = 1.6e-6  # to which the schedule has come
BAD = 2  # epochs that were no better


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = draw_data(tmp_path_factory.mktemp("data"))
    draw_pairs(root, "val", 2)
    return root


def begun(root: Path, folder: Path, *more: str, model: str = "pix2pix") -> Path:
    """Train one epoch, of few images, and return the checkpoints."""
    more = ("--n_epochs_decay", "0", "--max_dataset_size", "2", "--num_threads", "0", *more)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the tests
    run(command(root, folder, model, *SMALL, *more))
    torch.set_num_threads(threads)
    return folder


@contextmanager
def changed(folder: Path) -> Iterator[dict[str, Any]]:
    """Lend the newest state of a run to be changed."""
    path = folder / "run" / "latest_state.pth"
    state = checkpoint.load_state(path)
    yield state
    save_state(state, path)


@pytest.fixture(scope="module")
def plateau(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run under --lr_policy plateau that has lowered its rate and seen bad epochs."""
    folder = begun(root, tmp_path_factory.mktemp("plateau"), "--lr_policy", "plateau")
    with changed(folder) as state:
        parts = state["model"]["schedulers"], state["model"]["optimizers"]
        for schedule, optimizer in zip(*parts, strict=True):
            schedule |= {"best": 0.0, "num_bad_epochs": BAD, "_last_lr": [RATE]}
            optimizer["param_groups"][0]["lr"] = RATE
    return folder


@pytest.fixture(scope="module")
def measured(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that knows its best epoch, by L1, and two worse ones after that."""
    folder = begun(root, tmp_path_factory.mktemp("measured"), "--save_best", "L1")
    with changed(folder) as state:
        state["best"] |= {"value": 0.001, "epoch": 1, "since": 2}
    return folder


@pytest.fixture
def go_on(tmp_path: Path, capsys: Capture) -> Continued:
    """Return a function that continues a copy of a run to epoch 2, and returns its state.

    What was printed is under `said`.
    """

    def continued(source: Path, *more: str) -> dict[str, Any]:
        folder = tmp_path / f"copy{len(list(tmp_path.iterdir()))}"
        shutil.copytree(source, folder)
        capsys.readouterr()
        run(resume(folder, *more))
        captured = capsys.readouterr()
        state: dict[str, Any] = checkpoint.load_state(folder / "run" / "latest_state.pth")
        return {**state, "said": captured.out + captured.err, "folder": folder}

    return continued


def rates(state: dict[str, Any]) -> set[float]:
    return {group["lr"] for each in state["model"]["optimizers"] for group in each["param_groups"]}


# ---- learning rates ------------------------------------------------------------------------------


UNREAD = [
    ("--n_epochs", "2", "--lr_decay_iters", "1", "--lr_gamma", "0.5"),
    ("--n_epochs", "3", "--epoch_count", "3"),
    ("--n_epochs", "2", "--beta1", "0.9"),
    ("--n_epochs", "2"),
    ("--n_epochs_decay", "1"),
]


@pytest.mark.parametrize("more", some(UNREAD, 3), ids=lambda more: more[-2])
def test_plateau_goes_on_where_it_was_with_options_that_it_does_not_read(
    plateau: Path, go_on: Continued, more: tuple[str, ...]
) -> None:
    state = go_on(plateau, *more)
    assert rates(state) == {RATE}
    for schedule in state["model"]["schedulers"]:
        assert (schedule["best"], schedule["num_bad_epochs"]) == (0.0, BAD + 1)


@pytest.mark.parametrize("more", [("--lr", "0.001"), ("--lr_G", "0.001", "--lr_D", "0.001")])
def test_plateau_begins_anew_with_another_rate(
    plateau: Path, go_on: Continued, more: tuple[str, ...]
) -> None:
    state = go_on(plateau, "--n_epochs", "2", *more)
    assert rates(state) == {0.001}
    assert all(schedule["num_bad_epochs"] == 0 for schedule in state["model"]["schedulers"])
    assert "Learning rates begin anew with these options" in state["said"]


@pytest.mark.parametrize(("metric", "mode"), [("L1", "min"), ("PSNR", "max")])
def test_plateau_judges_another_metric_anew_but_keeps_the_rate(
    plateau: Path, go_on: Continued, metric: str, mode: str
) -> None:
    state = go_on(plateau, "--n_epochs", "2", "--save_best", metric)
    assert rates(state) == {RATE}
    for schedule in state["model"]["schedulers"]:
        assert (schedule["mode"], schedule["num_bad_epochs"]) == (mode, 0)
        assert schedule["best"] == pytest.approx(state["best"]["value"])
    assert f"--lr_policy plateau follows {metric} from here on" in state["said"]


@pytest.mark.parametrize(
    "policy",
    some([("step", "--lr_decay_iters", "1", "--lr_gamma", "0.5"), ("linear",), ("cosine",)], 2),
    ids=lambda policy: policy[0],
)
def test_momentum_is_changed_without_touching_the_rates(
    root: Path, tmp_path: Path, go_on: Continued, policy: tuple[str, ...]
) -> None:
    more = ("--lr_policy", *policy, "--n_epochs_decay", "1", "--save_epoch_freq", "1")
    source = begun(root, tmp_path / "source", *more)
    whole, other = (go_on(source, "--epoch", "1", *beta) for beta in ((), ("--beta1", "0.9")))
    assert rates(other) == rates(whole)
    assert rates_of_epochs(other) == rates_of_epochs(whole)
    for optimizer in other["model"]["optimizers"]:
        assert tuple(optimizer["param_groups"][0]["betas"]) == (0.9, 0.999)
        assert float(optimizer["state"][0]["step"]) == 4  # of its averages, which went on


def rates_of_epochs(state: dict[str, Any]) -> list[dict[str, float]]:
    lines = (state["folder"] / "run" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["lr"] for line in lines]


POLICIES = {
    "linear": ("--n_epochs_decay", "3"),
    "step": ("--lr_decay_iters", "1", "--lr_gamma", "0.5", "--n_epochs", "4"),
    "cosine": ("--n_epochs", "4"),
}


@pytest.fixture(scope="module")
def scheduled(request: pytest.FixtureRequest, root: Path, tmp_path_factory: Folders) -> Path:
    """Return a run of one of these policies that stands before epoch 2 of 4."""
    folder = tmp_path_factory.mktemp(request.param)
    more = ("--n_epochs_decay", "0", "--max_dataset_size", "2", "--num_threads", "0")
    argv = command(root, folder, "pix2pix", *SMALL, *more, "--lr_policy", request.param)
    assert run_until([*argv, *POLICIES[request.param]], 3)
    return folder


# What may change, and policies for which that is tried; all of them with RELIABILITY=long.
CHANGES: list[tuple[dict[str, Any], str]] = [
    ({}, "cosine"),
    ({"lr": 0.001}, "linear"),
    ({"lr_G": 0.003, "lr_D": 0.002}, "cosine"),
    ({"lr_gamma": 0.25}, "step"),
    ({"lr_decay_iters": 2}, "step"),
    ({"n_epochs": 2, "n_epochs_decay": 3}, "linear cosine"),
    ({"epoch_count": 3}, "linear step cosine"),
    ({"lr_policy": "step", "lr_decay_iters": 1}, "linear"),
]


@pytest.mark.parametrize(
    ("scheduled", "changed"),
    [
        pytest.param(policy, changed, id="-".join([policy, *changed]))
        for policy in POLICIES
        for changed, tried in CHANGES
        if LONG or policy in tried
    ],
    indirect=["scheduled"],
)
def test_rates_are_those_that_a_new_run_has_in_that_epoch(
    scheduled: Path, go_on: Continued, changed: dict[str, Any]
) -> None:
    state = go_on(scheduled, *(f"--{name}={value}" for name, value in changed.items()))
    used = Namespace(**state["options"] | changed)
    wanted = []
    for epoch in range(changed.get("epoch_count", 2), used.n_epochs + used.n_epochs_decay + 1):
        rates = {}
        for net in "GD":
            parameter = torch.zeros(1, requires_grad=True)
            optimizer = SGD([parameter], lr=getattr(used, f"lr_{net}") or used.lr)
            schedule = get_scheduler(optimizer, Namespace(**vars(used) | {"epoch_count": 1}))
            for _ in range(1, epoch):
                optimizer.step()
                schedule.step()
            rates[net] = pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        wanted.append(rates)
    assert rates_of_epochs(state)[1:] == wanted


# ---- the best epoch ------------------------------------------------------------------------------


def test_the_same_metric_has_the_same_best_epoch(measured: Path, go_on: Continued) -> None:
    for same in ((), ("--save_best", "L1:min")):
        state = go_on(measured, "--n_epochs", "2", *same)
        found = {name: state["best"][name] for name in ("name", "value", "epoch", "since")}
        assert found == {"name": "L1", "value": 0.001, "epoch": 1, "since": 3}
        assert "history" not in state["said"]


@pytest.mark.parametrize("other", ["PSNR", "L1:max"])
def test_another_metric_or_direction_begins_a_history_of_its_own(
    measured: Path, go_on: Continued, other: str
) -> None:
    state = go_on(measured, "--n_epochs", "2", "--save_best", other)
    best = state["best"]
    assert (best["name"], best["epoch"], best["since"]) == (other.partition(":")[0], 2, 0)
    assert best["value"] != 0.001
    assert "Its history begins now" in state["said"]
    assert (state["folder"] / "run" / "best_net_G.pth").stat().st_mtime > (
        state["folder"] / "run" / "1_net_G.pth"
    ).stat().st_mtime


@pytest.mark.parametrize(("patience", "last"), [("3", 2), ("4", 3), ("0", 4)])
def test_another_patience_counts_the_validations_that_there_were(
    measured: Path, go_on: Continued, patience: str, last: int
) -> None:
    state = go_on(measured, "--n_epochs", "4", "--early_stop", patience)
    assert state["progress"]["epoch"] == last + 1


# ---- all else ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cycles(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of CycleGAN, which has image pools."""
    return begun(root, tmp_path_factory.mktemp("cycles"), model="cycle_gan")


def pool_sizes(state: dict[str, Any]) -> list[list[int]]:
    pools = state["model"]["image_pools"].values()
    return [[image.shape[-1] for image in pool["images"]] for pool in pools]


@pytest.mark.parametrize(("size", "kept"), [("1", 1), ("3", 3), ("9", 4)])
def test_a_pool_of_another_size_keeps_what_fits(
    cycles: Path, go_on: Continued, size: str, kept: int
) -> None:
    assert pool_sizes(go_on(cycles, "--n_epochs", "2", "--pool_size", size)) == [[32] * kept] * 2


def test_images_of_another_size_begin_new_pools(cycles: Path, go_on: Continued) -> None:
    more = ("--n_epochs", "2", "--crop_size", "36", "--batch_size", "2")
    state = go_on(cycles, *more)
    assert pool_sizes(state) == [[36, 36]] * 2
    assert "--crop_size: image pools begin anew" in state["said"]


def test_another_seed_changes_nothing_and_that_is_said(cycles: Path, go_on: Continued) -> None:
    states = [go_on(cycles, "--n_epochs", "2", *seed) for seed in ((), ("--seed", "8"))]
    found = [outcome(state["folder"] / "run")["networks"] for state in states]
    assert differences(*found) == []
    assert "--seed 8 changes nothing" in states[1]["said"]
    assert "which began with 7." in states[1]["said"]
    assert "--seed" not in states[0]["said"]


def test_other_networks_are_refused(cycles: Path, go_on: Continued) -> None:
    with pytest.raises(UserError, match="does not fit the network"):
        go_on(cycles, "--n_epochs", "2", "--ngf", "3")


def test_another_direction_is_said(cycles: Path, go_on: Continued) -> None:
    told = "--direction BtoA: the networks have learned the other one until now."
    for direction in ("AtoB", "BtoA"):
        state = go_on(cycles, "--n_epochs", "2", "--direction", direction)
        assert (told in state["said"]) == (direction == "BtoA")
        assert state["options"]["direction"] == direction


def test_fewer_images_are_other_images(cycles: Path, go_on: Continued) -> None:
    state = go_on(cycles, "--n_epochs", "2", "--max_dataset_size", "1")
    assert "are not those of the saved run" in state["said"]
    assert state["progress"]["total_images"] == 3


def test_batches_that_wait_for_a_step_are_dropped_if_there_are_too_many(
    root: Path, tmp_path: Path, go_on: Continued
) -> None:
    source = begun(root, tmp_path / "source", "--accumulate", "3", "--max_dataset_size", "5")
    assert steps(checkpoint.load_state(source / "run" / "latest_state.pth")) == (1, 2)
    assert steps(go_on(source, "--n_epochs", "2")) == (3, 1)  # 2 + 5 batches: two steps
    assert steps(go_on(source, "--n_epochs", "2", "--accumulate", "2")) == (3, 1)  # 5 batches


def test_averages_begin_go_on_and_end(root: Path, tmp_path: Path, go_on: Continued) -> None:
    source = begun(root, tmp_path / "source", "--ema", "0.9")
    state = go_on(source, "--n_epochs", "2", "--ema", "0.99")
    assert "loading averages of G from " in state["said"]
    assert "averages of G (--ema 0.99)" in state["said"]

    ended = go_on(source, "--n_epochs", "2", "--ema", "0")
    assert "--ema 0: the run goes on without averages, and so do its saves." in ended["said"]
    assert not (ended["folder"] / "run" / "latest_net_G_ema.pth").exists()
    assert (source / "run" / "latest_net_G_ema.pth").exists()

    begun_again = go_on(ended["folder"], "--n_epochs", "3", "--ema", "0.9")
    assert "No averages of G are saved for latest: they start from" in begun_again["said"]
    assert (begun_again["folder"] / "run" / "latest_net_G_ema.pth").exists()


SCALE = 128.0


@pytest.fixture(scope="module")
def halves(root: Path, tmp_path_factory: Folders) -> Path:
    """Return a run in half precision whose scale has come down."""
    folder = begun(root, tmp_path_factory.mktemp("halves"), "--precision", "fp16")
    path = folder / "run" / "latest_state.pth"
    state = checkpoint.load_state(path)
    state["model"]["steps"]["scales"][0]["scale"] = SCALE
    save_state(state, path)
    return folder


@pytest.mark.parametrize(("precision", "scales"), [("fp16", [SCALE]), ("bf16", []), ("fp32", [])])
def test_the_scale_of_losses_is_kept_where_there_is_one(
    halves: Path, go_on: Continued, precision: str, scales: list[float]
) -> None:
    state = go_on(halves, "--n_epochs", "2", "--precision", precision)
    assert [each["scale"] for each in state["model"]["steps"]["scales"]] == scales
    assert state["progress"]["epoch"] == 3


def steps(state: dict[str, Any]) -> tuple[int, int]:
    """Return how often the first optimiser has stepped, and how many batches wait for a step."""
    model = state["model"]
    return int(model["optimizers"][0]["state"][0]["step"]), model["steps"]["waiting"][0][0]
