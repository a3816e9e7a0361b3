"""What training asks of any model, whatever names the model uses for itself."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.storage.names import networks_of
from models.storage.trained_model import TrainedModel
from tests.support.small_models import batch, build, train_options, train_step, weights


def trained(folder: Path, kind: str, *more: str) -> TrainedModel:
    """Return a model that has taken a step."""
    model = build(train_options(folder, kind, *more))
    train_step(model, batch(kind, 0))
    return TrainedModel(model)


@pytest.mark.parametrize("kind", ["cycle_gan", "pix2pix", "template"])
def test_the_vector_holds_all_losses_and_that_of_the_generators(kind: str, tmp_path: Path) -> None:
    training = trained(tmp_path, kind)
    names, values = training.loss_vector()
    listed = training.model.loss_names
    assert names == (listed if "G" in listed else [*listed, "G"])
    assert values.shape == (len(names),)
    assert not values.requires_grad
    losses = training.model.get_current_losses()
    for name, value in zip(names, values.tolist(), strict=True):
        wanted = losses.get(name, float(training.model.loss_G.detach()))  # type: ignore[attr-defined]
        assert value == pytest.approx(wanted)


def test_losses_may_be_numbers_or_of_any_precision_or_missing(tmp_path: Path) -> None:
    training = trained(tmp_path, "pix2pix")
    model: Any = training.model
    model.loss_names = ["G_GAN", "G_L1", "D_real", "D_fake", "never_set"]
    model.loss_G_GAN, model.loss_G_L1 = 2, math.inf
    model.loss_D_real, model.loss_D_fake = torch.ones(1).half(), torch.ones(()).double()
    model.loss_G = "a text"
    names, values = training.loss_vector()
    assert names == ["G_GAN", "G_L1", "D_real", "D_fake"]
    assert values.tolist() == [2, math.inf, 1, 1]


def test_a_model_without_losses_has_an_empty_vector(tmp_path: Path) -> None:
    training = trained(tmp_path, "template")
    training.model.loss_names = []
    del training.model.loss_G  # type: ignore[attr-defined]
    names, values = training.loss_vector()
    assert names == []
    assert values.shape == (0,)


def test_saving_collects_what_the_model_writes(tmp_path: Path) -> None:
    training = trained(tmp_path, "pix2pix")
    files = training.save_networks(3)
    assert [path.name for path in files] == ["3_net_G.pth", "3_net_D.pth"]
    assert not any(path.exists() for path in files)
    training.model.save_networks(3)
    assert all(path.exists() for path in files)


def test_validation_leaves_no_trace(tmp_path: Path) -> None:
    training = trained(tmp_path, "pix2pix", "--norm", "batch")
    before, attributes = weights(training.model), dict(vars(training.model))
    data = batch("pix2pix", 1)
    for evaluation in (False, True):
        with training.without_trace(evaluation=evaluation):
            training.model.set_input(data)
            training.model.forward()
            assert list(training.validation_losses()) == ["G"]
            assert list(training.validation_pairs()) == [""]
            assert not training.model.loss_G.requires_grad  # type: ignore[attr-defined]
    assert vars(training.model) == attributes
    for name, value in weights(training.model).items():
        assert torch.equal(value, before[name]), name
    assert all(net.training for net in networks_of(training.model).values())


def test_losses_of_validation_may_be_numbers(tmp_path: Path) -> None:
    training = trained(tmp_path, "pix2pix")
    answer = {"G": 0.5, "T": torch.tensor(2.0)}
    own = {"validation_losses": lambda self: answer}
    training.model.__class__ = type("Own", (type(training.model),), own)
    found = training.validation_losses()
    assert {name: float(value) for name, value in found.items()} == {"G": 0.5, "T": 2.0}


def test_an_answer_with_a_strange_value_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = trained(tmp_path, "pix2pix")
    answer = {"": (torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)), "mask": torch.zeros(1)}
    own = {"validation_pairs": lambda self: answer}
    training.model.__class__ = type("Own", (type(training.model),), own)
    for _ in range(2):
        training.validation_pairs()
    said = capsys.readouterr().err
    assert said.count("Own.validation_pairs() returns something else") == 1
    assert "'mask'" in said


@pytest.mark.parametrize("answer", [None, 3, {"": "1"}, {"": (torch.zeros(1),)}, {1: 2}, "text"])
@pytest.mark.parametrize("name", ["validation_pairs", "validation_sets", "validation_losses"])
def test_what_is_no_answer_counts_as_none(name: str, answer: object, tmp_path: Path) -> None:
    training = trained(tmp_path, "pix2pix")
    model: Any = training.model
    own = {name: lambda self: answer}
    model.__class__ = type("Own", (type(model),), own)
    found: dict[str, Any] = getattr(training, name)()
    if name == "validation_losses":
        assert found == {}
    else:
        assert list(found) == [""]
        assert all(isinstance(image, Tensor) for image in found[""])


def test_the_plateau_follows_the_models_metric(tmp_path: Path) -> None:
    training = trained(tmp_path, "template", "--lr_policy", "plateau")
    training.model.metric = 0.25
    assert training.model.metric == training.model.metric == 0.25
    assert training.learning_rates() == {"optimizer": pytest.approx(0.0002)}
