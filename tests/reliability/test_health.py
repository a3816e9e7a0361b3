"""Numbers that are no longer finite: noticed in time, never saved, and what is done about them."""

import json
import math
import re
import signal
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import models.pix2pix_model
from models.base_model import BaseModel
from models.optimization.step import Optimization
from models.pix2pix_model import Pix2PixModel
from models.storage.names import networks_of
from models.storage.trained_model import TrainedModel
from tests.reliability.conftest import Count
from tests.support.commands import loss_lines
from tests.support.runs import command, draw_data, resume, run, signal_at
from tests.support.small_models import batch, build, train_options
from util.display.sinks.jsonl import continued, read_losses
from util.storage import checkpoint
from util.training.health import (
    HealthMonitor,
    NonFiniteDetector,
    NonFiniteError,
    StuckTrainingHints,
)
from util.training.meters import LossMeter
from util.training.progress import Progress

STEPS = 5  # of an epoch
NAN = float("nan")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_data(tmp_path_factory.mktemp("data"))


def small(root: Path, checkpoints: Path, *more: str) -> list[str]:
    argv = ["--netG", "resnet_6blocks", "--crop_size", "32", "--load_size", "36", "--num_threads"]
    return command(root, checkpoints, "pix2pix", *argv, "0", "--val_freq", "0", *more)


class SickModel(Pix2PixModel):
    """pix2pix in which something goes wrong at certain calls."""

    calls = 0
    losses_at: frozenset[int] = frozenset()  # calls after which a loss is nan, the weights not
    weights_at: frozenset[int] = frozenset()  # calls that give the generator infinite gradients

    def backward_G(self) -> None:
        """Go wrong now and then."""
        super().backward_G()
        SickModel.calls += 1
        if SickModel.calls in self.losses_at:
            self.loss_G_L1 = self.loss_G_L1 * NAN
        if SickModel.calls in self.weights_at:
            next(iter(self.netG.parameters())).grad.fill_(math.inf)  # type: ignore[union-attr]


Sick = type[SickModel]


@pytest.fixture
def sick(monkeypatch: pytest.MonkeyPatch) -> Sick:
    """Let `--model pix2pix` be sick, at calls that the test may set."""
    monkeypatch.setattr(models.pix2pix_model, "Pix2PixModel", SickModel)
    for name, value in (("calls", 0), ("losses_at", frozenset()), ("weights_at", frozenset())):
        monkeypatch.setattr(SickModel, name, value)
    return SickModel


def assert_good_save(checkpoints: Path, label: str = "latest") -> dict[str, Any]:
    """Return a save's progress, after a look at all its numbers."""
    folder = checkpoints / "run"
    state = checkpoint.load_state(folder / f"{label}_state.pth")
    networks = [checkpoint.load_state(path) for path in folder.glob(f"{label}_net_*.pth")]
    for tensor in tensors_in([state["model"], state["epoch_loss"], networks]):
        assert not tensor.is_floating_point() or bool(tensor.isfinite().all())
    progress: dict[str, Any] = state["progress"]
    return progress


def tensors_in(nest: Any) -> Iterator[Tensor]:
    if isinstance(nest, Tensor):
        yield nest
    elif isinstance(nest, dict):
        for value in nest.values():
            yield from tensors_in(value)
    elif isinstance(nest, list | tuple):
        for value in nest:
            yield from tensors_in(value)


# ---- stopping -----------------------------------------------------------------------------------


def test_losses_that_are_not_finite_stop_the_run_before_they_are_saved(
    root: Path, tmp_path: Path, sick: Sick, count: Count
) -> None:
    sick.losses_at = frozenset({STEPS + 2})
    argv = small(root, tmp_path, "--save_latest_freq", "4", "--print_freq", "4")
    with pytest.raises(NonFiniteError) as caught:
        run(argv)
    message = str(caught.value)
    assert f"no longer finite since step {STEPS + 2} " in message
    assert "epoch 2, image 3 (8 in all)" in message  # when it was looked at
    assert re.search(r"G_GAN \d", message)
    assert "The bad state was not saved" in message
    assert "--lr" in message
    assert "--on_nan rollback" in message
    images = [Path(line.strip()) for line in message.splitlines() if line.endswith(".png")]
    assert len(images) == 2  # of the steps 6 and 7; the end of an epoch looks as well
    assert all(path.is_file() for path in images)
    assert assert_good_save(tmp_path)["step"] == 4
    count("non-finite runs tried")


@pytest.mark.parametrize("step", [4, STEPS, 2 * STEPS])
def test_weights_that_are_not_finite_are_not_saved(
    root: Path, tmp_path: Path, sick: Sick, step: int, count: Count
) -> None:
    """They break in the very step after which they would be saved; the losses know nothing yet."""
    sick.weights_at = frozenset({step})
    more = ("--save_latest_freq", "2", "--save_epoch_freq", "1")
    with pytest.raises(NonFiniteError, match="The weights of G are no longer finite") as caught:
        run(small(root, tmp_path, *more))
    assert f"({step} in all)" in str(caught.value)
    assert assert_good_save(tmp_path)["step"] < step
    run(resume(tmp_path))
    assert assert_good_save(tmp_path)["step"] == 3 * STEPS
    count("non-finite runs tried")


def test_a_signal_saves_nothing_that_is_bad(root: Path, tmp_path: Path, sick: Sick) -> None:
    sick.weights_at = frozenset({4})
    argv = small(root, tmp_path, "--save_latest_freq", "3")
    with signal_at(4, signal.SIGTERM), pytest.raises(NonFiniteError):
        run(argv)
    assert assert_good_save(tmp_path)["step"] == 3


def test_a_loss_that_is_finite_again_is_still_told(root: Path, tmp_path: Path, sick: Sick) -> None:
    sick.losses_at = frozenset({2})
    with pytest.raises(NonFiniteError, match="since step 2 "):
        run(small(root, tmp_path, "--print_freq", "9"))
    assert not list((tmp_path / "run").glob("*.pth"))


# ---- going back ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["losses_at", "weights_at"])
def test_going_back_to_the_last_save_and_on(
    root: Path, tmp_path: Path, sick: Sick, kind: str, count: Count,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    setattr(sick, kind, frozenset({STEPS + 2}))
    run(small(root, tmp_path, "--save_latest_freq", "3", "--on_nan", "rollback"))
    captured = capsys.readouterr()
    assert captured.err.count("no longer finite") == 1
    assert assert_good_save(tmp_path)["step"] == 3 * STEPS
    assert loss_lines(captured.out)[-1][:2] == (3, STEPS)
    assert ": nan" not in captured.out
    losses = continued(read_losses(tmp_path / "run" / "losses.jsonl"))
    assert all(math.isfinite(x) for record in losses for x in record["losses"].values())
    count("non-finite runs tried")


def test_averages_go_back_with_the_networks(root: Path, tmp_path: Path, sick: Sick) -> None:
    sick.weights_at = frozenset({STEPS + 2})
    run(small(root, tmp_path, "--save_latest_freq", "3", "--on_nan", "rollback", "--ema", "0.5"))
    assert (tmp_path / "run" / "latest_net_G_ema.pth").is_file()
    assert assert_good_save(tmp_path)["step"] == 3 * STEPS  # of all files of networks


def test_going_back_at_the_end_of_an_epoch_skips_its_save(
    root: Path, tmp_path: Path, sick: Sick
) -> None:
    sick.weights_at = frozenset({2 * STEPS})
    run(small(root, tmp_path, "--save_latest_freq", "4", "--on_nan", "rollback"))
    assert assert_good_save(tmp_path)["step"] == 3 * STEPS
    assert not (tmp_path / "run" / "2_state.pth").exists()


def test_an_epoch_that_was_taken_back_steps_no_plateau(
    root: Path, tmp_path: Path, sick: Sick
) -> None:
    sick.weights_at = frozenset({STEPS})
    policy = ("--lr_policy", "plateau")
    run(small(root, tmp_path, "--save_latest_freq", "4", "--on_nan", "rollback", *policy))
    state = checkpoint.load_state(tmp_path / "run" / "latest_state.pth")
    schedule = state["model"]["schedulers"][0]
    assert schedule["last_epoch"] == 2
    assert schedule["best"] > 0


def test_means_of_an_epoch_forget_what_was_taken_back(
    root: Path, tmp_path: Path, sick: Sick
) -> None:
    sick.losses_at = frozenset({STEPS + 2})
    run(small(root, tmp_path, "--save_latest_freq", "3", "--on_nan", "rollback"))
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 3
    for line in lines:
        assert all(x is not None and math.isfinite(x) for x in json.loads(line)["train"].values())


def test_without_a_save_there_is_nothing_to_go_back_to(
    root: Path, tmp_path: Path, sick: Sick
) -> None:
    sick.losses_at = frozenset({2})
    with pytest.raises(NonFiniteError, match=r"Going back does not help: no save to go back to\."):
        run(small(root, tmp_path, "--on_nan", "rollback"))


def test_a_continued_run_goes_back_to_the_save_it_began_with(
    root: Path, tmp_path: Path, sick: Sick
) -> None:
    sick.losses_at = frozenset({STEPS + 2})
    with pytest.raises(NonFiniteError):
        run(small(root, tmp_path, "--save_latest_freq", "4"))
    run(resume(tmp_path, "--on_nan", "rollback", "--save_latest_freq", "100"))
    assert sick.calls == STEPS + 2 + 3 * STEPS - 4
    sick.losses_at = frozenset({sick.calls + 2})
    run(resume(tmp_path, "--n_epochs", "2"))
    assert assert_good_save(tmp_path)["step"] == 4 * STEPS


def test_going_back_is_given_up_after_several_times(
    root: Path, tmp_path: Path, sick: Sick, capsys: pytest.CaptureFixture[str]
) -> None:
    sick.losses_at = frozenset(range(4, 1000))
    with pytest.raises(NonFiniteError, match="it went wrong 3 times after the same save"):
        run(small(root, tmp_path, "--save_latest_freq", "3", "--on_nan", "rollback"))
    assert sick.calls == 3 + 4
    assert capsys.readouterr().err.count("no longer finite") == 3
    assert assert_good_save(tmp_path)["step"] == 3


def test_each_save_gets_its_own_chances(root: Path, tmp_path: Path, sick: Sick) -> None:
    sick.losses_at = frozenset(range(1, 200)) - frozenset({1, 2, 3, 6, 9, 12})
    more = ("--save_latest_freq", "3", "--on_nan", "rollback", "--print_freq", "3")
    run(small(root, tmp_path, *more, "--n_epochs", "1", "--n_epochs_decay", "0", "--lr", "0"))
    assert assert_good_save(tmp_path)["step"] == 3


# ---- without waiting for the device -------------------------------------------------------------

WAITING = ("item", "tolist", "cpu", "numpy", "__float__", "__int__", "__bool__", "__index__")


class Watcher(TorchDispatchMode):
    """Notes whatever makes the host wait for the device: the ways to fetch a number from there."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.paused = False

    def note(self, name: str) -> None:
        if not self.paused:
            self.seen.append(name)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Note operators that fetch."""
        name = str(func)
        if "_local_scalar_dense" in name or "is_nonzero" in name or "nonzero" in name:
            self.note(name)
        return func(*args, **(kwargs or {}))

    def wrap(self, name: str) -> Callable[..., Any]:
        original = getattr(Tensor, name)

        def call(tensor: Tensor, *arguments: Any, **keywords: Any) -> Any:
            self.note(name)
            return original(tensor, *arguments, **keywords)

        return call


@contextmanager
def watched(patch: pytest.MonkeyPatch) -> Iterator[Watcher]:
    """Watch a block; not the optimisers, which count their steps on the host."""
    watcher = Watcher()
    step = Optimization.step

    def unwatched_step(*arguments: Any) -> None:
        watcher.paused = True
        step(*arguments)
        watcher.paused = False

    with patch.context() as inner:
        inner.setattr(Optimization, "step", unwatched_step)
        for name in WAITING:
            inner.setattr(Tensor, name, watcher.wrap(name))
        with watcher:
            yield watcher


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("cycle_gan", ()),
        ("cycle_gan", ("--pool_size", "2", "--lambda_identity", "0")),
        ("pix2pix", ()),
        ("pix2pix", ("--gan_mode", "wgangp", "--norm", "instance", "--netD", "pixel")),
    ],
)
def test_a_step_does_not_wait_for_the_device(
    name: str, more: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(train_options(tmp_path, name, *more))
    trained, progress, meter = TrainedModel(model), Progress(), LossMeter()
    health = HealthMonitor(trained, Namespace(), progress, meter, "stop")  # type: ignore[arg-type]
    model.set_input(batch(name, 0))
    model.optimize_parameters()  # what is made once
    with watched(monkeypatch) as watcher:
        for number in range(3):
            model.set_input(batch(name, number))
            model.optimize_parameters()
            names, values = trained.loss_vector()
            meter.add(names, values)
            progress.advance(1)
            health.after_step(values)
        assert watcher.seen == []
        assert health.losses_are_fine()
    assert watcher.seen != []  # which shows that it sees


# ---- the watch by itself ------------------------------------------------------------------------


class Losses:
    """A model of which only the losses are known."""

    def __init__(self) -> None:
        self.model = self
        self.broken: list[str] = []

    def broken_networks(self) -> list[str]:
        return self.broken

    def current_losses(self) -> dict[str, float]:
        return {"G": NAN, "D": 0.25}

    def get_image_paths(self) -> list[str]:
        return [f"{self.step}.png"]

    step = 0


@given(
    finite=st.lists(st.booleans(), min_size=1, max_size=30),
    looks=st.sets(st.integers(0, 29)),
    bad=st.sampled_from([NAN, math.inf, -math.inf]),
)
def test_the_first_bad_step_is_told_at_the_next_look(
    finite: list[bool], looks: set[int], bad: float
) -> None:
    model: Any = Losses()
    progress = Progress()
    detector = NonFiniteDetector(model)
    first_bad = None
    for number, good in enumerate(finite, 1):
        progress.advance(1)
        model.step = number
        detector.after_step(progress, torch.tensor([1.0, 2.0 if good else bad]))
        first_bad = first_bad or (None if good else number)
        if number not in looks:
            continue
        if first_bad is None:
            detector.check(progress)
            continue
        with pytest.raises(NonFiniteError, match=f"since step {first_bad} ") as caught:
            detector.check(progress)
        assert f"\n    {first_bad}.png" in str(caught.value)
        assert f"\n    {first_bad + 1}.png" not in str(caught.value)
        first_bad = None  # told once


def test_a_watch_that_has_seen_nothing_complains_of_nothing() -> None:
    model: Any = Losses()
    NonFiniteDetector(model).check(Progress())
    NonFiniteDetector(model).check_weights(Progress())


def test_broken_weights_are_named() -> None:
    model: Any = Losses()
    model.broken = ["D", "G_A"]
    with pytest.raises(NonFiniteError, match="The weights of D, G_A are no longer finite"):
        NonFiniteDetector(model).check_weights(Progress())


@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
@pytest.mark.parametrize("kind", [float, torch.tensor, lambda x: torch.tensor(x).half()])
def test_every_kind_of_loss_is_looked_at(
    bad: float, kind: Callable[[float], Any], tmp_path: Path
) -> None:
    model = build(train_options(tmp_path, "pix2pix"))
    for name in model.loss_names:
        setattr(model, f"loss_{name}", torch.tensor(1.0))
    assert are_fine(model)
    vars(model)["loss_G_L1"] = kind(bad)
    assert not are_fine(model)
    delattr(model, "loss_G_L1")  # plugins may compute a loss at times only
    assert are_fine(model)


def are_fine(model: BaseModel) -> bool:
    trained = TrainedModel(model)
    detector = NonFiniteDetector(trained)
    detector.after_step(Progress(step=1), trained.loss_vector()[1])
    try:
        detector.check(Progress(step=1))
    except NonFiniteError:
        return False
    return True


def test_statistics_of_batch_norm_count_as_weights(tmp_path: Path) -> None:
    model = build(train_options(tmp_path, "pix2pix"))
    assert TrainedModel(model).broken_networks() == []
    buffers = dict(networks_of(model)["D"].named_buffers())
    next(value for key, value in buffers.items() if key.endswith("running_var"))[0] = math.inf
    assert TrainedModel(model).broken_networks() == ["D"]


# ---- advice -------------------------------------------------------------------------------------


def advised(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]


def test_a_discriminator_that_stays_at_zero_is_pointed_out_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hints = StuckTrainingHints()
    for _ in range(9):
        hints.advise_on_losses({"D_A": 0.0001, "G_A": 0.0, "D_B": 0.3})
    assert advised(capsys) == []
    hints.advise_on_losses({"D_A": -0.0001, "G_A": 0.0, "D_B": 0.3})
    (line,) = advised(capsys)
    assert "D_A has been 0.000 10 times in a row" in line
    for _ in range(30):
        hints.advise_on_losses({"D_A": 0.0, "G_A": 0.0, "D_B": 0.3})
    assert advised(capsys) == []
    for _ in range(10):
        hints.advise_on_losses({"D_B": 0.0})
    assert len(advised(capsys)) == 1


def test_zero_now_and_then_means_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    hints = StuckTrainingHints()
    for number in range(60):
        hints.advise_on_losses({"D": 0.5 if number % 9 == 0 else 0.0})
    assert advised(capsys) == []


FLAT = torch.full((1, 3, 4, 4), 0.25)


def test_an_output_of_one_colour_is_pointed_out_once(capsys: pytest.CaptureFixture[str]) -> None:
    hints = StuckTrainingHints()
    for _ in range(3):
        hints.advise_on_images({"fake_B": FLAT + torch.arange(3.0).view(1, 3, 1, 1) / 4})
    (line,) = advised(capsys)
    assert "fake_B is of one colour" in line
    hints.advise_on_images({"fake_A": FLAT.requires_grad_()})
    assert len(advised(capsys)) == 1


@pytest.mark.parametrize(
    "visuals",
    [
        {"real_A": FLAT},
        {"fake_B": torch.linspace(-1, 1, 48).view(1, 3, 4, 4)},
        {"fake_B": torch.cat([FLAT, torch.linspace(-1, 1, 48).view(1, 3, 4, 4)])},
        {"fake_B": torch.zeros(1, 3, 1, 1)},
        {"fake_B_rgb": "no tensor"},
    ],
)
def test_other_images_are_left_in_peace(
    visuals: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    StuckTrainingHints().advise_on_images(visuals)
    assert advised(capsys) == []


def test_training_gives_the_advice(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Pix2PixModel.forward

    def flat(self: Pix2PixModel) -> None:
        forward(self)
        self.fake_B = self.fake_B * 0

    monkeypatch.setattr(Pix2PixModel, "forward", flat)
    run(small(root, tmp_path, "--n_epochs_decay", "0", "--display_freq", "2"))
    assert len([line for line in advised(capsys) if "fake_B is of one colour" in line]) == 1
