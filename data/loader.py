"""From a data set to batches: the order of the items, and where their randomness comes from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler, default_collate

from util import rng
from util.errors import UserError

Position = tuple[int, int, int]  # (epoch, position in the epoch, index of the item)


class EpochSampler(Sampler[Any]):
    """Yield the indices of an epoch, in order or shuffled, and remember how far it has come.

    Without workers the order comes from torch's global generator, with the very draws of torch's
    own sampler, and the items' randomness from the global generators: a seed gives the
    reference's sequence.

    With workers each index comes as (epoch, position, index) for `SeededDataset`, and everything
    depends on the run's seed, the epoch and the position alone: not on the number of workers.

    Attributes:
        epoch: the epoch that the next iteration yields; the training loop may set it.
    """

    def __init__(self, length: int, *, shuffle: bool, seed: int | None = None) -> None:
        """Order `length` items; `seed` is None without workers."""
        self.length = length
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 1

    def __len__(self) -> int:
        """Return the number of items in an epoch."""
        return self.length

    def __iter__(self) -> Iterator[int | Position]:
        """Yield one epoch."""
        epoch = self.epoch
        self.epoch += 1  # for scripts that do not set it
        for position, index in enumerate(self._order(epoch)):
            yield index if self.seed is None else (epoch, position, index)

    def _order(self, epoch: int) -> list[int]:
        if not self.shuffle:
            return list(range(self.length))
        generator = torch.Generator()
        if self.seed is None:
            generator.manual_seed(int(torch.empty((), dtype=torch.int64).random_()))
        else:
            generator.manual_seed(rng.mix(self.seed, epoch))
        return torch.randperm(self.length, generator=generator).tolist()

    def state_dict(self) -> dict[str, Any]:
        """Return what decides the epochs to come."""
        return {"epoch": self.epoch, "seed": self.seed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with the epochs that would have come."""
        self.epoch = state["epoch"]
        if self.seed is not None and state["seed"] is not None:
            self.seed = state["seed"]


class SeededDataset(Dataset[Any]):
    """Seed python, numpy and torch before each item of another data set, in worker processes."""

    def __init__(self, dataset: Dataset[Any], seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def __getitem__(self, where: Position) -> Any:
        """Return the item at an index, its random choices decided by seed, epoch and position."""
        epoch, position, index = where
        rng.seed_all(rng.mix(self.seed, epoch, position))
        try:
            return self.dataset[index]
        except UserError as error:
            return Failure(str(error))


@dataclass(frozen=True)
class Failure:
    """A user's mistake met by a worker: travels to the main process without the traceback."""

    message: str


def collate(items: list[Any]) -> Any:
    """Stack items into a batch; if one of them failed, the batch is that failure."""
    failed = next((item for item in items if isinstance(item, Failure)), None)
    return failed or default_collate(items)


def one_thread(worker: int) -> None:
    """Keep a worker to one core: the work is per picture, and the cores are shared."""
    del worker
    torch.set_num_threads(1)
