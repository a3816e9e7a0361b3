"""Data sets, found by name: `--dataset_mode NAME` uses `NameDataset` of `data/NAME_dataset.py`."""

import hashlib
import os
import shlex
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from data.base_dataset import BaseDataset
from data.checks import quick_look
from data.loader import (
    EpochSampler,
    Failure,
    Instead,
    PictureError,
    SeededDataset,
    SkippingDataset,
    collate,
    prepare_worker,
)
from util import rng
from util.errors import UserError
from util.log import say, warn
from util.plugins import find_plugin

SHOWN_PROBLEMS = 5


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
        passed_over: with `--skip_bad_images`, why pictures were, and how often.
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
        self.passed_over: dict[str, int] = {}
        self._delivered = 0  # items of the running epoch
        source: Dataset[Any] = self.dataset
        if getattr(opt, "skip_bad_images", False):
            source = SkippingDataset(source)
        self.dataloader: DataLoader[Any] = DataLoader(
            source if seed is None else SeededDataset(source, seed),
            batch_size=opt.batch_size,
            sampler=self.sampler,
            num_workers=workers,
            collate_fn=collate,
            worker_init_fn=prepare_worker if workers else None,
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
        """Yield the batches of one epoch, or what is left of one after `load_state_dict`.

        Raises:
            PictureError: a picture cannot be used. The random generators then are where they were
                before its batch, so that training can go on exactly once the picture is mended.
        """
        items = self._delivered = self.sampler.start
        before = rng.capture()
        batches = iter(self.dataloader)
        if items:  # what this draws was drawn before the interruption
            rng.put_back(before)
        while True:
            try:
                batch = next(batches, None)
                if isinstance(batch, Failure):
                    raise UserError(batch.message)
            except (UserError, OSError, SyntaxError) as error:  # the latter two from plugins
                rng.put_back(before)
                raise PictureError(str(error)) from error
            if batch is None or items >= self.opt.max_dataset_size:
                break
            if isinstance(batch, Instead):
                self._note(batch.problems)
                batch = batch.content
            items += self.opt.batch_size
            self._delivered = items
            yield batch
            before = rng.capture()
        self._delivered = 0

    def _note(self, problems: list[str]) -> None:
        for problem in problems:
            if problem not in self.passed_over:
                warn(f"passed over: {problem}")
            self.passed_over[problem] = self.passed_over.get(problem, 0) + 1

    def warn_of_bad_pictures(self) -> None:
        """Say what a quick look at the pictures finds; takes a second at most."""
        paths = dict.fromkeys(path for paths in self._lists_of_paths().values() for path in paths)
        problems = quick_look(
            list(paths),
            preprocess=self.opt.preprocess,
            crop_size=self.opt.crop_size,
            side_by_side=self.opt.dataset_mode == "aligned",
            root=self.opt.dataroot,
        )
        if not problems:
            return
        listed = "\n  ".join(problems[:SHOWN_PROBLEMS])
        hidden = len(problems) - SHOWN_PROBLEMS
        more = f"\n  ... and {hidden} more" if hidden > 0 else ""
        warn(
            f"{len(problems)} pictures will fail:\n  {listed}{more}\n"
            f"  python scripts/check_dataset.py {shlex.quote(self.opt.dataroot)} looks at every "
            "picture; --skip_bad_images goes on without the bad ones."
        )

    def state_dict(self) -> dict[str, Any]:
        """Return where the running epoch stands, and what decides the epochs to come."""
        begun = self._delivered > 0  # the sampler's epoch is the next one then
        return {
            "epoch": self.sampler.epoch - begun,
            "seed": self.sampler.seed,
            "order_seed": self.sampler.order_seed,
            "items": self._delivered,
            "pictures": self._pictures,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue inside the epoch, or with the one that would have come.

        An order of other pictures would be another order: ask `has_pictures_of` first.
        """
        if isinstance(self.dataloader.dataset, SeededDataset) and state["seed"] is not None:
            self.sampler.seed = self.dataloader.dataset.seed = state["seed"]
        self.sampler.epoch = state["epoch"]
        self.sampler.order_seed = state["order_seed"]
        self.sampler.start = self._delivered = state["items"]

    def has_pictures_of(self, state: Mapping[str, Any]) -> bool:
        """Tell whether the data set and its order are those of a saved state."""
        shuffled = state["order_seed"] is not None
        order_fits = state["items"] == 0 or shuffled == self.sampler.shuffle
        return bool(order_fits and state["pictures"] == self._pictures)

    @cached_property
    def _pictures(self) -> dict[str, Any]:
        """Describe the data set by its length and all lists of paths that it keeps."""
        root = os.path.join(self.opt.dataroot, "")  # the whole may have moved
        names = hashlib.blake2b(digest_size=16)
        for attribute, paths in self._lists_of_paths().items():
            names.update(attribute.encode())
            for path in paths:
                names.update(os.fsencode(path.removeprefix(root)) + b"\0")
        return {"count": len(self.dataset), "names": names.hexdigest()}

    def _lists_of_paths(self) -> dict[str, list[str]]:
        """Return the lists of strings that the data set keeps, which are paths of pictures."""
        return {
            attribute: value
            for attribute, value in sorted(vars(self.dataset).items())
            if isinstance(value, list) and all(isinstance(item, str) for item in value)
        }
