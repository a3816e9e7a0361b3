"""`--total_steps`: where such a run ends, what happens on the way, and that it goes on exactly."""

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.reliability.conftest import Count
from tests.support.commands import draw_pairs, draw_unpaired, loss_lines
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
from util.storage import checkpoint

pytestmark = pytest.mark.slow  # all of it together: a minute

Capture = pytest.CaptureFixture[str]

SMALL = ("--netG", "resnet_6blocks", "--crop_size", "32", "--load_size", "36")
TOTAL, OF_EPOCH = 13, 4  # steps, so that the last epoch has one
LR = 2e-4


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = draw_data(tmp_path_factory.mktemp("data"))
    draw_pairs(root, "val", 1)
    draw_unpaired(root, "val", 1, 1)
    return root


def in_steps(root: Path, folder: Path, model: str, *more: str, total: int = TOTAL) -> list[str]:
    """Return the command line of a run in steps, over 5 images in batches of 2."""
    counted = ("--total_steps", str(total), "--val_steps", str(OF_EPOCH))
    # An epoch's end that is made up for has no images of a step to show, if none were shown before.
    shown = ("--display_freq", "1")
    return command(root, folder, model, *SMALL, "--batch_size", "2", *counted, *shown, *more)


def state_of(folder: Path, label: str = "latest") -> dict[str, Any]:
    state: dict[str, Any] = checkpoint.load_state(folder / "run" / f"{label}_state.pth")
    return state


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    """Return what each epoch has left in `metrics.jsonl`."""
    text = (folder / "run" / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def share(step: int, total: int = TOTAL, decay: int = TOTAL // 2) -> float:
    """Return what `--lr_policy linear` leaves of the rate in a step."""
    return 1 - max(0, step - (total - decay)) / (decay + 1)


@pytest.fixture(scope="module", params=some(["pix2pix", "cycle_gan"]))
def whole(request: Any, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoints of a run that was not stopped."""
    folder = tmp_path_factory.mktemp("whole")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the tests
    run(in_steps(root, folder, request.param, "--num_threads", "0"))
    torch.set_num_threads(threads)
    return folder


def test_it_ends_after_exactly_these_steps_with_an_epoch_every_few(whole: Path) -> None:
    progress = state_of(whole)["progress"]
    assert (progress["step"], progress["epoch"], progress["epoch_steps"]) == (TOTAL, 5, 0)
    records = metrics_of(whole)
    assert [record["epoch"] for record in records] == [1, 2, 3, 4]
    assert [record["total_iters"] for record in records] == [8, 16, 24, 26]
    assert all(record["val_images"] == 1 for record in records)
    saved = sorted(path.name for path in (whole / "run").glob("[0-9]_state.pth"))
    assert saved == ["2_state.pth", "4_state.pth"]  # --save_epoch_freq 2


def test_rates_fall_with_the_steps(whole: Path) -> None:
    for record, steps in zip(metrics_of(whole), (4, 8, 12, 13), strict=True):
        wanted = LR * share(steps + 1)  # of the step that comes next
        assert list(record["lr"].values()) == [pytest.approx(wanted, abs=1e-12)] * 2


def test_batches_come_pass_after_pass(whole: Path) -> None:
    """13 batches are 4 passes of 3, and one more."""
    data = state_of(whole)["data"]
    assert (data["epoch"], data["items"]) == (5, 2)
    losses = outcome(whole / "run")["losses"]
    images = [(epoch, 2 * step) for epoch in (1, 2, 3) for step in range(1, 5)] + [(4, 2)]
    assert [(epoch, iters) for epoch, iters, _, _ in losses] == images


def test_what_is_left_to_do_is_said_in_steps(whole: Path, tmp_path: Path, capsys: Capture) -> None:
    shutil.copytree(whole, tmp_path / "copy")
    run(resume(tmp_path / "copy"))
    said = capsys.readouterr()
    assert "Nothing left to do: step 13 of 13 is done. To go on, raise --total_steps." in said.out
    run(resume(tmp_path / "copy", "--total_steps", "16"))
    said = capsys.readouterr()
    assert "5 images batches of 2 in 16 steps, 4 to an epoch, from " in said.err
    assert "latest: step 13 of 16, epoch 5, image 0 (26 in all)" in said.out
    assert [line[:2] for line in loss_lines(said.out)] == [(5, 2), (5, 4), (5, 6)]
    assert "End of epoch 5 / 5 " in said.out
    state = state_of(tmp_path / "copy")
    assert state["progress"]["step"] == 16
    assert (state["data"]["epoch"], state["data"]["items"]) == (6, 2)
    assert f"learning rate {LR * share(14, 16, 8):.7f} -> 0.0000000" in said.out


# ---- stops ---------------------------------------------------------------------------------------

VARIANTS = [
    ("--num_threads", workers, "--val_steps", val_steps, *more)
    for workers in ("0", "2")
    for val_steps in ("0", "2", "4", "50")
    for more in (
        (),
        ("--lr_policy", "cosine", "--accumulate", "2"),
        ("--lr_policy", "step", "--lr_decay_iters", "3", "--batch_size", "1"),
        ("--lr_policy", "plateau", "--serial_batches"),
    )
]


@pytest.fixture(scope="module")
def undisturbed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Return a function that trains in one go and returns what is left; once for each command."""

    @functools.cache
    def train(model: str, total: int, *more: str) -> dict[str, Any]:
        checkpoints = tmp_path_factory.mktemp("undisturbed")
        run(in_steps(root, checkpoints, model, *more, total=total))
        return outcome(checkpoints / "run")

    return train


@pytest.mark.parametrize("model", some(["pix2pix", "cycle_gan"]))
@given(data=st.data())
@settings(
    max_examples=60 if LONG else 2,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a smaller example takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_run_in_steps_that_is_stopped_anywhere_ends_as_one_that_is_not(
    model: str,
    root: Path,
    undisturbed: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
    count: Count,
    data: st.DataObject,
) -> None:
    more = data.draw(st.sampled_from(VARIANTS))
    total = TOTAL if LONG else 8
    stops = data.draw(st.lists(st.integers(1, total), min_size=1, max_size=3, unique=True))
    checkpoints = tmp_path_factory.mktemp("stopped")
    argv = in_steps(root, checkpoints, model, *more, total=total)
    for stop in sorted(stops):
        assert run_until(argv, stop)
        count("stops tried")
        argv = resume(checkpoints)
    run(argv)
    assert differences(undisturbed(model, total, *more), outcome(checkpoints / "run")) == []
    shutil.rmtree(checkpoints)


# ---- what is changed on the way ------------------------------------------------------------------


@pytest.fixture(scope="module")
def half_done(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoints of a run that was stopped after 6 steps: in epoch 2, and in pass 2."""
    folder = tmp_path_factory.mktemp("half")
    more = ("--num_threads", "0", "--val_freq", "0", "--save_epoch_freq", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the tests
    assert run_until(in_steps(root, folder, "pix2pix", *more), 6)
    torch.set_num_threads(threads)
    return folder


@pytest.fixture
def stopped(half_done: Path, tmp_path: Path) -> Path:
    """Return a copy of that run."""
    shutil.copytree(half_done, tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        (("--total_steps", "15"), lambda step: share(step, 15, 7)),
        (("--decay_steps", "9"), lambda step: share(step, 13, 9)),
        (("--lr_policy", "step", "--lr_decay_iters", "3"), lambda step: 0.1 ** ((step - 1) // 3)),
    ],
    ids=lambda more: " ".join(more) if isinstance(more, tuple) else "",
)
def test_other_options_of_the_rate_count_from_the_step_where_the_run_stands(
    stopped: Path, more: tuple[str, ...], wanted: Callable[[int], float]
) -> None:
    for argv, stop in ((resume(stopped, *more), 7), (resume(stopped), 9)):
        assert run_until(argv, stop)
        groups = [each["param_groups"][0] for each in state_of(stopped)["model"]["optimizers"]]
        next_one = pytest.approx(LR * wanted(stop + 1))
        assert [group["lr"] for group in groups] == [next_one] * 2


def test_a_signal_in_the_last_step_of_an_epoch_stops_the_run_before_its_end(stopped: Path) -> None:
    assert run_until(resume(stopped, "--no_html"), 8)
    progress = state_of(stopped)["progress"]
    assert (progress["epoch"], progress["epoch_steps"], progress["step"]) == (2, 4, 8)
    assert [record["epoch"] for record in metrics_of(stopped)] == [1]


def test_an_epoch_may_get_another_length(stopped: Path) -> None:
    run(resume(stopped, "--val_steps", "3"))
    assert [record["total_iters"] for record in metrics_of(stopped)] == [8, 14, 20, 26]


def test_fewer_steps_than_were_taken_end_the_epoch_that_was_begun(stopped: Path) -> None:
    run(resume(stopped, "--total_steps", "5"))
    assert [record["total_iters"] for record in metrics_of(stopped)] == [8, 12]
    assert state_of(stopped)["progress"]["step"] == 6


def test_other_images_begin_the_data_and_an_epoch_anew(stopped: Path, capsys: Capture) -> None:
    run(resume(stopped, "--max_dataset_size", "3"))
    assert "are not those of the saved run" in capsys.readouterr().out
    progress = state_of(stopped)["progress"]
    assert (progress["step"], progress["epoch"]) == (TOTAL, 5)


def test_networks_alone_begin_with_the_first_step(
    root: Path, stopped: Path, capsys: Capture
) -> None:
    for state in (stopped / "run").glob("*_state.pth"):
        state.unlink()
    more = ("--num_threads", "0", "--val_freq", "0", "--continue_train")
    run(in_steps(root, stopped, "pix2pix", *more, total=3))
    assert "begin anew, the learning rate as in step 1." in capsys.readouterr().out
    assert state_of(stopped)["progress"]["step"] == 3


def test_a_run_in_steps_goes_on_in_epochs_and_back(stopped: Path, capsys: Capture) -> None:
    run(resume(stopped, "--n_epochs", "3", "--n_epochs_decay", "1"))
    said = capsys.readouterr().out
    assert "--n_epochs 3 counts the run in epochs, in the place of --total_steps 13" in said
    progress = state_of(stopped)["progress"]
    # Epoch 2 had 4 of 5 images; two more epochs have 3 steps each.
    assert (progress["epoch"], progress["step"]) == (5, 6 + 1 + 3 + 3)
    assert f"learning rate {LR:.7f} -> {LR / 2:.7f}" in said
    run(resume(stopped, "--total_steps", "20"))
    progress = state_of(stopped)["progress"]
    assert (progress["epoch"], progress["step"]) == (7, 20)
