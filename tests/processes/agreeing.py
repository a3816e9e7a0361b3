"""What each of two processes runs to see on what they agree.

    torchrun --nproc_per_node 2 tests/processes/agreeing.py OUT

Every process writes what it found, by the names of the checks, to a file of its own.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from data.pipeline.sampling import sizes_of
from models import create_model
from models.architectures.synchronised import SharedDropout, synchronise
from models.optimization.step import Optimization
from models.storage.names import networks_of
from models.storage.trained_model import TrainedModel
from options.train_options import TrainOptions
from util.base.errors import UserError, run_command
from util.image_pool import ImagePool
from util.processes import group
from util.processes.agreement import all_or_none
from util.training.health import NonFiniteDetector
from util.training.progress import Progress


def refused(action: Callable[[], object]) -> str:
    """Return the error of an action, or what it gives."""
    try:
        return f"nothing refused: {action()}"
    except UserError as error:
        return str(error)


def sizes(_: Path) -> str:
    """Load a wide image in one process, and a high one in the other."""
    wide, high = torch.zeros(1, 3, 8, 12), torch.zeros(1, 3, 12, 8)
    batch = {"A": (wide, high)[group.rank()], "A_paths": [f"{group.rank()}.png"]}
    return refused(partial(all_or_none, lambda: batch, sizes_of))


def parts_of_batches(_: Path) -> list[str]:
    """Give layers and pools one image of the two that this process has."""
    group.begin_batch(4)
    image = torch.ones(1, 3, 4, 4)
    return [refused(lambda: SharedDropout()(image)), refused(lambda: ImagePool(2).query(image))]


def drift(folder: Path) -> list[Any]:
    """Look at weights that differ by rounding, then by training, then by one that is no number."""
    argv = ["--dataroot", str(folder), "--checkpoints_dir", str(folder), "--name", "run"]
    argv += ["--model", "pix2pix", "--netG", "resnet_6blocks", "--ngf", "2", "--ndf", "2"]
    torch.manual_seed(1)
    model = create_model(TrainOptions().parse([*argv, "--gpu_ids", "-1"], quiet=True))
    trained = TrainedModel(model)
    weights = [value.data for net in networks_of(model).values() for value in net.parameters()]
    same = [weight.clone() for weight in weights]
    found: list[Any] = []
    for change in (1e-4, 0.5, torch.nan):
        for weight, first in zip(weights, same, strict=True):
            own = change * first * torch.randn_like(first)
            weight.copy_(first + own if group.rank() == 1 else first)
        found.append(refused(trained.broken_networks))
    return found


def statistics(folder: Path) -> str:
    """Show images that a network with batch norm makes anew, of each process's own batch."""
    argv = ["--dataroot", str(folder), "--checkpoints_dir", str(folder), "--name", "run"]
    argv += ["--model", "pix2pix", "--netG", "resnet_6blocks", "--ngf", "2", "--ndf", "2"]
    model: Any = create_model(TrainOptions().parse([*argv, "--gpu_ids", "-1"], quiet=True))
    image = torch.full((1, 3, 16, 16), float(group.rank()))
    model.compute_visuals = lambda: model.netG(image)
    model.real_A = model.fake_B = model.real_B = image
    trained = TrainedModel(model)
    trained.visuals()
    return refused(trained.broken_networks)


def rare_losses(_: Path) -> dict[str, float]:
    """Set a loss in the first process alone."""
    group.begin_batch(4)
    model = SimpleNamespace(loss_names=["a", "b"], device=torch.device("cpu"))
    model.loss_a = 1.0 + group.rank()
    if group.rank() == 0:
        model.loss_b = torch.tensor(7.0)
    names, values = TrainedModel(model).loss_vector()
    return dict(zip(names, values.tolist(), strict=True))


def channels(_: Path) -> bool:
    """Drop channels of four images in two processes, and in one."""
    group.begin_batch(4)
    own = group.share().rows
    image = torch.ones(4, 8, 4, 4)
    torch.manual_seed(3)
    with group.alone():
        wanted = nn.Dropout2d()(image)
    torch.manual_seed(3)
    net = nn.Sequential(nn.Dropout2d())
    synchronise(net)
    return torch.equal(net(image[own]), wanted[own])


def weights_of_losses(_: Path) -> list[float]:
    """Take a step with a share of three images, of which this process has one or two."""
    found = []
    for names_optimiser in (True, False):
        layer = nn.Linear(1, 1, bias=False)
        nn.init.ones_(layer.weight)
        optimizer = torch.optim.SGD(layer.parameters(), lr=1)
        opt = Namespace(gpu_ids=[])
        optimization = Optimization(opt, torch.device("cpu"))
        optimization.set_up({"net": layer}, [optimizer])
        group.begin_batch(3)
        whole = torch.tensor([[1.0], [2.0], [6.0]])
        optimization.clear(optimizer)
        loss = layer(whole[group.share().rows]).mean()
        optimization.backward(loss, *([optimizer] if names_optimiser else []))
        optimization.step(optimizer, layer)
        found.append(1 - float(layer.weight.detach()))  # the gradient: the mean of the images
    return found


def last_images(_: Path) -> list[str]:
    """Train on images of its own until losses are not finite."""
    model = SimpleNamespace(get_image_paths=lambda: [f"of process {group.rank()}.png"])
    detector = NonFiniteDetector(SimpleNamespace(model=model, current_losses=dict))
    detector.after_step(Progress(), torch.tensor([torch.nan]))
    try:
        detector.check(Progress())
    except UserError as error:
        return [str(error), str(error.is_said)]
    return []


CHECKS: list[Callable[[Path], object]] = [
    sizes, parts_of_batches, drift, statistics, rare_losses, channels, weights_of_losses,
    last_images,
]  # fmt: skip


def main() -> None:
    """Run all checks."""
    folder = Path(sys.argv[1])
    with group.joined("cpu", seconds=60):
        found = {check.__name__: check(folder) for check in CHECKS}
        (folder / f"{group.rank()}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    sys.exit(run_command(main, several=True))
