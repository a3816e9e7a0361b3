"""How good the model is on pictures that it does not learn from."""

import os
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from util import rng
from util.best import Best
from util.errors import UserError
from util.log import say, warn
from util.metrics import METRICS, mean_over_pictures
from util.sinks.base import Picture
from util.util import tensor2im

SEED = 20170330  # of what is random while validating: always the same draws
SAMPLES = 4  # pictures that are shown after each validation


class Model(Protocol):
    """What is asked of a model."""

    def set_aside(self, *, evaluation: bool) -> AbstractContextManager[None]:
        """Lend the networks."""

    def set_input(self, input: dict[str, Any]) -> None:
        """Take a batch."""

    def forward(self) -> None:
        """Run the networks."""

    def validation_losses(self) -> Mapping[str, Tensor]:
        """Return numbers by name."""

    def validation_pairs(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        """Return pictures with what they should be."""

    def compute_visuals(self) -> None:
        """Compute pictures for people."""

    def get_current_visuals(self) -> Mapping[str, Any]:
        """Return pictures by name."""


@dataclass(frozen=True)
class Validation:
    """What one validation found.

    Attributes:
        metrics: means over all pictures by name; L1, PSNR and SSIM on a scale from 0 to 1.
        pictures: how many there were.
        statistics: `batch` or `running`, see `--val_eval`.
        seconds: how long it took.
        samples: what was made of the first ones, by label.
    """

    metrics: dict[str, float]
    pictures: int
    statistics: str
    seconds: float
    samples: list[dict[str, Picture]]

    def summary(self) -> str:
        """Return the metrics in a line, formatted as losses are."""
        return " ".join(f"{name}: {value:.3f}" for name, value in self.metrics.items())


class Validator:
    """Measure a model on a data set, without a trace in training.

    Args:
        model: what is measured.
        dataset: batches, in the same order every time.
        evaluation: measure in evaluation mode instead of as test.py does without --eval.
        every: epochs from one validation to the next.
    """

    def __init__(
        self,
        model: Model,
        dataset: Iterable[dict[str, Any]],
        *,
        evaluation: bool = False,
        every: int = 1,
    ) -> None:
        self.model = model
        self.dataset = dataset
        self.evaluation = evaluation
        self.every = every

    def measure(self, epoch: int) -> Validation | None:
        """Validate and print what was found, if the epoch is one of those to validate.

        Pictures that fail do not stop training: None then too.
        """
        if epoch % self.every != 0:
            return None
        try:
            found = self.run()
        except UserError as error:
            warn(f"No validation in epoch {epoch}: {error}")
            return None
        say(f"validation (epoch: {epoch}, images: {found.pictures}) {found.summary()}")
        return found

    def run(self, most: int | None = None) -> Validation:
        """Translate all pictures (or the first ones) and return the means of all metrics."""
        began = time.time()
        found: dict[str, list[Tensor]] = {}
        samples: list[dict[str, Picture]] = []
        count = 0
        with rng.own_stream(SEED), self.model.set_aside(evaluation=self.evaluation):
            for batch in self.dataset:
                self.model.set_input(batch)
                self.model.forward()
                for name, value in self._measure():
                    found.setdefault(name, []).append(value)
                if count < SAMPLES:
                    self.model.compute_visuals()
                    visuals = self.model.get_current_visuals()
                    samples.append({label: tensor2im(image) for label, image in visuals.items()})
                count += 1
                if most is not None and count >= most:
                    break
        means = {name: mean_over_pictures(torch.cat(values)) for name, values in found.items()}
        return Validation(
            metrics=with_means_of_both_sides(means),
            pictures=count,
            statistics="running" if self.evaluation else "batch",
            seconds=time.time() - began,
            samples=samples,
        )

    def _measure(self) -> Iterator[tuple[str, Tensor]]:
        for name, value in self.model.validation_losses().items():
            yield name, value.detach().double().reshape(1)
        for pair, pictures in self.model.validation_pairs().items():
            made, real = (((picture.float() + 1) / 2).clamp(0, 1) for picture in pictures)
            wanted = ("L1",) if pair.startswith("idt") else ("L1", "PSNR", "SSIM")
            for metric in wanted:
                measure = METRICS[metric].measure
                assert measure is not None
                yield f"{pair}_{metric}".lstrip("_"), measure(made, real).double()


def with_means_of_both_sides(values: Mapping[str, float]) -> dict[str, float]:
    """Add `cycle_L1` where there are `cycle_A_L1` and `cycle_B_L1`: one number to go by."""
    both = {}
    for name, value in values.items():
        stem, side, metric = name.partition("_A_")
        if side and f"{stem}_B_{metric}" in values:
            both[f"{stem}_{metric}"] = (value + values[f"{stem}_B_{metric}"]) / 2
    return {**both, **values}


def create_validator(
    opt: Namespace,
    model: Model,
    best: Best,
    create_dataset: Callable[[Namespace], Iterable[dict[str, Any]]],
) -> Validator | None:
    """Return what measures the model on the validation split; None if there is none.

    Raises:
        UserError: a best epoch is wanted, but cannot be found.
    """
    if opt.val_freq == 0 or not has_validation_data(opt):
        if best.name:
            raise UserError(
                f"--save_best {best.name} needs pictures to measure on: {opt.dataroot} has neither "
                "a folder val, nor valA and valB."
            )
        return None
    data = create_dataset(validation_options(opt))
    validator = Validator(model, data, evaluation=opt.val_eval, every=opt.val_freq)
    if best.name:
        best.check(validator.run(most=1).metrics)  # rather now than after an epoch
    return validator


def validation_options(opt: Namespace) -> Namespace:
    """Return the options of the data to validate on: as test.py would read the `val` phase."""
    changed = {
        "phase": "val", "isTrain": False, "serial_batches": True, "no_flip": True,
        "batch_size": 1, "num_threads": 0, "load_size": opt.crop_size,
        "max_dataset_size": opt.num_val, "skip_bad_images": False,
    }  # fmt: skip
    return Namespace(**(vars(opt) | changed))


def has_validation_data(opt: Namespace) -> bool:
    """Tell whether the data has a split to validate on: `val`, or `valA` and `valB`."""
    folders = [os.path.join(opt.dataroot, name) for name in ("val", "valA", "valB")]
    alone, A, B = (os.path.isdir(folder) for folder in folders)
    return alone or (A and B)
