"""A step, and what the training loop notes after it, never wait for the device.

Shown on the meta device, which has no numbers to wait for, and where every transfer is seen.
"""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from models.base_model import BaseModel
from models.storage.trained_model import TrainedModel
from tests.support.commands import ROOT
from tests.support.small_models import batch, build, train_options
from util.training.health import NonFiniteDetector
from util.training.meters import LossMeter
from util.training.progress import Progress

sys.path.insert(0, str(ROOT / "scripts"))
from benchmark.worker.counting import META, move_to_meta


class NoTransfers(TorchDispatchMode):
    """Refuses copies between devices; a GPU makes the program wait for those from the CPU."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, and look at where its tensors are."""
        del types
        result = func(*args, **(kwargs or {}))
        if "copy" in str(func):
            leaves = tree_leaves((args, kwargs, result))
            devices = {leaf.device.type for leaf in leaves if isinstance(leaf, Tensor)}
            assert len(devices) < 2, f"{func} from {devices}"
        return result


class NoNumbersSent(TorchFunctionMode):
    """Refuses tensors made from Python's numbers, which are copied to the device too."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function, and look at where what it made is."""
        del types
        result = func(*args, **(kwargs or {}))
        if func in (torch.tensor, torch.as_tensor) and not isinstance(args[0], Tensor):
            assert result.device.type == "cpu", f"{func} of {args[0]}"
        return result


@contextmanager
def no_waiting() -> Iterator[None]:
    """Refuse everything for which a program on a GPU waits."""
    with NoTransfers(), NoNumbersSent():
        yield


def on_meta(folder: Path, name: str, *more: str) -> BaseModel:
    """Return a model whose networks are on the meta device, after a step."""
    model = build(train_options(folder, name, *more))
    move_to_meta(model)
    step(model)
    return model


def step(model: BaseModel) -> None:
    """Take one step with a batch that is on the device already."""
    random.seed(0)
    data = batch(model.opt.model, 0, size=64)
    on_device = {k: v.to(META) if isinstance(v, Tensor) else v for k, v in data.items()}
    model.set_input(on_device)
    with no_waiting():
        model.optimize_parameters()


def test_a_transfer_would_be_seen() -> None:
    with no_waiting(), pytest.raises(AssertionError, match="copy"):
        torch.zeros(2).to(META)
    with no_waiting(), pytest.raises(AssertionError, match=r"of 1\.0"):
        torch.as_tensor(1.0, device=META)
    with pytest.raises((RuntimeError, NotImplementedError)):
        float(torch.zeros((), device=META))


@pytest.mark.parametrize(
    "chosen",
    [
        ("cycle_gan",),
        ("cycle_gan", "--lambda_identity", "0", "--pool_size", "1"),
        ("cycle_gan", "--grad_checkpoint", "--accumulate", "2"),
        ("pix2pix",),
        ("pix2pix", "--gan_mode", "wgangp", "--norm", "instance"),
        ("colorization",),
        ("template",),
    ],
    ids=" ".join,
)
def test_nothing_waits_for_the_device(chosen: tuple[str, ...], tmp_path: Path) -> None:
    model = on_meta(tmp_path, *chosen)
    trained, meter = TrainedModel(model), LossMeter()
    progress, detector = Progress(), NonFiniteDetector(trained)
    for _ in range(2):
        step(model)
        with no_waiting():
            names, values = trained.loss_vector()
            meter.add(names, values)
            progress.advance(1)
            detector.after_step(progress, values)
