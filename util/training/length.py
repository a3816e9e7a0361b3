"""How long a run is: the one place that knows what ends it and what its schedules count."""

import math
from argparse import Namespace
from dataclasses import dataclass
from typing import ClassVar, Self

from util.training.progress import Progress


@dataclass(frozen=True)
class Length:
    """Count a run in epochs, as `--n_epochs` and `--n_epochs_decay` do."""

    constant: int  # epochs at the initial learning rate
    decay: int  # epochs after them, in which it falls to zero

    OPTIONS: ClassVar = ("n_epochs", "n_epochs_decay")

    @classmethod
    def of(cls, opt: Namespace) -> Self:
        """Return the length that the options give."""
        return cls(opt.n_epochs, opt.n_epochs_decay)

    @property
    def epochs(self) -> int:
        """The number of the last epoch."""
        return self.constant + self.decay

    def is_over(self, progress: Progress) -> bool:
        """Tell whether there is nothing left to train."""
        return progress.epoch > self.epochs

    def images_left(self, progress: Progress, images: int) -> int:
        """Return how many images are left to train on, with so many in an epoch."""
        return max(0, self._epochs_left(progress) * images - progress.epoch_images)

    def batches_left(self, progress: Progress, images: int, batch_size: int) -> int:
        """Return how many batches are left, with so many images in an epoch."""
        whole_epochs = self._epochs_left(progress) * math.ceil(images / batch_size)
        return max(0, whole_epochs - progress.epoch_images // batch_size)

    def _epochs_left(self, progress: Progress) -> int:
        """Return how many epochs are not over, the running one among them."""
        return self.epochs - progress.epoch + 1

    def share_of_rate(self, epoch: int) -> float:
        """Return the part of the learning rate that `--lr_policy linear` has left in an epoch."""
        return 1.0 - max(0, epoch - self.constant) / (self.decay + 1)
