"""Data sets, found by name: `--dataset_mode NAME` uses `NameDataset` of `data/NAME_dataset.py`."""

import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from data.base_dataset import BaseDataset
from data.loader import EpochSampler, Failure, SeededDataset, collate, one_thread
from util.errors import UserError
from util.log import say
from util.plugins import find_plugin


def find_dataset_using_name(dataset_name: str) -> type[BaseDataset]:
    """Return the class that the convention assigns to `dataset_name`.

    Raises:
        PluginError: there is no such file or class.
    """
    return find_plugin(dataset_name, package="data", kind="dataset", base=BaseDataset)


def get_option_setter(dataset_name: str) -> Callable[[ArgumentParser, bool], ArgumentParser]:
    """Return the function by which a data set adds its options."""
    return find_dataset_using_name(dataset_name).modify_commandline_options


def create_dataset(opt: Namespace) -> "CustomDatasetDataLoader":
    """Create the data set that the options name, wrapped into a loader of batches."""
    return CustomDatasetDataLoader(opt).load_data()


class CustomDatasetDataLoader:
    """Iterate over batches of a data set; `len()` is the number of images, not of batches.

    Attributes:
        dataset: the data set itself.
        dataloader: torch's loader around it.
        sampler: the order of the items; set `sampler.epoch` to begin elsewhere.
    """

    def __init__(self, opt: Namespace) -> None:
        self.opt = opt
        self.dataset = find_dataset_using_name(opt.dataset_mode)(opt)
        say(f"dataset [{type(self.dataset).__name__}] was created")
        workers = int(opt.num_threads)
        # On few cores torch objects to the default of four, at every start and at length.
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        # torch.initial_seed() is what torch.manual_seed set, else a number drawn at start-up.
        seed = torch.initial_seed() if workers else None
        self.sampler = EpochSampler(len(self.dataset), shuffle=not opt.serial_batches, seed=seed)
        self.dataloader: DataLoader[Any] = DataLoader(
            self.dataset if seed is None else SeededDataset(self.dataset, seed),
            batch_size=opt.batch_size,
            sampler=self.sampler,
            num_workers=workers,
            collate_fn=collate,
            worker_init_fn=one_thread if workers else None,
            # With workers, torch's own draw for them must not disturb the model's sequence.
            generator=torch.Generator() if workers else None,
        )

    def load_data(self) -> "CustomDatasetDataLoader":
        """Return itself, as the reference's loader does."""
        return self

    def __len__(self) -> int:
        """Return the number of images in an epoch."""
        return int(min(len(self.dataset), self.opt.max_dataset_size))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the batches of one epoch.

        Raises:
            UserError: a picture cannot be used.
        """
        for number, batch in enumerate(self.dataloader):
            if number * self.opt.batch_size >= self.opt.max_dataset_size:
                break
            if isinstance(batch, Failure):
                raise UserError(batch.message)
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return what decides the order of the epochs to come."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with the epochs that would have come."""
        self.sampler.load_state_dict(state)
        if isinstance(self.dataloader.dataset, SeededDataset) and self.sampler.seed is not None:
            self.dataloader.dataset.seed = self.sampler.seed
