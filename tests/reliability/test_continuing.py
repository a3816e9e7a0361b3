"""`--continue_train`: at the right place, with one history, and what may be changed meanwhile."""

import json
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import data.pipeline.image_reader
import models.pix2pix_model
from models.optimization.schedulers import LR_POLICIES
from models.pix2pix_model import Pix2PixModel
from tests.reliability.conftest import Count
from tests.support.checkpoints import save_state
from tests.support.commands import Page, loss_lines
from tests.support.runs import (
    command,
    differences,
    draw_data,
    outcome,
    resume,
    run,
    run_until,
)
from util.base.errors import UserError
from util.display.sinks.jsonl import read_losses
from util.images.reading import read_image
from util.storage import checkpoint
from util.training.progress import Progress

pytestmark = pytest.mark.slow  # all of it together: a minute

SMALL = ("--netG", "resnet_6blocks", "--crop_size", "32", "--load_size", "36", "--val_freq", "0")
STEPS = 5  # of an epoch
WORKERS = ("0", "2")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_data(tmp_path_factory.mktemp("data"))


def small(root: Path, checkpoints: Path, *more: str, model: str = "pix2pix") -> list[str]:
    """Return the command line of three epochs of five steps each, of very small networks."""
    return command(root, checkpoints, model, *SMALL, "--num_threads", "0", *more)


def state_of(checkpoints: Path, label: str = "latest") -> dict[str, Any]:
    state: dict[str, Any] = checkpoint.load_state(checkpoints / "run" / f"{label}_state.pth")
    return state


def progress_of(checkpoints: Path) -> list[int]:
    """Return epoch, images of that epoch and steps of the last save."""
    progress = state_of(checkpoints)["progress"]
    return [progress[name] for name in ("epoch", "epoch_images", "step")]


def rate_of(checkpoints: Path) -> float:
    optimizers = state_of(checkpoints)["model"]["optimizers"]
    rates = {group["lr"] for optimizer in optimizers for group in optimizer["param_groups"]}
    assert len(rates) == 1
    return float(rates.pop())


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def half_done(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoints of a run that was stopped in epoch 2, after 3 of its 5 images."""
    checkpoints = tmp_path_factory.mktemp("half")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the tests: sums depend on it
    assert run_until(small(root, checkpoints, "--save_epoch_freq", "1"), STEPS + 3)
    torch.set_num_threads(threads)
    return checkpoints


@pytest.fixture
def stopped(half_done: Path, tmp_path: Path) -> Path:
    """Return a copy of that run."""
    shutil.copytree(half_done, tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


# ---- the place ----------------------------------------------------------------------------------


@pytest.fixture
def decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Return a function that returns the images decoded since it was called last."""
    log = tmp_path / "decoded"

    def load(path: str, channels: int) -> Any:
        with log.open("a") as file:  # workers write there too
            file.write(f"{path}\n")
        return read_image(path, channels)

    monkeypatch.setattr(data.pipeline.image_reader, "read_image", load)

    def since() -> list[str]:
        lines = log.read_text().splitlines() if log.exists() else []
        log.write_text("")
        return lines

    return since


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize(("model", "each"), [("pix2pix", 1), ("cycle_gan", 2)])
def test_images_that_were_seen_are_not_decoded_again(
    root: Path,
    tmp_path: Path,
    decoded: Callable[[], list[str]],
    model: str,
    each: int,
    workers: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = small(root, tmp_path, "--num_threads", workers, "--no_html", model=model)
    assert run_until(argv, STEPS + 3)
    before = decoded()
    capsys.readouterr()
    run(resume(tmp_path))
    after = decoded()
    assert len(after) == (2 + STEPS) * each
    if workers == "0":  # workers are ahead of what is trained
        assert len(before) == (STEPS + 3) * each
        of_epoch = before[STEPS * each :] + after[: 2 * each]
        assert len(set(of_epoch[::each])) == STEPS
    assert f"{tmp_path}/run/latest: epoch 2, image 3 (8 in all)" in capsys.readouterr().out


@pytest.mark.parametrize("step", [1, STEPS, 3 * STEPS])
def test_every_step_is_taken_once(root: Path, tmp_path: Path, step: int) -> None:
    assert run_until(small(root, tmp_path), step)
    run(resume(tmp_path))
    assert progress_of(tmp_path) == [4, 0, 3 * STEPS]
    taken = [
        (record["epoch"], record["iters"], record["total_iters"])
        for record in read_losses(tmp_path / "run" / "losses.jsonl")
    ]
    assert taken == [
        (epoch, image, (epoch - 1) * STEPS + image)
        for epoch in (1, 2, 3)
        for image in range(1, STEPS + 1)
    ]


def test_a_numbered_epoch_can_be_continued(
    root: Path, tmp_path: Path, stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(small(root, tmp_path / "whole", "--save_epoch_freq", "1"))
    capsys.readouterr()
    run(resume(stopped, "--epoch", "1"))
    said = capsys.readouterr().out
    assert "run/1: epoch 2, image 0 (5 in all)" in said
    assert [line[:2] for line in loss_lines(said)][0] == (2, 1)
    whole, found = outcome(tmp_path / "whole" / "run"), outcome(stopped / "run")
    assert found["state"]["options"].pop("epoch") == "1"
    del whole["state"]["options"]["epoch"]
    assert differences(whole, found) == []


def test_a_save_by_iteration_can_be_continued(root: Path, tmp_path: Path) -> None:
    argv = small(root, tmp_path, "--save_by_iter", "--save_latest_freq", "4")
    run(argv)
    shutil.copytree(tmp_path / "run", tmp_path / "whole")
    for path in (tmp_path / "run").glob("latest_*"):
        path.unlink()
    run(resume(tmp_path, "--load_iter", "8"))
    whole, found = outcome(tmp_path / "whole"), outcome(tmp_path / "run")
    found["state"]["options"]["load_iter"] = 0
    found["state"]["options"]["name"] = whole["state"]["options"]["name"]
    assert differences(whole, found) == []


@pytest.mark.parametrize("given", [1, 3])
def test_an_epoch_that_is_given_wins_and_is_reported(
    stopped: Path, given: int, capsys: pytest.CaptureFixture[str]
) -> None:
    run(resume(stopped, "--epoch_count", str(given)))
    said = capsys.readouterr().out
    assert f"--epoch_count {given} was given, the saved run stands in epoch 2" in said
    assert [line[:2] for line in loss_lines(said)] == [
        (epoch, image) for epoch in range(given, 4) for image in range(1, STEPS + 1)
    ]
    assert f"learning rate {rate(given):.7f} ->" in said


def test_the_epoch_it_stands_in_anyway_may_be_given(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(resume(stopped, "--epoch_count", "2"))
    said = capsys.readouterr().out
    assert "was given" not in said
    assert [line[:2] for line in loss_lines(said)][0] == (2, 4)


@pytest.mark.parametrize("more", [(), ("--epoch_count", "3")])
def test_nothing_left_to_do_is_said(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    run(small(root, tmp_path))
    networks = outcome(tmp_path / "run")["networks"]
    capsys.readouterr()
    run(resume(tmp_path))
    said = capsys.readouterr().out
    assert "Nothing left to do: epoch 3 of 3 is done" in said
    assert "--n_epochs" in said
    assert loss_lines(said) == []
    assert differences(networks, outcome(tmp_path / "run")["networks"]) == []


def test_options_that_came_later_have_their_defaults_in_earlier_saves(stopped: Path) -> None:
    """So they are not taken for changed, which would let the schedules begin anew."""
    state = state_of(stopped)
    for name in ("total_steps", "val_steps", "decay_steps"):
        del state["options"][name]
    del state["progress"]["epoch_steps"]
    save_state(state, stopped / "run" / "latest_state.pth")
    run(resume(stopped))
    assert state_of(stopped)["options"]["epoch_count"] == 1


# ---- one history --------------------------------------------------------------------------------


def test_log_page_and_records_are_those_of_one_run(root: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(small(root, whole))
    assert run_until(small(root, parts), 4)
    assert run_until(resume(parts), STEPS + 3)
    run(resume(parts))
    for checkpoints in (whole, parts):
        folder = checkpoints / "run"
        page = Page(folder / "web" / "index.html")
        headings = [text for text in page.headings if text.startswith("epoch")]
        assert headings == [f"epoch [{epoch}]" for epoch in (3, 2, 1)]
        assert len(list((folder / "web" / "images").glob("*.png"))) == 3 * 3
        log = (folder / "loss_log.txt").read_text()
        assert [line[:2] for line in loss_lines(log)] == [
            (epoch, image) for epoch in (1, 2, 3) for image in range(1, STEPS + 1)
        ]
    images = [contents(checkpoints / "run" / "web" / "images") for checkpoints in (whole, parts)]
    assert images[0].items() <= images[1].items()
    # What stays the same of the fixed images is written once by each process.
    assert all("_sample" in name and "_real_" in name for name in images[1].keys() - images[0])


def test_going_back_to_an_earlier_save_lets_the_history_begin_there(stopped: Path) -> None:
    run(resume(stopped, "--epoch", "1", "--n_epochs_decay", "1"))
    page = Page(stopped / "run" / "web" / "index.html")
    epochs = [text for text in page.headings if text.startswith("epoch")]
    assert epochs == ["epoch [2]", "epoch [1]"]
    assert len(outcome(stopped / "run")["losses"]) == 2 * STEPS


def lines_of(checkpoints: Path, name: str, *keys: str) -> list[Any]:
    """Return some values of each line of a run's log, as they stand in the file."""
    text = (checkpoints / "run" / name).read_text()
    return [[json.loads(line)[key] for key in keys] for line in text.splitlines()]


@pytest.mark.parametrize(
    "way", [("--epoch", "1"), ("--epoch_count", "2"), ("--epoch_count", "2", "networks alone")]
)
def test_whoever_goes_back_has_each_step_once(
    root: Path, tmp_path: Path, way: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    display = ("--display_id", "1", "--display_port", port)
    run(small(root, tmp_path, "--save_epoch_freq", "1", "--keep_states", "all", *display))
    if "networks alone" in way:
        for state in (tmp_path / "run").glob("*_state.pth"):
            state.unlink()
        run(small(root, tmp_path, *display, "--continue_train", *way[:2]))
    else:
        run(resume(tmp_path, *way))
    steps = [[epoch, image] for epoch in (1, 2, 3) for image in range(1, STEPS + 1)]
    assert lines_of(tmp_path, "losses.jsonl", "epoch", "iters") == steps
    assert lines_of(tmp_path, "metrics.jsonl", "epoch") == [[1], [2], [3]]
    curves = dict(state_of(tmp_path)["visualizer"]["sinks"])["VisdomSink"]
    xs = curves["x"].tolist()
    assert xs == sorted(set(xs))
    page = Page(tmp_path / "run" / "web" / "index.html")
    epochs = [text for text in page.headings if text.startswith("epoch")]
    assert epochs == sorted(set(epochs), reverse=True)


def test_the_curves_of_visdom_go_on_though_no_server_answers(root: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    display = ("--display_id", "1", "--display_port", port)
    assert run_until(small(root, tmp_path, *display), STEPS + 3)
    run(resume(tmp_path))
    curves = dict(state_of(tmp_path)["visualizer"]["sinks"])["VisdomSink"]
    assert curves["x"].tolist() == pytest.approx([1 + n / STEPS for n in range(1, 3 * STEPS + 1)])
    assert set(curves["losses"]) == {"G_GAN", "G_L1", "D_real", "D_fake"}
    assert all(bool(curve.isfinite().all()) for curve in curves["losses"].values())


def test_without_visdom_there_are_no_curves_to_keep(stopped: Path) -> None:
    assert state_of(stopped)["visualizer"]["sinks"] == []
    run(resume(stopped, "--display_id", "-1"))
    assert state_of(stopped)["visualizer"]["sinks"] == []


# ---- what is changed on the way -----------------------------------------------------------------


def rate(epoch: int, *, lr: float = 2e-4, n_epochs: int = 1, n_epochs_decay: int = 2) -> float:
    """Return the learning rate that a fresh linear schedule has in an epoch."""
    return lr * (1 - max(0, epoch - n_epochs) / (n_epochs_decay + 1))


@pytest.mark.parametrize(
    ("changed", "step"),
    [
        ({"lr": 1e-3}, STEPS + 3),
        ({"n_epochs": 3}, STEPS + 3),
        ({"n_epochs_decay": 4}, 2 * STEPS),
        ({"lr": 1e-5, "n_epochs": 2}, 2 * STEPS),
    ],
)
def test_other_rates_and_more_epochs_take_effect(
    root: Path, tmp_path: Path, changed: dict[str, float], step: int,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    epochs = {"n_epochs": 1, "n_epochs_decay": 2} | {
        name: int(value) for name, value in changed.items() if name != "lr"
    }
    assert run_until(small(root, tmp_path), step)
    moments = state_of(tmp_path)["model"]["optimizers"]
    capsys.readouterr()
    more = [word for name, value in changed.items() for word in (f"--{name}", str(value))]
    assert run_until(resume(tmp_path, *more), step + 1)
    said = capsys.readouterr().out
    last = sum(epochs.values())
    at = 2 if step < 2 * STEPS else 3
    assert rate_of(tmp_path) == pytest.approx(rate(at, lr=changed.get("lr", 2e-4), **epochs))
    for before, after in zip(moments, state_of(tmp_path)["model"]["optimizers"], strict=True):
        for name, moment in before["state"].items():
            assert after["state"][name]["step"] == moment["step"] + 1
            assert not torch.equal(after["state"][name]["exp_avg"], torch.zeros(1))
    run(resume(tmp_path))  # which need not repeat it
    said = capsys.readouterr().out
    assert progress_of(tmp_path) == [last + 1, 0, last * STEPS]
    for epoch in range(at, last):
        now, next_one = (rate(e, lr=changed.get("lr", 2e-4), **epochs) for e in (epoch, epoch + 1))
        assert f"learning rate {now:.7f} -> {next_one:.7f}" in said


@pytest.mark.slow
@pytest.mark.parametrize("policy", LR_POLICIES)
def test_a_finished_run_can_be_prolonged_under_every_policy(
    root: Path, tmp_path: Path, policy: str
) -> None:
    more = ("--lr_policy", policy, "--lr_decay_iters", "2")
    run(small(root, tmp_path / "short", *more))
    run(small(root, tmp_path / "long", *more, "--n_epochs_decay", "3"))
    run(resume(tmp_path / "short", "--n_epochs_decay", "3"))
    assert progress_of(tmp_path / "short") == [5, 0, 4 * STEPS]
    assert rate_of(tmp_path / "short") == pytest.approx(rate_of(tmp_path / "long"), abs=1e-12)


def test_moments_go_on_when_rates_change(root: Path, stopped: Path) -> None:
    """With the very rates the run has, taking the other way must end in the same bits."""
    other = stopped.parent / "other"
    shutil.copytree(stopped, other)
    run(resume(stopped))
    run(resume(other, "--lr_G", "0.0002"))  # as --lr says
    found, expected = outcome(other / "run"), outcome(stopped / "run")
    assert differences(expected["networks"], found["networks"]) == []
    assert differences(expected["losses"], found["losses"]) == []


def test_other_options_may_be_given_and_the_rest_is_taken_over(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(resume(stopped, "--batch_size", "2", "--print_freq", "2", "--num_threads", "1"))
    options = state_of(stopped)["options"]
    assert [options[name] for name in ("batch_size", "num_threads", "ngf", "netG", "seed")] == [
        2, 1, 2, "resnet_6blocks", 7
    ]  # fmt: skip
    assert progress_of(stopped)[0] == 4
    assert "Taken from" in capsys.readouterr().out


# ---- folders without a state, other networks, other images ------------------------------------


def test_networks_alone_continue_as_in_the_reference(
    root: Path, stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in [*(stopped / "run").glob("*_state.pth"), stopped / "run" / "train_opt.json"]:
        path.unlink()
    networks = outcome_networks(stopped)
    run(small(root, stopped, "--continue_train", "--epoch_count", "3"))
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if "no training state" in line]
    assert len(lines) == 1
    for word in ("optimisers", "image pools", "random numbers", "epoch 3 (--epoch_count)"):
        assert word in lines[0]
    assert [line[:2] for line in loss_lines(out)] == [(3, image) for image in range(1, STEPS + 1)]
    assert f"learning rate {rate(3):.7f} -> {0:.7f}" in out
    assert "loading the model from" in out
    assert differences(networks, outcome_networks(stopped)) != []


def outcome_networks(checkpoints: Path) -> Mapping[str, Any]:
    return {
        path.name: checkpoint.load_state(path)
        for path in (checkpoints / "run").glob("latest_net_*")
    }


@pytest.mark.parametrize("damage", ["replaced", "damaged", "other version"])
def test_a_state_that_does_not_belong_there_is_told(
    stopped: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stopped / "run"
    state = folder / "latest_state.pth"
    if damage == "replaced":
        shutil.copyfile(folder / "1_net_G.pth", folder / "latest_net_G.pth")
        run(resume(stopped))
        out = capsys.readouterr().out
        assert "saved with other networks than there are now (net_G.pth)" in out
        assert [line[:2] for line in loss_lines(out)][0] == (1, 1)
        return
    if damage == "damaged":
        state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    else:
        save_state(checkpoint.load_state(state) | {"format": 99}, state)
    with pytest.raises(UserError, match=r"latest_state\.pth"):
        run(resume(stopped))


OTHERS = [
    ("--netG", "unet_128"),
    ("--ngf", "3"),
    ("--netD", "pixel"),
    ("--norm", "instance"),
    ("--model", "cycle_gan", "--dataset_mode", "unaligned"),
]


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: other[-1])
def test_another_architecture_is_an_error_and_changes_nothing(
    stopped: Path, other: tuple[str, ...]
) -> None:
    before = contents(stopped)
    with pytest.raises(UserError, match=r"does not fit|does not exist"):
        run(resume(stopped, *other))
    assert contents(stopped) == before
    run(resume(stopped, "--n_epochs_decay", "1"))


@pytest.fixture
def own_root(root: Path, tmp_path: Path) -> Path:
    """Return a copy of the data that may be changed."""
    return Path(shutil.copytree(root, tmp_path / "own"))


def change_images(root: Path, change: str) -> int:
    """Change the images, and return how many there are now."""
    image = root / "train" / "p2.png"
    if change == "added":
        shutil.copyfile(image, root / "train" / "new.png")
    elif change == "removed":
        image.unlink()
    else:
        image.rename(image.with_name("q2.png"))
    return {"added": 6, "removed": 4, "renamed": 5}[change]


@pytest.mark.parametrize(
    ("change", "workers", "step"),
    [("added", "0", STEPS + 3), ("removed", "2", STEPS + 3), ("renamed", "0", 2 * STEPS)],
)
def test_other_images_are_noted_and_the_next_epoch_starts(
    own_root: Path, tmp_path: Path, change: str, step: int, workers: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    checkpoints = tmp_path / "checkpoints"
    assert run_until(small(own_root, checkpoints, "--num_threads", workers), step)
    count = change_images(own_root, change)
    capsys.readouterr()
    run(resume(checkpoints))
    said = capsys.readouterr().out
    assert "The images of the data set, or their order, are not those of the saved run." in said
    assert "Epoch 2 had been begun with them; the next one starts." in said
    assert [line[:2] for line in loss_lines(said)] == [(3, image) for image in range(1, count + 1)]
    assert f"learning rate {rate(3):.7f} -> {0:.7f}" in said
    assert progress_of(checkpoints) == [4, 0, step + count]


def test_other_images_before_an_epoch_cost_nothing(
    own_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = tmp_path / "checkpoints"
    assert run_until(small(own_root, checkpoints, "--save_epoch_freq", "1"), STEPS + 3)
    count = change_images(own_root, "added")
    capsys.readouterr()
    run(resume(checkpoints, "--epoch", "1"))
    said = capsys.readouterr().out
    assert "are not those of the saved run" in said
    assert "the next one starts" not in said
    assert [line[:2] for line in loss_lines(said)][:count] == [
        (2, image) for image in range(1, count + 1)
    ]


def test_data_that_has_moved_as_a_whole_is_the_same_data(
    own_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = tmp_path / "checkpoints"
    assert run_until(small(own_root, checkpoints), STEPS + 3)
    own_root.rename(tmp_path / "moved")
    capsys.readouterr()
    run(resume(checkpoints, "--dataroot", str(tmp_path / "moved")))
    assert [line[:2] for line in loss_lines(capsys.readouterr().out)][0] == (2, 4)


def test_another_order_gives_up_the_epoch_that_was_begun(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(resume(stopped, "--serial_batches"))
    said = capsys.readouterr().out
    assert "or their order, are not those" in said
    assert [line[:2] for line in loss_lines(said)][0] == (3, 1)


def test_beginning_anew_over_a_run_sets_it_aside(
    root: Path, stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(small(root, stopped))
    captured = capsys.readouterr()
    assert "held a run already. It is in " in captured.err
    assert [line[:2] for line in loss_lines(captured.out)][0] == (1, 1)
    assert progress_of(stopped) == [4, 0, 3 * STEPS]


# ---- images that go bad -----------------------------------------------------------------------


@pytest.fixture
def deletes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path, int], None]]:
    """Return a function that lets a file be moved away while a step is under way."""
    advance = Progress.advance

    def plan(path: Path, step: int) -> None:
        def advance_and_delete(self: Progress, *images: int) -> None:
            advance(self, *images)
            if self.step == step:
                path.rename(path.with_suffix(".away"))

        monkeypatch.setattr(Progress, "advance", advance_and_delete)

    yield plan
    monkeypatch.undo()


@pytest.mark.parametrize("workers", WORKERS)
def test_an_image_that_vanishes_stops_the_run_which_continues_once_it_is_back(
    own_root: Path, tmp_path: Path, workers: str, deletes: Callable[[Path, int], None], count: Count
) -> None:
    argv = ("--num_threads", workers)
    run(small(own_root, tmp_path / "whole", *argv))
    image = own_root / "train" / "p2.png"
    deletes(image, 2)
    with pytest.raises(UserError) as caught:
        run(small(own_root, tmp_path / "parts", *argv))
    assert str(image) in str(caught.value)
    assert "Continue with:\n  python train.py --name run --continue_train " in str(caught.value)
    steps = state_of(tmp_path / "parts")["progress"]["step"]
    assert steps == len(read_losses(tmp_path / "parts" / "run" / "losses.jsonl")) >= 2
    image.with_suffix(".away").rename(image)
    run(resume(tmp_path / "parts"))
    found = outcome(tmp_path / "parts" / "run")
    assert differences(outcome(tmp_path / "whole" / "run"), found) == []
    count("images deleted while training")


@pytest.mark.parametrize("workers", WORKERS)
def test_bad_images_are_passed_over_on_request_and_stops_change_nothing(
    own_root: Path, tmp_path: Path, workers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_root / "train" / "p1.png").write_bytes(b"no image")
    argv = ("--num_threads", workers, "--skip_bad_images")
    run(small(own_root, tmp_path / "whole", *argv))
    said = capsys.readouterr()
    passed = [line for line in said.err.splitlines() if "passed over" in line]
    assert len(passed) == 1
    assert "p1.png" in passed[0]
    assert run_until(small(own_root, tmp_path / "parts", *argv), 3)
    assert run_until(resume(tmp_path / "parts"), STEPS + 4)
    run(resume(tmp_path / "parts"))
    found = outcome(tmp_path / "parts" / "run")
    assert differences(outcome(tmp_path / "whole" / "run"), found) == []
    assert found["state"]["progress"]["step"] == 3 * STEPS


def test_when_no_image_can_be_used_that_is_said(own_root: Path, tmp_path: Path) -> None:
    for path in (own_root / "train").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(UserError, match="5 images in a row"):
        run(small(own_root, tmp_path, "--skip_bad_images"))


# ---- --keep_last, --seed, --deterministic -------------------------------------------------------


@pytest.mark.parametrize(("keep", "kept"), [("1", [4]), ("2", [3, 4]), ("0", [1, 2, 3, 4])])
def test_old_epochs_are_deleted_but_never_latest(
    root: Path, tmp_path: Path, keep: str, kept: list[int]
) -> None:
    more = ("--save_epoch_freq", "1", "--keep_last", keep, "--keep_states", "all")
    argv = small(root, tmp_path, *more)
    assert run_until([*argv, "--n_epochs_decay", "3"], 2 * STEPS + 2)
    run(resume(tmp_path))
    there = {path.name for path in (tmp_path / "run").glob("*.pth")}
    assert there == {
        f"{label}_{part}.pth" for label in ("latest", *kept) for part in ("net_G", "net_D", "state")
    }


def trained(root: Path, checkpoints: Path, *more: str, model: str = "cycle_gan") -> dict[str, Any]:
    """Train and return what it led to, without the options."""
    run(small(root, checkpoints, "--n_epochs_decay", "1", *more, model=model))
    found = outcome(checkpoints / "run")
    del found["state"]["options"]
    return found


@pytest.mark.slow
def test_one_seed_is_one_run(root: Path, tmp_path: Path) -> None:
    first = trained(root, tmp_path / "1", "--seed", "3")
    torch.rand(5)
    np.random.rand(3)
    assert differences(first, trained(root, tmp_path / "2", "--seed", "3")) == []
    assert differences(first["losses"], trained(root, tmp_path / "3", "--seed", "4")["losses"])


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(root: Path, tmp_path: Path) -> None:
    found = [trained(root, tmp_path / n, "--num_threads", n) for n in ("1", "2", "3")]
    assert differences(found[0], found[1]) == []
    assert differences(found[0], found[2]) == []


def test_a_seed_that_was_drawn_is_kept(root: Path, tmp_path: Path) -> None:
    argv = small(root, tmp_path)
    del argv[argv.index("--seed") : argv.index("--seed") + 2]
    assert run_until(argv, 4)
    drawn = state_of(tmp_path)["options"]["seed"]
    assert isinstance(drawn, int)
    run(resume(tmp_path))
    assert state_of(tmp_path)["options"]["seed"] == drawn
    run(small(root, tmp_path / "again", "--seed", str(drawn)))
    found = [outcome(folder / "run") for folder in (tmp_path, tmp_path / "again")]
    assert differences(found[0]["networks"], found[1]["networks"]) == []


@pytest.fixture
def _any_algorithm() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.slow
@pytest.mark.usefixtures("_any_algorithm")
@pytest.mark.parametrize("model", ["cycle_gan", "pix2pix"])
def test_deterministic_algorithms_work_on_the_cpu(root: Path, tmp_path: Path, model: str) -> None:
    expected = trained(root, tmp_path / "any", model=model)
    found = trained(root, tmp_path / "deterministic", "--deterministic", model=model)
    assert torch.are_deterministic_algorithms_enabled()
    assert differences(expected, found) == []


# ---- what plugins add ---------------------------------------------------------------------------


class ExtraModel(Pix2PixModel):
    """pix2pix that counts its steps in a way of its own."""

    steps: Any = 0

    def optimize_parameters(self) -> None:
        """Count."""
        super().optimize_parameters()
        self.steps = self.steps + 1

    def extra_state(self) -> dict[str, Any]:
        """Return the count."""
        return {"steps": self.steps}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self.steps = state["steps"]


@pytest.fixture
def extra(monkeypatch: pytest.MonkeyPatch) -> type[ExtraModel]:
    monkeypatch.setattr(models.pix2pix_model, "Pix2PixModel", ExtraModel)
    monkeypatch.setattr(ExtraModel, "steps", 0)
    return ExtraModel


@pytest.mark.parametrize("start", [0, torch.zeros(())], ids=["number", "tensor"])
def test_a_models_own_state_goes_on(
    root: Path, tmp_path: Path, extra: type[ExtraModel], start: Any
) -> None:
    extra.steps = start
    assert run_until(small(root, tmp_path), STEPS + 3)
    run(resume(tmp_path))
    assert state_of(tmp_path)["model"]["extra"]["steps"] == 3 * STEPS


def test_a_state_that_could_not_be_read_safely_is_refused_at_the_first_save(
    root: Path, tmp_path: Path, extra: type[ExtraModel]
) -> None:
    extra.steps = np.zeros(2)
    with pytest.raises(UserError, match=r"\['extra'\]\['steps'\], a ndarray"):
        run(small(root, tmp_path, "--save_latest_freq", "3"))
    assert len(read_losses(tmp_path / "run" / "losses.jsonl")) == 3
    assert not list((tmp_path / "run").glob("*.pth"))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cycle_gan", "pix2pix"])
def test_every_file_of_a_run_is_read_with_weights_only(
    root: Path, tmp_path: Path, model: str
) -> None:
    run(small(root, tmp_path, "--val_freq", "1", model=model))
    paths = list((tmp_path / "run").glob("*.pth"))
    assert len(paths) >= 2 * 3
    for path in paths:
        torch.load(path, weights_only=True)  # noqa: TID251
