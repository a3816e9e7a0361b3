"""Data sets, found by name: `--dataset_mode NAME` uses `NameDataset` of `data/NAME_dataset.py`."""

import atexit
import hashlib
import os
import shlex
import weakref
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from data.base_dataset import BaseDataset, BuiltInDataset
from data.checks.files import spot_check
from data.pipeline.image_cache import GIGABYTE, ImageCache
from data.pipeline.image_reader import ImageReader, Levels
from data.pipeline.sampling import (
    EpochSampler,
    Failure,
    ImageError,
    LevelsDataset,
    SeededDataset,
    SkippingDataset,
    Substituted,
    WorkerError,
    collate,
    no_word_of_dead_workers,
    prepare_worker,
    tells_of_dead_worker,
)
from util.base import rng
from util.base.errors import LoadError, UserError
from util.base.log import say, warn
from util.base.plugins import find_plugin
from util.base.system import usable_cores

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
        passed_over: with `--skip_bad_images`, why images were, and how often.
    """

    def __init__(self, opt: Namespace) -> None:
        self.opt = opt
        self.dataset = find_dataset_using_name(opt.dataset_mode)(opt)
        say(f"dataset [{type(self.dataset).__name__}] was created")
        # More processes than cores only take turns. Items do not depend on their number.
        self.workers = min(int(opt.num_threads), usable_cores())
        # torch.initial_seed() is what torch.manual_seed set, else a number drawn at start-up.
        seed = torch.initial_seed() if self.workers else None
        self.sampler = EpochSampler(len(self.dataset), shuffle=not opt.serial_batches, seed=seed)
        self.passed_over: dict[str, int] = {}
        self._delivered = 0  # items of the running epoch
        self._is_running = False
        self._beside: weakref.WeakSet[Any] = weakref.WeakSet()  # iterators of nested loops
        self._device: torch.device | None = None
        self._has_told_of_full_cache = False
        self.dataloader = self._torch_loader(self.dataset)
        self._loader = self.dataloader
        if isinstance(self.dataset, BuiltInDataset) and self.dataset.gives_levels():
            self._loader = self._torch_loader(LevelsDataset(self.dataset))
        self._warn_of_useless_cache()
        if self.workers:
            # Python ends processes that are left with one SIGTERM, which they survive, and waits.
            atexit.register(_end_workers, weakref.ref(self))

    def _torch_loader(self, source: Dataset[Any]) -> DataLoader[Any]:
        if getattr(self.opt, "skip_bad_images", False):
            source = SkippingDataset(source)
        return DataLoader(
            SeededDataset(source) if self.workers else source,
            batch_size=self.opt.batch_size,
            sampler=self.sampler,
            num_workers=self.workers,
            collate_fn=collate,
            worker_init_fn=prepare_worker if self.workers else None,
            persistent_workers=self.workers > 0,  # starting them takes long, with spawn seconds
            # With workers, torch's own draw for them must not disturb the model's sequence.
            generator=torch.Generator() if self.workers else None,
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
            LoadError: an image cannot be used, or a worker has died. The random generators then
                are where they were before the batch, so that training can go on exactly.
        """
        items = self._delivered = self.sampler.start
        before = self._randomness()
        with self._batches() as batches:
            if items:  # what this draws was drawn before the interruption
                self._put_back(before)
            while True:
                try:
                    batch = self._next(batches)
                except LoadError:
                    self._put_back(before)
                    raise
                if batch is None or items >= self.opt.max_dataset_size:
                    break
                items += self.opt.batch_size
                self._delivered = items
                yield self._unpacked(batch)
                before = self._randomness()
        self._delivered = 0

    def _next(self, batches: Iterator[Any]) -> Any:
        """Return the next batch, None at the end; errors that a user can mend are LoadErrors."""
        try:
            with self._dead_workers_named():
                batch = next(batches, None)
        except LoadError:
            raise
        except (UserError, OSError, SyntaxError) as error:  # the latter two from plugins
            raise ImageError(str(error)) from error
        if isinstance(batch, Failure):
            raise ImageError(batch.message)
        return batch

    @contextmanager
    def _dead_workers_named(self) -> Iterator[None]:
        """Raise a WorkerError instead of what torch raises when a worker is gone."""
        try:
            yield
        except (RuntimeError, OSError, EOFError) as error:
            if self.workers and tells_of_dead_worker(error):
                raise WorkerError(f"A process that loads images has died ({error}).") from error
            raise

    @contextmanager
    def _batches(self) -> Iterator[Iterator[Any]]:
        """Begin an epoch; a second one beside it, as in nested loops, gets workers of its own."""
        if self._is_running:
            with no_word_of_dead_workers(), self._dead_workers_named():
                batches = self._loader._get_iterator()
            self._beside.add(batches)
            yield batches
            return
        self._is_running = True
        try:
            with no_word_of_dead_workers(), self._dead_workers_named():
                batches = iter(self._loader)  # waits for workers that go on
            yield batches
        except Exception:
            # A worker may have died; and who holds on to the error holds on to the others, which
            # torch does not end well once they are garbage.
            self.end_workers()
            raise
        finally:
            self._is_running = False

    def end_workers(self) -> None:
        """End all worker processes; those of the next epoch are started anew."""
        loaders = {self._loader, self.dataloader}
        running = [loader._iterator for loader in loaders if loader._iterator is not None]
        for batches in [*running, *self._beside]:
            batches._shutdown_workers()
        for loader in loaders:
            loader._iterator = None

    def _unpacked(self, batch: Any) -> Any:
        if isinstance(batch, Substituted):
            self._note(batch.problems)
            batch = batch.content
        if isinstance(batch, Levels):
            batch = batch.normalized(self._device)
            self._tell_of_full_cache()
        return batch

    def _randomness(self) -> Any:
        """Return the state of the generators of this process that items draw from, if any."""
        if self.workers:
            return None
        is_built_in = "levels" in vars(type(self.dataset))  # these never draw from numpy
        return rng.capture(numpy=not is_built_in)

    def _put_back(self, randomness: Any) -> None:
        if randomness is not None:
            rng.put_back(randomness)

    def send_to(self, device: torch.device) -> None:
        """Yield the images of built-in data sets on a device; everything else on the CPU."""
        self._device = device

    def _note(self, problems: list[str]) -> None:
        for problem in problems:
            if problem not in self.passed_over:
                warn(f"passed over: {problem}")
            self.passed_over[problem] = self.passed_over.get(problem, 0) + 1

    def _warn_of_useless_cache(self) -> None:
        name = type(self.dataset).__name__
        if getattr(self.opt, "cache", "none") != "none" and not hasattr(self.dataset, "reader"):
            warn(f"{name} reads its images by itself: --cache {self.opt.cache} does nothing.")

    def _tell_of_full_cache(self) -> None:
        cache = self._cache
        if cache is None or self._has_told_of_full_cache or not cache.is_full:
            return
        self._has_told_of_full_cache = True
        say(
            f"--cache is full: {cache.count} images in {cache.used / GIGABYTE:.1f} GB. All "
            "others are read every time; a larger --cache_gb holds more, if there is memory."
        )

    @cached_property
    def _cache(self) -> ImageCache | None:
        reader = getattr(self.dataset, "reader", None)
        return reader.cache if isinstance(reader, ImageReader) else None

    def warn_of_bad_images(self) -> None:
        """Say what a quick look at the images finds; takes a second at most."""
        paths = dict.fromkeys(path for paths in self._lists_of_paths().values() for path in paths)
        problems = spot_check(
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
            f"{len(problems)} images will fail:\n  {listed}{more}\n"
            f"  python scripts/check_dataset.py {shlex.quote(self.opt.dataroot)} looks at every "
            "image; --skip_bad_images goes on without the bad ones."
        )

    def state_dict(self) -> dict[str, Any]:
        """Return where the running epoch stands, and what decides the epochs to come."""
        begun = self._delivered > 0  # the sampler's epoch is the next one then
        return {
            "epoch": self.sampler.epoch - begun,
            "seed": self.sampler.seed,
            "order_seed": self.sampler.order_seed,
            "items": self._delivered,
            "pictures": self._images,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue inside the epoch, or with the one that would have come.

        An order of other images would be another order: ask `has_images_of` first.
        """
        if self.workers and state["seed"] is not None:
            self.sampler.seed = state["seed"]
        self.sampler.epoch = state["epoch"]
        self.sampler.order_seed = state["order_seed"]
        self.sampler.start = self._delivered = state["items"]

    def has_images_of(self, state: Mapping[str, Any]) -> bool:
        """Tell whether the data set and its order are those of a saved state."""
        shuffled = state["order_seed"] is not None
        order_fits = state["items"] == 0 or shuffled == self.sampler.shuffle
        return bool(order_fits and state["pictures"] == self._images)

    @cached_property
    def _images(self) -> dict[str, Any]:
        """Describe the data set by its length and all lists of paths that it keeps."""
        root = os.path.join(self.opt.dataroot, "")  # the whole may have moved
        names = hashlib.blake2b(digest_size=16)
        for attribute, paths in self._lists_of_paths().items():
            names.update(attribute.encode())
            for path in paths:
                names.update(os.fsencode(path.removeprefix(root)) + b"\0")
        return {"count": len(self.dataset), "names": names.hexdigest()}

    def _lists_of_paths(self) -> dict[str, list[str]]:
        """Return the lists of strings that the data set keeps, which are paths of images."""
        return {
            attribute: value
            for attribute, value in sorted(vars(self.dataset).items())
            if isinstance(value, list) and all(isinstance(item, str) for item in value)
        }


def _end_workers(loader: "weakref.ref[CustomDatasetDataLoader]") -> None:
    if (alive := loader()) is not None:
        alive.end_workers()
