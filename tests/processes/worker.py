"""What each of several processes runs: short trainings in float64, one after the other.

    torchrun --nproc_per_node 2 tests/processes/worker.py OUT DATA

Every process writes what its models have become to a file of its own.
"""

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data import create_dataset
from models import create_model
from models.storage.names import networks_of
from models.storage.trained_model import TrainedModel
from options.train_options import TrainOptions
from tests.processes.cases import CASES, Case
from tests.support.checkpoints import save_state
from util.base import rng
from util.base.errors import run_command
from util.processes import group
from util.processes.together import together
from util.training.saver import snapshot


def main() -> None:
    """Train all cases, or those that are named."""
    out, data, *names = sys.argv[1:]
    with group.joined("cpu", seconds=120):
        for name in names or CASES:
            case = CASES[name]
            torch.set_default_dtype(case.dtype)
            opt = options(case, Path(data), Path(out))
            with together(opt):
                save_state(trained(case, opt), f"{out}/{name}_{group.rank()}.pth")


def options(case: Case, data: Path, out: Path) -> Namespace:
    """Parse the command line of a case."""
    argv = ["--dataroot", str(data / case.folder), "--name", "run", "--gpu_ids", "-1"]
    argv += ["--checkpoints_dir", str(out / "checkpoints"), "--ngf", "2", "--ndf", "2"]
    argv += ["--seed", "3", "--num_threads", "1", "--batch_size", "6", "--dist_timeout", "60"]
    return TrainOptions().parse([*argv, *case.options], quiet=True)


def trained(case: Case, opt: Namespace) -> dict[str, Any]:
    """Train as train.py does, and return all that must not depend on the number of processes."""
    rng.seed_all(opt.seed)
    dataset, model = create_dataset(opt), create_model(opt)
    model.setup(opt)
    case.change(model)
    of_training = TrainedModel(model)
    losses, stream = [], dataset.stream()
    for _ in range(case.steps):
        of_training.begin_batch()
        model.set_input(in_default_type(next(stream)))
        model.optimize_parameters()
        of_training.after_step()
        losses.append(of_training.loss_vector()[1])
    dataset.end_workers()
    nets = networks_of(model)
    return snapshot({
        "losses": losses,
        "networks": {name: dict(net.state_dict()) for name, net in nets.items()},
        "without effect": [f"{n}.{key}" for n, net in nets.items() for key in dead_biases(net)],
        "state": of_training.training_state(),
        "random": rng.state_dict(),
    })  # fmt: skip


def in_default_type(batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch with images in float64, if that is what networks are in."""
    return {
        key: value.to(torch.get_default_dtype())
        if isinstance(value, Tensor) and value.is_floating_point()
        else value
        for key, value in batch.items()
    }


def dead_biases(net: torch.nn.Module) -> list[str]:
    """Return the biases before an instance norm: their gradients are rounding noise."""
    return [
        f"{name}.bias"
        for name, module in net.named_modules()
        if getattr(module, "has_dead_bias", False)
    ]


if __name__ == "__main__":
    sys.exit(run_command(main, several=True))
