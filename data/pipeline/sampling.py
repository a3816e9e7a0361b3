"""From a data set to batches: the order of the items, and where their randomness comes from."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler, default_collate, get_worker_info

from util.base import rng
from util.base.errors import LoadError, UserError
from util.base.stop_signals import leave_stopping_to_the_parent
from util.processes import group

Seeded = tuple[int, int]  # (seed of its random choices, index of the item)
Order = Callable[[torch.Generator], Iterable[int]]  # all items once, at random
MOST_IN_A_ROW = 100  # bad images, before --skip_bad_images gives up


class ImageError(LoadError):
    """An image that cannot be used."""

    hint = "Mend or remove it, or give --skip_bad_images."


class BatchError(LoadError):
    """Images that do not fit together."""


class WorkerError(LoadError):
    """A process that loads images has died, or cannot begin."""

    hint = (
        "If the machine ran out of memory or processes, give a smaller --num_threads; with "
        "--num_threads 0 there are no such processes. In a container /dev/shm may be too small: "
        "start it with more, as by docker run --shm-size 2g."
    )


class EpochSampler(Sampler[Any]):
    """Yield the indices of an epoch, in order or shuffled, and know how to go on inside one.

    Without workers (and a `seed`) the order comes from torch's global generator, with the very
    draws of torch's own sampler, and the items' randomness from the global generators: a seed of
    those gives the reference's sequence.

    With workers each index comes as (seed, index) for `SeededDataset`, and everything depends on
    the run's seed, the epoch and the position alone: not on the number of workers.

    Of several processes that train together each yields its rows of every batch, see `group.Share`.
    """

    def __init__(
        self,
        length: int,
        *,
        shuffle: bool,
        seed: int | None = None,
        weights: Sequence[float] = (),  # how likely each item is; drawn with replacement then
        there_are: int | None = None,  # items, if an epoch has more or fewer
        order: Order | None = None,  # in place of one in which all orders are equally likely
        batch_size: int = 1,  # of all processes together
    ) -> None:
        self.length = length
        self._order = order
        self._there_are = there_are
        self.shuffle = shuffle
        self.weights = weights if shuffle else ()
        self.seed = seed
        self.epoch = 1  # that the next iteration yields; the training loop may set it
        self.start = 0  # how many items of that epoch to leave out, since they have been seen
        self.order_seed: int | None = None  # decides the order of the epoch that was begun last
        self.seeds: Sequence[int] = ()  # of single items, by index, if these have their own
        self.only: range | None = None  # positions to yield, if not all
        self._batch_size = batch_size

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int | Seeded]:
        epoch, start = self.epoch, self.start
        self.epoch, self.start = epoch + 1, 0  # for scripts that do not set the epoch
        if start == 0:
            self.order_seed = self._draw_order_seed(epoch) if self.shuffle else None
        order: Iterable[int] = range(self.length)  # plugins may have very many
        if self.order_seed is not None:
            order = self._shuffled(torch.Generator().manual_seed(self.order_seed))
        for position, index in at_positions(order, self._positions(start)):
            if index < len(self.seeds):
                yield self.seeds[index], index
            elif self.seed is None:
                yield index
            else:
                yield rng.fold_seed(self.seed, epoch, position), index

    def _positions(self, start: int) -> Iterable[int]:
        """Return the positions in the order of all items that are for this process."""
        if self.only is not None:
            return self.only
        if group.count() == 1:
            return range(start, self.length)
        batches = range(start, self.length, self._batch_size)
        return chain.from_iterable(map(self._own_positions, batches))

    def _own_positions(self, first: int) -> range:
        """Return those of the batch that begins at a position."""
        images = min(self._batch_size, self.length - first)
        rows = group.Share(group.shares_of(images, group.count()), group.rank()).rows
        return range(first + rows.start, first + rows.stop)

    def _shuffled(self, generator: torch.Generator) -> Iterable[int]:
        if not len(self.weights):
            return self._passes(generator)
        weights = torch.as_tensor(self.weights, dtype=torch.float64)
        drawn = torch.multinomial(weights, self.length, replacement=True, generator=generator)
        return drawn.tolist()

    def _passes(self, generator: torch.Generator) -> Iterator[int]:
        """Yield every item before any again, without an end."""
        there_are = self.length if self._there_are is None else self._there_are
        while there_are:
            if self._order is not None:
                yield from self._order(generator)
            else:
                yield from torch.randperm(there_are, generator=generator).tolist()

    def _draw_order_seed(self, epoch: int) -> int:
        if self.seed is None:
            return int(torch.empty((), dtype=torch.int64).random_())
        return rng.fold_seed(self.seed, epoch)


def at_positions(order: Iterable[int], positions: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield rising positions in an order, each with the index that is there."""
    if isinstance(order, Sequence):
        yield from ((position, order[position]) for position in positions)
        return
    rest, passed = iter(order), 0
    for position in positions:
        yield position, next(islice(rest, position - passed, None))
        passed = position + 1


class SeededDataset(Dataset[Any]):
    """Seed python, numpy and torch before each item of another data set that comes with a seed."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitem__(self, where: int | Seeded) -> Any:
        if isinstance(where, int):
            return self.dataset[where]
        seed, index = where
        # Where no workers load, the model's random numbers are of this process too.
        before = rng.capture() if group.count() > 1 and get_worker_info() is None else None
        rng.seed_all(seed)
        try:
            return self._item(index)
        finally:
            if before is not None:
                rng.put_back(before)

    def _item(self, index: int) -> Any:
        try:
            return self.dataset[index]
        except LoadError as error:
            return Failure(str(error), type(error))
        except (UserError, OSError, SyntaxError) as error:  # the latter two from plugins
            return Failure(str(error))


class SkippingDataset(Dataset[Any]):
    """Put the next item that can be used, as `Substituted`, in the place of one that cannot.

    Raises:
        UserError: too many in a row are bad.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> Any:
        length = len(self.dataset)  # type: ignore[arg-type]
        problems: list[str] = []
        for step in range(min(length, MOST_IN_A_ROW)):
            try:
                item = self.dataset[(index + step) % length if step else index]
                return Substituted(item, problems) if problems else item
            except LoadError:  # not of this image alone
                raise
            except (UserError, OSError, SyntaxError) as error:  # the latter two from plugins
                problems.append(str(error))
        raise UserError(
            f"--skip_bad_images found {len(problems)} images in a row that cannot be used, the "
            f"last one because: {problems[-1]}\n"
            "  Run scripts/check_dataset.py on the data set."
        )


@dataclass(frozen=True)
class Failure:
    """A user's mistake met by a worker: travels to the main process without the traceback."""

    message: str
    kind: type[LoadError] = ImageError


@dataclass(frozen=True)
class Substituted:
    """An item or a batch, and why the ones that belong in its place were passed over."""

    content: Any
    problems: list[str]


def collate(items: list[Any], *, copies: bool = True) -> Any:
    """Stack items into a batch; if one of them failed, or they make none, it is that failure.

    Without `copies` a batch of one has the memory of its item, which nobody may keep then.
    """
    if failures := [item for item in items if isinstance(item, Failure)]:
        return failures[0]
    problems = [text for item in items if isinstance(item, Substituted) for text in item.problems]
    items = [item.content if isinstance(item, Substituted) else item for item in items]
    try:
        batch = _stacked(items, copies=copies)
        if get_worker_info() is not None:
            _share(batch)
    except RuntimeError as error:
        if text := _why_not_one_batch(items):
            return Failure(text, BatchError)
        if not _tells_of_shared_memory(error):
            raise
        reason = str(error).partition("\n")[0]
        text = f"A process that loads images has no shared memory left ({reason})."
        return Failure(text, WorkerError)
    return Substituted(batch, problems) if problems else batch


def _stacked(items: list[Any], *, copies: bool) -> Any:
    if copies or len(items) > 1:
        return default_collate(items)
    (one,) = items
    return {k: v[None] if torch.is_tensor(v) else default_collate([v]) for k, v in one.items()}


def _share(batch: Any) -> None:
    """Put tensors where the main process can see them.

    torch would do it while it sends them: what fails there is lost, and would be waited for.
    """
    if isinstance(batch, Tensor):
        batch.share_memory_()
    elif isinstance(batch, Mapping | list | tuple):
        for part in batch.values() if isinstance(batch, Mapping) else batch:
            _share(part)


def _why_not_one_batch(items: list[Any]) -> str:
    """Say which tensors of these items differ in size, with the files they come from."""
    if not all(isinstance(item, Mapping) for item in items):
        return ""
    for name in items[0]:
        sized = [item for item in items if isinstance(item.get(name), Tensor | np.ndarray)]
        by_shape = {tuple(item[name].shape): item for item in sized}
        if len(by_shape) > 1:
            shown = " and ".join(
                f"{'x'.join(map(str, shape))} ({item.get(f'{name}_paths', 'no file')})"
                for shape, item in list(by_shape.items())[:2]
            )
            return (
                f"Images of several sizes make no batch: {name} is {shown}, as channels x height x "
                "width. Give --batch_size 1, or a --preprocess that brings all to one size, such "
                "as resize_and_crop."
            )
    return ""


def sizes_of(batch: Any) -> str:
    """Tell how large the images (N, C, H, W) of a batch are, by name."""
    images = batch.items() if isinstance(batch, Mapping) else ()
    return ", ".join(
        f"{name} {'x'.join(map(str, image.shape[1:]))}"
        for name, image in images
        if isinstance(image, Tensor) and image.dim() == 4
    )


def _tells_of_shared_memory(error: RuntimeError) -> bool:
    """Tell whether torch could not get memory that processes share: a file in /dev/shm."""
    return "shared memory" in str(error) or "</torch_" in str(error)


def tells_of_dead_worker(error: Exception) -> bool:
    """Tell whether torch raises this because a worker is gone, not because of an item."""
    if isinstance(error, ConnectionError | EOFError):  # "Caught": it comes from inside the worker
        return not str(error).startswith("Caught ")
    return str(error).startswith("DataLoader worker (pid")


def tells_of_no_process(error: Exception) -> bool:
    """Tell whether the system refuses a process, or what it takes to talk to one."""
    return isinstance(error, OSError) or "can't start new thread" in str(error)


@contextmanager
def no_word_of_dead_workers() -> Iterator[None]:
    """Keep torch from raising in the middle of a step because a worker has died.

    The loader notices it when it waits for the next batch, where a run can be saved.
    """
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        # torch sets its own when the first workers start. None: set by something else than Python
        signal.signal(signal.SIGCHLD, signal.SIG_DFL if before is None else before)


def prepare_worker(worker: int) -> None:
    """Keep a worker to one core, since the cores are shared, and let the parent decide its end."""
    del worker
    torch.set_num_threads(1)
    leave_stopping_to_the_parent()
