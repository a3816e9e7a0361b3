"""The training state: collected by itself, saved safely, and continued bit by bit."""

import random
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models.base_model import BaseModel
from models.optimization.schedulers import LR_POLICIES
from models.storage.names import networks_of
from models.storage.state import load_pool_state, pool_state
from models.storage.trained_model import TrainedModel
from tests.support.checkpoints import save_state
from tests.support.small_models import batch, build, noise, train_options, train_step, weights
from util.base import rng
from util.base.errors import UserError
from util.image_pool import ImagePool
from util.storage import checkpoint


class OldPlugin(BaseModel):
    """Written before anybody spoke of states: two optimisers, pools under odd names."""

    def __init__(self, opt: Namespace) -> None:
        BaseModel.__init__(self, opt)
        self.loss_names = ["G"]
        self.model_names = ["G"]
        self.netG = nn.Conv2d(3, 3, 1)
        self.history = ImagePool(4)
        self.fake_pool_of_mine = ImagePool(2)
        self.optimizer_w = torch.optim.Adam([self.netG.weight], lr=opt.lr)
        self.optimizer_b = torch.optim.SGD([self.netG.bias], lr=opt.lr, momentum=0.9)
        self.optimizers.append(self.optimizer_w)
        self.optimizers.append(self.optimizer_b)

    def set_input(self, input: dict[str, Any]) -> None:
        """Take a batch."""
        self.real = input["A"]

    def forward(self) -> None:
        """Translate."""
        self.fake = self.netG(self.real)

    def optimize_parameters(self) -> None:
        """Step both optimisers directly."""
        self.forward()
        pooled = self.fake_pool_of_mine.query(self.history.query(self.fake))
        self.loss_G = (self.fake - pooled * 0.5 - self.real).square().mean()
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        self.loss_G.backward()
        for optimizer in self.optimizers:
            optimizer.step()


def old_plugin(tmp_path: Path, *more: str) -> OldPlugin:
    """Return a plugin that is ready to train."""
    opt = train_options(tmp_path, "template", *more)
    torch.manual_seed(0)
    model = OldPlugin(opt)
    model.setup(opt)
    return model


def written_and_read(state: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Return what a safe load gives back."""
    save_state(state, tmp_path / "state.pth")
    read: dict[str, Any] = checkpoint.load_state(tmp_path / "state.pth")
    return read


def continued_steps(
    tmp_path: Path, first: BaseModel, second: BaseModel, kind: str, *, steps: int = 4
) -> None:
    """Save `first` after some steps; it and `second`, continued from files, then take the same."""
    for number in range(steps):
        train_step(first, batch(kind, number, n=2))
        if number % 2:
            first.update_learning_rate()
    first.save_networks("latest")
    state = written_and_read(
        {"training": TrainedModel(first).training_state(), "rng": rng.state_dict()}, tmp_path
    )
    wanted = [train_step(first, batch(kind, 100 + n, n=2)) for n in range(steps)]

    second.load_networks("latest")
    TrainedModel(second).load_training_state(state["training"])
    rng.load_state_dict(state["rng"])
    found = [train_step(second, batch(kind, 100 + n, n=2)) for n in range(steps)]

    assert found == wanted
    reached = weights(second)
    for key, value in weights(first).items():
        assert torch.equal(reached[key], value), key


@pytest.mark.parametrize("policy", LR_POLICIES)
def test_continued_cycle_gan_takes_bit_equal_steps(policy: str, tmp_path: Path) -> None:
    more = ("--pool_size", "3", "--lr_policy", policy, "--n_epochs", "1", "--n_epochs_decay", "3")
    first = build(train_options(tmp_path, "cycle_gan", *more), seed=1)
    second = build(train_options(tmp_path, "cycle_gan", *more), seed=2)
    continued_steps(tmp_path, first, second, "cycle_gan")
    assert first.fake_A_pool.num_imgs == 3  # full, and drawing
    rates = [m.optimizers[1].param_groups[0]["lr"] for m in (first, second)]
    assert rates[0] == rates[1]


def test_continued_pix2pix_with_dropout_takes_bit_equal_steps(tmp_path: Path) -> None:
    first = build(train_options(tmp_path, "pix2pix"), seed=1)
    second = build(train_options(tmp_path, "pix2pix"), seed=2)
    assert any(isinstance(layer, nn.Dropout) for layer in networks_of(first)["G"].modules())
    continued_steps(tmp_path, first, second, "pix2pix")


def test_continued_pix2pix_with_penalty_takes_bit_equal_steps(tmp_path: Path) -> None:
    more = ("--gan_mode", "wgangp", "--norm", "instance", "--netD", "pixel")
    first = build(train_options(tmp_path, "pix2pix", *more), seed=1)
    second = build(train_options(tmp_path, "pix2pix", *more), seed=2)
    continued_steps(tmp_path, first, second, "pix2pix")


def test_continued_colorization_takes_bit_equal_steps(tmp_path: Path) -> None:
    first = build(train_options(tmp_path, "colorization"), seed=1)
    second = build(train_options(tmp_path, "colorization"), seed=2)
    continued_steps(tmp_path, first, second, "colorization")


def test_continued_old_plugin_takes_bit_equal_steps(tmp_path: Path) -> None:
    first, second = old_plugin(tmp_path), old_plugin(tmp_path)
    continued_steps(tmp_path, first, second, "template")


class TensorRates(OldPlugin):
    """Its learning rates are tensors, as CUDA graphs need them."""

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = torch.tensor(opt.lr)


@pytest.mark.parametrize("policy", LR_POLICIES)
def test_learning_rates_may_be_tensors(
    policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ("--lr_policy", policy, "--n_epochs", "1", "--n_epochs_decay", "3")
    opt = train_options(tmp_path, "template", *chosen, "--lr_decay_iters", "1")
    plain, first, second = OldPlugin(opt), TensorRates(opt), TensorRates(opt)
    for model in (plain, first, second):
        model.setup(opt)
        train_step(model, batch("template", 0))
    capsys.readouterr()
    plain.update_learning_rate()
    wanted = capsys.readouterr().out
    second.update_learning_rate()
    assert capsys.readouterr().out == wanted
    assert TrainedModel(second).learning_rates() == pytest.approx(
        TrainedModel(plain).learning_rates(), rel=1e-6
    )
    continued_steps(tmp_path, first, second, "template")
    assert TrainedModel(second).learning_rates() == TrainedModel(first).learning_rates()


def test_resumed_by_epoch_count_the_state_decides_the_rate(tmp_path: Path) -> None:
    """A state brings its own epochs: they must not be counted twice."""
    more = ("--n_epochs", "2", "--n_epochs_decay", "6")
    for policy in LR_POLICIES:
        chosen = (*more, "--lr_policy", policy, "--lr_decay_iters", "2")
        whole = old_plugin(tmp_path, *chosen)
        for _ in range(3):
            train_step(whole, batch("template", 0))
            whole.update_learning_rate()
        state = written_and_read(TrainedModel(whole).training_state(), tmp_path)
        resumed = old_plugin(tmp_path, *chosen, "--epoch_count", "4")
        TrainedModel(resumed).load_training_state(state)
        for _ in range(4):
            rates = [model.optimizers[0].param_groups[0]["lr"] for model in (whole, resumed)]
            assert rates[1] == pytest.approx(rates[0]), policy
            for model in (whole, resumed):
                train_step(model, batch("template", 0))
                model.update_learning_rate()


def test_state_of_an_old_plugin_holds_all_that_training_changes(tmp_path: Path) -> None:
    model = old_plugin(tmp_path)
    for number in range(3):
        train_step(model, batch("template", number))
    model.metric = 0.25
    state = TrainedModel(model).training_state()
    assert len(state["optimizers"]) == 2
    assert len(state["schedulers"]) == 2
    assert sorted(state["image_pools"]) == ["fake_pool_of_mine", "history"]
    assert len(state["image_pools"]["history"]["images"]) == 3
    assert state["optimizers"][0]["state"][0]["exp_avg"].shape == model.netG.weight.shape
    assert state["optimizers"][1]["state"][0]["momentum_buffer"].shape == (3,)
    assert state["metric"] == 0.25


def test_metric_may_be_a_tensor(tmp_path: Path) -> None:
    model = old_plugin(tmp_path)
    model.metric = torch.tensor(0.5)
    state = written_and_read(TrainedModel(model).training_state(), tmp_path)
    assert state["metric"] == 0.5


def test_extra_state_is_the_plugins_own(tmp_path: Path) -> None:
    class WithExtra(OldPlugin):
        def extra_state(self) -> dict[str, Any]:
            return {"centre": torch.ones(2), "names": ["x"]}

        def load_extra_state(self, state: dict[str, Any]) -> None:
            self.taken = state

    opt = train_options(tmp_path, "template")
    model = WithExtra(opt)
    model.setup(opt)
    TrainedModel(model).load_training_state(
        written_and_read(TrainedModel(model).training_state(), tmp_path)
    )
    assert torch.equal(model.taken["centre"], torch.ones(2))
    assert model.taken["names"] == ["x"]


def test_extra_state_may_be_a_list_and_needs_both_methods(tmp_path: Path) -> None:
    class WithList(OldPlugin):
        def extra_state(self) -> list[Any]:
            return [1, torch.ones(2)]

        def load_extra_state(self, state: list[Any]) -> None:
            self.taken = state

    class WithHalf(OldPlugin):
        def extra_state(self) -> object:  # something of the plugin's own
            return object()

    opt = train_options(tmp_path, "template")
    model, half = WithList(opt), WithHalf(opt)
    state = written_and_read(TrainedModel(model).training_state(), tmp_path)
    TrainedModel(model).load_training_state(state)
    assert model.taken[0] == 1
    assert TrainedModel(half).training_state()["extra"] == {}


def test_state_is_not_changed_by_later_steps_once_written(tmp_path: Path) -> None:
    model = old_plugin(tmp_path)
    train_step(model, batch("template", 0))
    state = written_and_read(TrainedModel(model).training_state(), tmp_path)
    before = state["optimizers"][0]["state"][0]["exp_avg"].clone()
    train_step(model, batch("template", 1))
    assert torch.equal(state["optimizers"][0]["state"][0]["exp_avg"], before)


# ---- states that do not fit ---------------------------------------------------------------


def test_state_with_other_optimizers_is_refused(tmp_path: Path) -> None:
    state = TrainedModel(old_plugin(tmp_path)).training_state()
    other = old_plugin(tmp_path)
    del other.optimizers[1]
    with pytest.raises(UserError, match=r"other optimizers \(2\) than this OldPlugin \(1\)"):
        TrainedModel(other).load_training_state(state)


def test_state_with_other_schedulers_is_refused(tmp_path: Path) -> None:
    state = TrainedModel(old_plugin(tmp_path)).training_state()
    other = old_plugin(tmp_path)
    del other.schedulers[1]
    with pytest.raises(UserError, match=r"other schedulers \(2\) than this OldPlugin \(1\)"):
        TrainedModel(other).load_training_state(state)


def test_state_with_other_pools_is_refused_and_nothing_is_taken(tmp_path: Path) -> None:
    saved = old_plugin(tmp_path)
    train_step(saved, batch("template", 0))
    other = old_plugin(tmp_path)
    other.new_pool = ImagePool(1)
    with pytest.raises(UserError, match="other image pools.*new_pool.*Continue with the model"):
        TrainedModel(other).load_training_state(TrainedModel(saved).training_state())
    assert not other.optimizers[0].state
    assert other.history.num_imgs == 0


def test_state_of_an_optimizer_with_other_parameters_is_refused(tmp_path: Path) -> None:
    saved = old_plugin(tmp_path)
    train_step(saved, batch("template", 0))
    other = old_plugin(tmp_path)
    other.optimizers[0] = torch.optim.Adam(other.netG.parameters())
    with pytest.raises(ValueError, match="parameter group"):
        TrainedModel(other).load_training_state(TrainedModel(saved).training_state())


# ---- pools --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 3, 5])
def test_pool_continues_with_another_size(size: int) -> None:
    random.seed(1)
    saved = ImagePool(3)
    images = noise((3, 1, 2, 2))
    saved.query(images)
    pool = ImagePool(size)
    load_pool_state(pool, pool_state(saved), torch.device("cpu"))
    assert pool.num_imgs == len(pool.images) == min(size, 3)
    for _ in range(10):
        assert pool.query(noise((2, 1, 2, 2))).shape == (2, 1, 2, 2)
    assert pool.num_imgs <= max(size, 0)
