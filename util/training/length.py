"""How long a run is: the one place that knows what ends it and what its schedules count."""
# ruff: noqa: D102 - `Length` says what its methods return

import math
from abc import ABC, abstractmethod
from argparse import Namespace
from dataclasses import dataclass
from typing import ClassVar

from util.base.new_options import new_option
from util.training.progress import Progress

# The options that `--lr_policy linear` and `cosine` go by.
OPTIONS = ("n_epochs", "n_epochs_decay", "total_steps", "decay_steps")


@dataclass(frozen=True)
class Length(ABC):
    """How long a run is, counted in epochs or in steps, whatever else it counts.

    After each epoch the run is measured and saved. What an epoch is, the length says too.
    """

    constant: int  # epochs, or steps, at the initial learning rate
    decay: int  # those after them, in which it falls to zero
    first: int = 1  # from which the schedules count
    images: int = 0  # in the data set; 0: that is not known yet
    batch_size: int = 1

    counts_steps: ClassVar[bool]
    longer: ClassVar[str]  # the options that make a run longer

    @staticmethod
    def of(opt: Namespace, images: int = 0) -> "Length":
        """Return the length that the options give, over a data set of so many images."""
        batch_size = getattr(opt, "batch_size", 1)  # not an option of every fork
        if not (total := new_option(opt, "total_steps")):
            first = getattr(opt, "epoch_count", 1)
            return InEpochs(opt.n_epochs, opt.n_epochs_decay, first, images, batch_size)
        decay = new_option(opt, "decay_steps")
        decay = total // 2 if decay is None else decay
        epoch = new_option(opt, "val_steps")
        return InSteps(total - decay, decay, 1, images, batch_size, epoch)

    @property
    def total(self) -> int:
        """How many epochs, or steps, there are in all."""
        return self.constant + self.decay

    def share_of_rate(self, number: int) -> float:
        """Return what `--lr_policy linear` leaves of the rate in an epoch, or a step, from 1."""
        return 1.0 - max(0, number - self.constant) / (self.decay + 1)

    @property
    @abstractmethod
    def epochs(self) -> int | None:
        """The number of the last epoch of a run that is not interrupted; None: not known yet."""

    @property
    @abstractmethod
    def images_in_epoch(self) -> int:
        """How many images an epoch has, about."""

    @abstractmethod
    def last_epoch(self, progress: Progress) -> int:
        """Return the number of the last epoch of a run that stands here."""

    @abstractmethod
    def epoch_images(self, progress: Progress) -> int:
        """Return how many images the running epoch has; the last one may have fewer."""

    @abstractmethod
    def epoch_is_over(self, progress: Progress) -> bool:
        """Tell whether the running epoch has had all its steps."""

    @abstractmethod
    def is_over(self, progress: Progress) -> bool:
        """Tell whether there is nothing left to train, nor an epoch to end."""

    @abstractmethod
    def batches_left(self, progress: Progress) -> int:
        """Return how many batches are left to train on."""

    @abstractmethod
    def images_left(self, progress: Progress) -> int:
        """Return how many images are left to train on, about."""

    @property
    @abstractmethod
    def in_words(self) -> str:
        """The length, as in `1,000 images in 200 epochs`."""

    @property
    @abstractmethod
    def end(self) -> str:
        """What is done at the end."""

    @property
    @abstractmethod
    def given_by(self) -> str:
        """The options that give the length, and what they give."""

    @abstractmethod
    def beginning(self, epoch: int, next_epoch: int) -> str:
        """Say where the rates begin of a run that goes on with nothing but the networks."""

    def place(self, progress: Progress) -> str:
        """Say where a run stands."""
        images = f"image {progress.epoch_images} ({progress.total_images} in all)"
        return f"epoch {progress.epoch}, {images}"


@dataclass(frozen=True)
class InEpochs(Length):
    """As `--n_epochs` and `--n_epochs_decay` say: an epoch is one pass over the data."""

    counts_steps = False
    longer = "--n_epochs or --n_epochs_decay"

    @property
    def epochs(self) -> int:
        return self.total

    @property
    def images_in_epoch(self) -> int:
        return self.images

    def last_epoch(self, progress: Progress) -> int:
        return self.total

    def epoch_images(self, progress: Progress) -> int:
        return self.images

    def epoch_is_over(self, progress: Progress) -> bool:
        return progress.epoch_images >= self.images

    def is_over(self, progress: Progress) -> bool:
        return progress.epoch > self.total

    def batches_left(self, progress: Progress) -> int:
        whole_epochs = self._epochs_left(progress) * math.ceil(self.images / self.batch_size)
        return max(0, whole_epochs - progress.epoch_images // self.batch_size)

    def images_left(self, progress: Progress) -> int:
        return max(0, self._epochs_left(progress) * self.images - progress.epoch_images)

    def _epochs_left(self, progress: Progress) -> int:
        """Return how many epochs are not over, the running one among them."""
        return self.total - progress.epoch + 1

    @property
    def in_words(self) -> str:
        return f"{self.total} epoch{'s' * (self.total != 1)}"

    @property
    def end(self) -> str:
        return f"epoch {self.total} of {self.total}"

    @property
    def given_by(self) -> str:
        epochs = f"{self.constant} + {self.decay} epochs"
        return f"--n_epochs and --n_epochs_decay, {epochs}"

    def beginning(self, epoch: int, next_epoch: int) -> str:
        hint = "" if next_epoch == epoch else f" {next_epoch} is the next one"
        return f"epoch {epoch} (--epoch_count{hint})"


@dataclass(frozen=True)
class InSteps(Length):
    """As `--total_steps` says: an epoch is what lies between two validations.

    It has `val_steps` steps, whatever the size of the data set, or those of one pass over it. The
    last one may have fewer. Batches come pass after pass: no epoch begins the data anew.
    """

    val_steps: int = 0  # 0: one pass over the data

    counts_steps = True
    longer = "--total_steps"

    def share_of_rate(self, number: int) -> float:
        # Without steps that decay there is no end to be seen; a run that is shortened is beyond it.
        return max(0.0, super().share_of_rate(number)) if self.decay else 1.0

    @property
    def _epoch_steps(self) -> int:
        return self.val_steps or math.ceil(self.images / self.batch_size)

    @property
    def epochs(self) -> int | None:
        return math.ceil(self.total / self._epoch_steps) if self._epoch_steps else None

    @property
    def images_in_epoch(self) -> int:
        return self._images_of(self._epoch_steps)

    def last_epoch(self, progress: Progress) -> int:
        steps = progress.epoch_steps + self.batches_left(progress)
        return progress.epoch - 1 + math.ceil(steps / self._epoch_steps)

    def epoch_images(self, progress: Progress) -> int:
        steps = progress.epoch_steps + self.batches_left(progress)
        return self._images_of(min(steps, self._epoch_steps))

    def epoch_is_over(self, progress: Progress) -> bool:
        return progress.epoch_steps >= self._epoch_steps or progress.step >= self.total

    def is_over(self, progress: Progress) -> bool:
        return progress.step >= self.total and progress.epoch_images == 0

    def batches_left(self, progress: Progress) -> int:
        return max(0, self.total - progress.step)

    def images_left(self, progress: Progress) -> int:
        return self._images_of(self.batches_left(progress))

    def _images_of(self, steps: int) -> int:
        """Return how many images so many batches have; the last of a pass may be smaller."""
        return round(steps * self.images / math.ceil(self.images / self.batch_size))

    @property
    def in_words(self) -> str:
        epochs = f", {self.val_steps:,} to an epoch" if self.val_steps else ""
        return f"{self.total:,} step{'s' * (self.total != 1)}{epochs}"

    @property
    def end(self) -> str:
        return f"step {self.total:,} of {self.total:,}"

    @property
    def given_by(self) -> str:
        return f"--total_steps, {self.total:,} steps"

    def beginning(self, epoch: int, next_epoch: int) -> str:
        return "step 1"

    def place(self, progress: Progress) -> str:
        return f"step {progress.step:,} of {self.total:,}, {super().place(progress)}"
