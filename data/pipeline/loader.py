"""Batches of a data set, pass by pass: restartable at any batch, whatever happens to workers."""

import atexit
import gc
import hashlib
import math
import os
import weakref
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from inspect import signature
from typing import Any

import torch
from torch.utils.data import DataLoader

from data.base_dataset import LAYOUTS, BaseDataset, lists_of_files
from data.pipeline import sampling
from data.pipeline.drawing import ALL_ONCE, Drawing, weights_by_folder
from data.pipeline.image_cache import GIGABYTE
from data.pipeline.image_reader import ImageReader
from util.base import rng, torch_private
from util.base.errors import LoadError, UserError
from util.base.log import note_of_process, say
from util.base.plugins import own_method
from util.base.stop_signals import Stopped, may_stop
from util.base.system import processes_here, usable_cores
from util.processes import group
from util.processes.agreement import all_or_none, require_same

BUILT_IN = {f"data.{mode}_dataset" for mode in LAYOUTS}


class BatchLoader:
    """Iterate over batches of a data set; `len()` is the number of images, not of batches."""

    def __init__(
        self,
        dataset: BaseDataset,
        *,
        batch_size: int,
        shuffle: bool,
        workers: int,  # processes that load images, at most one for each core; 0: none
        most: float,  # images in a pass
        skip_bad: bool,  # put others in the place of images that cannot be used
        root: str,  # the folder of the images, which may have moved when a run goes on
        pin: bool,  # hand over tensors that a GPU takes without waiting
        drawing: Drawing = ALL_ONCE,  # what a pass draws, if not each image once
    ) -> None:
        self.dataset = dataset
        self._root = os.path.join(root, "")
        # More processes than cores only take turns. Items do not depend on their number.
        self.workers = min(workers, max(1, usable_cores() // processes_here()[1]))
        # Of processes that train together each has its rows of a batch; so has each worker items.
        is_divided = self.workers > 0 or group.count() > 1
        # torch.initial_seed() is what torch.manual_seed set, else a number drawn at start-up.
        seed = torch.initial_seed() if is_divided else None
        # The order of the items; set `sampler.epoch` to begin elsewhere.
        there_are = len(dataset)
        if drawing.epoch_size:
            there_are, most = int(min(there_are, most)), math.inf
        weights = weights_of(dataset, drawing.balanced) if shuffle else []
        length = drawing.epoch_size or there_are
        if weights:  # what is drawn with replacement fills whole batches
            length = math.ceil(length / batch_size) * batch_size
        self.sampler = sampling.EpochSampler(
            length, shuffle=shuffle, seed=seed, weights=weights, there_are=there_are,
            order=order_of(dataset), batch_size=batch_size,
        )  # fmt: skip
        self._drawing = drawing
        self.passed_over: set[str] = set()  # why images were, with `skip_bad`
        self._batch_size = batch_size
        self._most = most
        self._pass = 1  # the running one, an epoch of the sampler's
        self._delivered = 0  # items of it
        self._is_running = False
        self._beside: weakref.WeakSet[Any] = weakref.WeakSet()  # iterators of nested loops
        self._has_told_of_full_cache = False
        reader = getattr(dataset, "reader", None)
        self._cache = reader.cache if isinstance(reader, ImageReader) else None
        # Those draw nothing from numpy, and keep nothing of what they hand out.
        is_built_in = type(dataset).__module__ in BUILT_IN
        self._draws_from_numpy = not (is_built_in or is_divided)
        items = sampling.SkippingDataset(dataset) if skip_bad else dataset
        self.dataloader: DataLoader[Any] = DataLoader(
            sampling.SeededDataset(items),
            batch_size=max(group.shares_of(batch_size, group.count())),
            sampler=self.sampler,
            num_workers=self.workers,
            collate_fn=partial(sampling.collate, copies=not is_built_in),
            pin_memory=pin,
            worker_init_fn=sampling.prepare_worker if self.workers else None,
            persistent_workers=self.workers > 0,  # starting them takes long, with spawn seconds
            # Then torch's own draw for workers must not disturb the model's sequence.
            generator=torch.Generator() if is_divided else None,
        )
        if group.count() > 1:
            require_same(self._images, "The images")
        if self.workers:
            # Python ends processes that are left with one SIGTERM, which they survive, and waits.
            atexit.register(_end_workers, weakref.ref(self))

    def __len__(self) -> int:
        return self._drawing.epoch_size or int(min(len(self.dataset), self._most))

    def __del__(self) -> None:
        if hasattr(self, "dataloader"):  # torch would wait for workers that do not answer
            self.end_workers()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the batches of one pass, or what is left of one after `load_state_dict`.

        Raises:
            LoadError: an image cannot be used, or a worker has died; Stopped: a signal says so. The
                random generators then are where they were before the batch, so that training can
                go on exactly.
        """
        items = self._delivered = self.sampler.start
        self._pass = self.sampler.epoch
        before = rng.capture(numpy=self._draws_from_numpy)
        with self._batches() as batches:
            if items or self.sampler.only:  # a pass draws this where it begins, and once
                rng.put_back(before)
            while True:
                try:
                    batch = all_or_none(partial(self._next, batches), sampling.sizes_of)
                except (LoadError, Stopped):
                    rng.put_back(before)
                    raise
                if batch is None or items >= self._most:
                    break
                group.begin_batch(min(self._batch_size, self.sampler.length - items))
                items += self._batch_size
                self._delivered = items
                yield batch
                before = rng.capture(numpy=self._draws_from_numpy)
        self._pass, self._delivered = self._pass + 1, 0

    def only(self, positions: range) -> Generator[dict[str, Any]]:
        """Yield some batches of a pass, of one image each: those at these positions."""
        self.sampler.only = positions
        try:
            yield from self
        finally:
            self.sampler.only = None

    def stream(self) -> Generator[dict[str, Any]]:
        """Yield batches without an end: pass after pass over the data, from where it stands."""
        while True:
            yield from self

    @property
    def images_in_batch(self) -> int:
        """How many images the last batch has: fewer than others at the end of a pass."""
        before = self._delivered - self._batch_size
        most = self.sampler.length if self.sampler.weights else len(self)
        return max(1, min(self._batch_size, most - before))

    def _next(self, batches: Iterator[Any]) -> Any:
        """Return the next batch, None at the end; errors that a user can mend are LoadErrors."""
        try:
            with self._dead_workers_named(), may_stop():
                batch = next(batches, None)
        except LoadError:
            raise
        except (UserError, OSError, SyntaxError) as error:  # the latter two from plugins
            raise sampling.ImageError(str(error)) from error
        if isinstance(batch, sampling.Failure):
            raise batch.kind(batch.message)
        if isinstance(batch, sampling.Substituted):
            for problem in batch.problems:
                if problem not in self.passed_over:
                    note_of_process(f"warning: passed over: {problem}")
                self.passed_over.add(problem)
            batch = batch.content
        self._tell_of_full_cache()
        return batch

    @contextmanager
    def _dead_workers_named(self) -> Iterator[None]:
        """Raise a WorkerError instead of what torch raises when a worker is gone."""
        try:
            yield
        except (RuntimeError, OSError, EOFError) as error:
            if self.workers and sampling.tells_of_dead_worker(error):
                raise sampling.WorkerError(
                    f"A process that loads images has died ({error})."
                ) from error
            raise

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """Raise a WorkerError if workers cannot be started; a signal may end it. None is left."""
        if self.workers and not torch_private.has_workers(self.dataloader):
            # Else garbage may be freed in a process just forked, where a group of processes that
            # has ended, for one, waits for ever for threads that only this process has.
            gc.collect()
        try:
            with may_stop():
                yield
        except Stopped as error:
            torch_private.end_half_started(error)
            raise
        except (OSError, RuntimeError) as error:
            if not (self.workers and sampling.tells_of_no_process(error)):
                raise
            torch_private.end_half_started(error)
            raise sampling.WorkerError(
                f"The processes that load images cannot be started ({error})."
            ) from error

    @contextmanager
    def _batches(self) -> Iterator[Iterator[Any]]:
        """Begin a pass; a second one beside it, as in nested loops, gets workers of its own."""
        is_first, self._is_running = not self._is_running, True
        try:
            with sampling.no_word_of_dead_workers(), self._starting(), self._dead_workers_named():
                if is_first:
                    batches = iter(self.dataloader)  # waits for workers that go on
                else:
                    batches = torch_private.batches_of(self.dataloader)
                    self._beside.add(batches)
            yield batches
        except Exception:
            # A worker may have died; and who holds on to the error holds on to the others, which
            # torch does not end well once they are garbage.
            if is_first:
                self.end_workers()
            raise
        finally:
            if is_first:
                self._is_running = False

    def end_workers(self) -> None:
        """End all worker processes; those of the next pass are started anew."""
        running = torch_private.forget_running_batches(self.dataloader)
        for batches in [*self._beside, *([] if running is None else [running])]:
            torch_private.stop_workers(batches)

    def _tell_of_full_cache(self) -> None:
        cache = self._cache
        if cache is not None and cache.is_full and not self._has_told_of_full_cache:
            self._has_told_of_full_cache = True
            say(
                f"--cache is full: {cache.used / GIGABYTE:.1f} GB of images are kept. All others "
                "are read every time; a larger --cache_gb holds more, if there is memory."
            )

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next: a pass over the data; who does not has them counted."""
        self._pass = self.sampler.epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        """Return where the running pass stands, and what decides those to come."""
        is_over = self._delivered >= self._pass_length
        return {
            "epoch": self._pass + is_over,
            "seed": self.sampler.seed,
            "order_seed": self.sampler.order_seed,
            "items": 0 if is_over else self._delivered,
            "pictures": self._images,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue inside the pass, or with the next; `has_images_of` says whether it fits."""
        if self.sampler.seed is not None and state["seed"] is not None:
            self.sampler.seed = state["seed"]
        is_over = state["items"] >= self._pass_length  # as earlier versions saved it
        self.set_epoch(state["epoch"] + is_over)
        self.sampler.order_seed = state["order_seed"]
        self.sampler.start = self._delivered = 0 if is_over else state["items"]

    def has_images_of(self, state: Mapping[str, Any]) -> bool:
        """Tell whether the data set and its order are those of a saved state."""
        same_order = (state["order_seed"] is not None) == self.sampler.shuffle
        return state["pictures"] == self._images and (same_order or state["items"] == 0)

    @property
    def _pass_length(self) -> int:
        return self._drawing.epoch_size or len(self.dataset)

    @cached_property
    def _images(self) -> dict[str, Any]:
        """Describe the data set by its length and the names of its files, and what is drawn."""
        names = hashlib.blake2b(digest_size=16)
        for attribute, paths in files_of(self.dataset).items():
            names.update(attribute.encode())
            for path in paths:
                names.update(os.fsencode(path.removeprefix(self._root)) + b"\0")
        images = {"count": len(self.dataset), "names": names.hexdigest()}
        return images | self._drawing.as_saved()


def files_of(dataset: BaseDataset) -> dict[str, list[str]]:
    """Return the image files of a data set by the attribute that lists them.

    Those that `image_files` of its class declares have no attribute; a plugin may use that name
    for something else.
    """
    declared = own_method(dataset, "image_files", arguments=0)
    if declared is not None and type(dataset).image_files is not BaseDataset.image_files:
        files = declared()
        if isinstance(files, list | tuple) and all(isinstance(f, str | os.PathLike) for f in files):
            return {"": [os.fspath(file) for file in files]}
    return lists_of_files(dataset)


def weights_of(dataset: BaseDataset, balanced: bool = False) -> list[float]:
    """Return what `sampling_weights` of a data set says; a plugin may use that name otherwise.

    With `balanced`, where it says nothing, the folders of its files are equally likely.
    """
    method = own_method(dataset, "sampling_weights", arguments=0)
    found = None if method is None else method()
    if isinstance(found, list | tuple) and len(found) == len(dataset):
        return [float(weight) for weight in found]
    lists = files_of(dataset).values() if balanced else ()
    one_each = (paths for paths in lists if len(paths) == len(dataset))
    return weights_by_folder(next(one_each, ()))


def order_of(dataset: BaseDataset) -> sampling.Order | None:
    """Return `epoch_order` of a data set; a method that takes no `generator` is its own affair."""
    method = own_method(dataset, "epoch_order", arguments=1)
    is_ours = method is not None and list(signature(method).parameters) == ["generator"]
    return method if is_ours else None


def _end_workers(loader: "weakref.ref[BatchLoader]") -> None:
    if (alive := loader()) is not None:
        alive.end_workers()
