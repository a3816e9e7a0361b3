"""Small models, options and batches for the tests."""

import random
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import create_model
from models.base_model import BaseModel
from models.storage.names import networks_of
from options.test_options import TestOptions
from options.train_options import TrainOptions

CHANNELS = {"colorization": (1, 2)}


def train_options(folder: Path, model: str, *more: str) -> Namespace:
    """Parse the options of a small training run on the CPU."""
    return TrainOptions().parse([*_common(folder, model), *more])


def test_options(folder: Path, model: str, *more: str) -> Namespace:
    """Parse the options of a small test run on the CPU."""
    return TestOptions().parse([*_common(folder, model), *more])


setattr(test_options, "__test__", False)  # noqa: B010 - for pytest: not a test


def _common(folder: Path, model: str) -> list[str]:
    argv = ["--dataroot", "X", "--gpu_ids", "-1", "--checkpoints_dir", str(folder)]
    argv += ["--name", "run", "--model", model, "--ngf", "4", "--ndf", "4"]
    return [*argv, "--netG", "resnet_6blocks"]


def build(opt: Namespace, seed: int = 0) -> BaseModel:
    """Create and set up a model under a seed."""
    torch.manual_seed(seed)
    random.seed(seed)
    model = create_model(opt)
    model.setup(opt)
    return model


def batch(model: str, seed: int, *, n: int = 1, size: int = 32) -> dict[str, Any]:
    """Return a batch of noise as the model's data set would load it."""
    generator = torch.Generator().manual_seed(seed)
    a, b = CHANNELS.get(model, (3, 3))
    return {
        "A": noise((n, a, size, size), generator),
        "B": noise((n, b, size, size), generator),
        "A_paths": [f"a{number}.png" for number in range(n)],
        "B_paths": [f"b{number}.png" for number in range(n)],
    }


def noise(shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
    """Return noise in [-1, 1]."""
    return torch.rand(shape, generator=generator) * 2 - 1


def train_step(model: BaseModel, data: dict[str, Any]) -> dict[str, float]:
    """Take one step and return the losses."""
    model.set_input(data)
    model.optimize_parameters()
    return dict(model.get_current_losses())


def weights(model: BaseModel) -> dict[str, Tensor]:
    """Return copies of all entries of all networks."""
    return {
        f"{name}.{key}": value.clone()
        for name in model.model_names
        for key, value in networks_of(model)[name].state_dict().items()
    }


def to_double(model: BaseModel) -> None:
    """Continue in float64."""
    for value in vars(model).values():
        if isinstance(value, nn.Module):
            value.double()


def doubled(data: dict[str, Any]) -> dict[str, Any]:
    """Return the batch in float64."""
    return {key: v.double() if isinstance(v, Tensor) else v for key, v in data.items()}
