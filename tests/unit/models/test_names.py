"""Plugins may use our names for things of their own: they train as ever.

The original's names are taken; whatever else our code looks up on a model may mean anything there.
"""

import re
from abc import ABC
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models import find_model_using_name
from models.base_model import BaseModel
from models.storage.trained_model import TrainedModel
from options.train_options import TrainOptions
from tests.golden.test_public_api import CALLS
from tests.support.paths import ROOT
from tests.support.small_models import batch, doubled, to_double, train_options
from tests.support.tiers import LONG, some
from util.base.plugins import declares

METHODS = {
    name.removeprefix("models.base_model:BaseModel.")
    for name in CALLS
    if name.startswith("models.base_model:BaseModel.")
}
ATTRIBUTES = {
    *("opt", "gpu_ids", "isTrain", "device", "save_dir", "loss_names", "model_names"),
    *("visual_names", "optimizers", "schedulers", "image_paths", "metric"),
}
# What forks call things of theirs; most of it were names of ours once.
OTHERS = {
    *("step", "speed", "judge", "backward", "generator_loss", "learning_rates", "device_batch"),
    *("net", "clear_gradients", "both_sides", "save_files", "training_state", "losses_on_device"),
    *("begin_batch", "networks", "loss_vector", "accumulation", "precision", "step_ways", "epochs"),
}


class OwnModel(BaseModel):
    """A model that knows the original's names alone."""

    def __init__(self, opt: Namespace) -> None:
        BaseModel.__init__(self, opt)
        self.loss_names = ["G"]
        self.visual_names = ["fake_B"]
        self.model_names = ["G"]
        self.netG = nn.Conv2d(3, 3, 1)
        self.optimizer = torch.optim.Adam(self.netG.parameters(), lr=opt.lr)
        self.optimizers.append(self.optimizer)

    def set_input(self, input: dict[str, Any]) -> None:
        self.real_A, self.image_paths = input["A"], input["A_paths"]

    def forward(self) -> None:
        self.fake_B = self.netG(self.real_A)

    def optimize_parameters(self) -> None:
        self.forward()
        self.optimizer.zero_grad()
        self.loss_G = (self.fake_B - self.real_A).abs().mean()
        self.loss_G.backward()
        self.optimizer.step()


MODELS = ("cycle_gan", "pix2pix", "colorization", "template", "own")


def hooks() -> set[str]:
    """Return the names that our code looks up on a model's class."""
    files = [ROOT / "test.py", ROOT / "train.py"]
    files += [
        file for room in ("models", "util", "options") for file in (ROOT / room).rglob("*.py")
    ]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    found = re.findall(
        r'\b(?:own_method|_answer|declares)\(\s*(?:[^"()]|\([^"()]*\))*"(\w+)"', text
    )
    return set(found)


def parsed() -> Namespace:
    """Return options without writing them down."""
    opt = TrainOptions().gather_options(["--dataroot", "X", "--model", "template"])
    opt.isTrain, opt.gpu_ids = True, []
    return opt


def new_names() -> list[str]:
    """Return what is looked up on a model beyond the original's surface."""
    attributes = set(vars(OwnModel(parsed()))) - {"netG", "optimizer"}
    names = set(dir(BaseModel)) - set(dir(ABC)) - {"__abstractmethods__", "_abc_impl"}
    names = {name for name in names if not name.startswith("__")}
    return sorted((names | attributes | hooks() | OTHERS) - METHODS - ATTRIBUTES)


def without_arguments(self: object) -> str:
    """Return what no hook returns."""
    return "mine"


def with_two(self: object, one: object, two: object) -> str:
    """Return what no hook returns."""
    return "mine"


MEANINGS: dict[str, object] = {"int": 3, "no arguments": without_arguments, "two": with_two}


def class_of(kind: str) -> type[BaseModel]:
    """Return a built-in class, or that of the plugin above."""
    return OwnModel if kind == "own" else find_model_using_name(kind)


def all_of_training(
    own: type[BaseModel], kind: str, folder: Path
) -> tuple[dict[str, float], list[str]]:
    """Do all that a run does with a model, and return the losses of its steps."""
    opt = train_options(folder, "template" if kind == "own" else kind)
    torch.manual_seed(0)
    model = own(opt)
    model.setup(opt)
    to_double(model)  # a subclass of CycleGAN computes in another order
    training = TrainedModel(model)
    losses: dict[str, float] = {}
    for number in range(2):
        training.begin_batch()
        training.model.set_input(doubled(batch(kind, number)))
        training.model.optimize_parameters()
        names, values = training.loss_vector()
        for name, value in zip(names, values.tolist(), strict=True):
            losses[f"{name} {number}"] = value
        training.model.update_learning_rate()
    assert training.broken_networks() == []
    training.model.compute_visuals()
    state = training.training_state()
    files = training.save_networks("latest")
    model.save_networks("latest")
    assert all(file.exists() for file in files)
    training.model.load_networks("latest")
    training.load_training_state(state)
    with training.without_trace(evaluation=True):
        training.model.set_input(doubled(batch(kind, 5)))
        training.model.forward()
        found = [training.validation_losses(), training.validation_pairs()]
        training.validation_sets()
        assert all(isinstance(answer, dict) for answer in found)
    return losses, sorted(file.name for file in files)


def assert_same(found: tuple[dict[str, float], list[str]], wanted: Any, name: str = "") -> None:
    """Compare losses and names of files."""
    assert found[0] == pytest.approx(wanted[0], rel=1e-9), name
    assert found[1] == wanted[1], name


_known: dict[str, Any] = {}


@pytest.fixture
def wanted(tmp_path: Path) -> Callable[[str], Any]:
    """Return what the unmodified class gives, by its name."""

    def of(kind: str) -> Any:
        if kind not in _known:
            _known[kind] = all_of_training(class_of(kind), kind, tmp_path)
        return _known[kind]

    return of


def names_for(kind: str) -> list[str]:
    """Return the new names that a class derived from this one may use."""
    # A file to copy shows the use; `backward` is the original's.
    shown = {"optimization", "backward"} if kind == "template" else set()
    return [name for name in new_names() if name not in shown]


def test_the_base_class_has_two_new_public_names() -> None:
    ours = {
        name for name in (*dir(BaseModel), *vars(OwnModel(parsed()))) if not name.startswith("_")
    }
    assert ours - METHODS - ATTRIBUTES - {"netG", "optimizer"} == {"optimization", "network_files"}


def test_the_hooks_are_found() -> None:
    assert hooks() >= {
        *("validation_pairs", "validation_sets", "validation_losses", "network_files"),
        *("extra_state", "load_extra_state", "batch_independent"),
    }


@pytest.mark.parametrize("meaning", MEANINGS)
@pytest.mark.parametrize("kind", MODELS)
def test_a_plugin_may_use_all_new_names_for_itself(
    kind: str, meaning: str, tmp_path: Path, wanted: Callable[[str], Any]
) -> None:
    body = dict.fromkeys(names_for(kind), MEANINGS[meaning])
    own = type("Own", (class_of(kind),), body)
    assert_same(all_of_training(own, kind, tmp_path), wanted(kind))
    assert not any(declares(own, name) for name in body)


@pytest.mark.slow
@pytest.mark.parametrize("kind", some(MODELS))
def test_a_plugin_may_use_any_new_name_alone(
    kind: str, tmp_path: Path, wanted: Callable[[str], Any]
) -> None:
    for name in names_for(kind) if LONG else names_for(kind)[::3]:
        for meaning in MEANINGS.values():
            own = type("Own", (class_of(kind),), {name: meaning})
            assert_same(all_of_training(own, kind, tmp_path), wanted(kind), name)


@pytest.mark.parametrize("kind", MODELS)
def test_a_plugin_may_set_any_new_name(
    kind: str, tmp_path: Path, wanted: Callable[[str], Any]
) -> None:
    names = [name for name in names_for(kind) if not name.startswith("_")]

    class Own(class_of(kind)):  # type: ignore[misc]
        def __init__(self, opt: Namespace) -> None:
            super().__init__(opt)
            for name in names:
                setattr(self, name, 7)

        def optimize_parameters(self) -> None:
            super().optimize_parameters()
            for name in names:
                setattr(self, name, getattr(self, name) + 1)

    assert_same(all_of_training(Own, kind, tmp_path), wanted(kind))
