"""The processes that compute one run together: how many, which one this is, what they exchange.

Each takes its share of every batch. Without several processes everything here does nothing, so
nothing else asks whether there are any.

    with group.joined("cuda", seconds=600):  # torchrun has started this process among others
        total = group.add_up(numbers)  # of all processes
        everything = group.gathered(whatever)
"""

import gc
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import Tensor

from util.base import system
from util.base.errors import UserError
from util.base.stop_signals import end_at_once
from util.base.torch_private import PrefixStore, Store, TCPStore
from util.processes.failures import Messages, Waiting

T = TypeVar("T")


@dataclass
class Group:
    """The processes of a run, from the view of one of them."""

    rank: int
    count: int
    attempt: int  # from 1; processes that are started again make the next one
    waiting: Waiting
    memory: Store  # outlives restarts
    board: Store  # of messages to each other, of this attempt
    seconds: float  # that nobody is waited for longer than, unless he shows that he goes on


_group: Group | None = None
_is_alone = False


def count() -> int:
    """Return how many processes compute together here and now."""
    return 1 if _group is None or _is_alone else _group.count


def rank() -> int:
    """Return the number of this process among them, from 0."""
    return 0 if _group is None or _is_alone else _group.rank


def is_of_script() -> bool:
    """Tell whether processes compute together that a script has joined by means of torch."""
    return _group is None and dist.is_available() and dist.is_initialized()


@contextmanager
def alone() -> Iterator[None]:
    """Let this process compute by itself for a while: others need not do the same."""
    with _set_alone(True):
        yield


@contextmanager
def with_others() -> Iterator[None]:
    """Do something that all do, inside of `alone`."""
    with _set_alone(False):
        yield


@contextmanager
def _set_alone(value: bool) -> Iterator[None]:
    global _is_alone
    before, _is_alone = _is_alone, value
    try:
        yield
    finally:
        _is_alone = before


@contextmanager
def joined(device: str, seconds: float) -> Iterator[None]:
    """Compute with the other processes that torchrun, or what is like it, has started.

    Tensors of the CPU travel by gloo, those of GPUs by NCCL. Nobody is waited for longer than
    `seconds`.
    """
    if not system.is_launched() or _group is not None:
        yield
        return
    messages = join(device, seconds)
    try:
        yield
    except BaseException as error:
        messages.tell(error)
        if device == "cpu":  # NCCL would wait for a farewell of all
            leave()
        raise
    leave()


def join(device: str, seconds: float) -> Messages:
    """Join the other processes, until `leave`; see `joined`."""
    global _group
    rank, count = int(os.environ["RANK"]), system.processes_started()
    timeout = timedelta(seconds=seconds)
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    try:
        with end_at_once():
            outer = PrefixStore("training", _store(rank, count, timeout))
            attempt = _agreed_attempt(outer, rank, count, seconds)
            # A part of its own: else addresses of processes that are gone would be found there.
            store = PrefixStore(f"attempt {attempt}", outer)
            dist.init_process_group(
                backend, store=store, rank=rank, world_size=count, timeout=timeout
            )
    except RuntimeError as error:
        raise UserError(
            f"Process {rank} of {count} has not found the others within {seconds:g} seconds "
            f"(--dist_timeout): {error}\n"
            "  See that all machines are started with the same number of processes, and reach "
            f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}."
        ) from error
    messages = Messages(store, rank, count)
    messages.introduce(f"process {os.getpid()} on {socket.gethostname()}")
    _group = Group(rank, count, attempt, Waiting(messages), outer, store, seconds)
    return messages


def leave() -> None:
    """Leave the other processes, if there are any."""
    global _group
    if _group is not None:
        _group.waiting.end()
        _group = None
    if dist.is_available() and dist.is_initialized():  # by a script of somebody else, too
        dist.destroy_process_group()
        gc.collect()  # now: in a process just forked it would wait for ever for threads of this one


def _agreed_attempt(store: Store, rank: int, count: int, seconds: float) -> int:
    """Return the number of this attempt: the first process takes a new one, for all who are there.

    torchrun counts restarts on each machine by itself, and what ended earlier has left its words.
    """
    if rank == 0:
        attempt = store.add("attempts", 1)
        keys = [f"{each} is in attempt {attempt}" for each in range(1, count)]
        if keys:
            store.wait(keys, timedelta(seconds=seconds))
        store.set(f"in attempt {attempt}", " ".join(_text(store, key) for key in keys))
        return attempt
    own, told, last = uuid4().hex, 0, time.monotonic() + seconds
    while time.monotonic() < last:
        attempt = store.add("attempts", 0)
        if attempt > told:
            store.set(f"{rank} is in attempt {attempt}", own)
            told = attempt
        elif store.check([name := f"in attempt {attempt}"]) and own in _text(store, name):
            return attempt
        time.sleep(0.1)
    raise RuntimeError("the first process has not come")


def _text(store: Store, name: str) -> str:
    return store.get(name).decode()


def _store(rank: int, count: int, timeout: timedelta) -> Store:
    """Return where processes leave messages, and gloo and NCCL their addresses."""
    address, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT", "")
    if not (address and port.isdigit()):
        raise UserError(
            f"The environment says that this is process {rank} of {count} (RANK, WORLD_SIZE), but "
            "not where the first one is (MASTER_ADDR, MASTER_PORT). Start them with torchrun, or "
            "unset RANK and WORLD_SIZE to use one process."
        )
    of_agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    keeps = rank == 0 and not of_agent
    return TCPStore(address, int(port), count, keeps, timeout, wait_for_workers=False)


def remember(name: str, text: str) -> None:
    """Note something that is to be known after a restart."""
    if _group is not None:
        with suppress(RuntimeError):  # whoever keeps notes is gone, and starts nobody again
            _group.memory.set(name, f"{_group.attempt} {text}")


def remembered(name: str) -> str:
    """Return what was noted last before a restart, or ""."""
    if _group is None or not _group.memory.check([name]):
        return ""
    attempt, _, text = _text(_group.memory, name).partition(" ")
    return text if int(attempt) < _group.attempt else ""


# ---- what they exchange -----------------------------------------------------------------------


def add_up(tensor: Tensor) -> Tensor:
    """Replace a tensor by the sum of those that all processes have, and return it."""
    if count() > 1:
        with named("add_up"):
            dist.all_reduce(tensor)
    return tensor


def copy_from_first(tensor: Tensor) -> None:
    """Replace a tensor by that of the first process."""
    if count() > 1:
        with named("copy_from_first"):
            dist.broadcast(tensor, src=0)


def stacked(tensor: Tensor) -> Tensor:
    """Return the tensors that all processes have, of one shape, along a new first dimension."""
    if count() == 1:
        return tensor[None]
    tensor = tensor.contiguous()
    every = [torch.empty_like(tensor) for _ in range(count())]
    with named("stacked"):
        dist.all_gather(every, tensor)
    return torch.stack(every)


def gathered(value: T) -> list[T]:
    """Return what each process gives, in their order; plain values, or tensors on the CPU."""
    if count() == 1:
        return [value]
    every: list[Any] = [None] * count()
    with named("gathered"):
        dist.all_gather_object(every, value)
    return every


def of_first(value: T) -> T:
    """Return what the first process gives."""
    if count() == 1:
        return value
    values = [value]
    with named("of_first"):
        dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
    return values[0]


def highest(*numbers: int) -> list[int]:
    """Return the highest of the numbers that each process gives, which wait for each other."""
    if count() == 1:
        return [*numbers]
    found = torch.tensor(numbers)  # on the CPU: what a GPU has to do yet is not waited for
    with named("highest"):
        dist.all_reduce(found, dist.ReduceOp.MAX)
    return found.tolist()


def wait_for_all() -> None:
    """Go on when all processes have come here."""
    highest(0)


def board() -> tuple[Store, float]:
    """Return where processes leave messages to each other, and for how long to wait for one."""
    assert _group is not None
    return _group.board, _group.seconds


@contextmanager
def named(what: str) -> Iterator[None]:
    """Let an error of the network name the processes that are missing; `what` waits for them."""
    assert _group is not None
    with _group.waiting.for_others(what):
        yield


# ---- shares of a batch ------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """The images of a batch that are this process's: so many in each process, one after another.

    If a batch has fewer images than there are processes, those that get none compute with an image
    of others, which counts nowhere.
    """

    images: tuple[int, ...]  # of each process
    rank: int = 0

    @property
    def fraction(self) -> float:
        """How much of the batch this process has: what its mean counts for in that of all."""
        return self.images[self.rank] / sum(self.images)

    @property
    def counts(self) -> bool:
        """Tell whether this process has images of its own."""
        return self.images[self.rank] > 0

    @property
    def rows(self) -> slice:
        """Where this process's images are in the whole batch."""
        first = sum(self.images[: self.rank])
        return slice(first, first + self.images[self.rank]) if self.counts else slice(0, 1)

    @property
    def size(self) -> int:
        """How many images this process computes with."""
        return max(1, self.images[self.rank])


def shares_of(images: int, processes: int) -> tuple[int, ...]:
    """Divide a batch as evenly as it goes.

    >>> shares_of(6, 3), shares_of(4, 3), shares_of(1, 2)
    ((2, 2, 2), (1, 1, 2), (0, 1))
    """
    borders = [images * number // processes for number in range(processes + 1)]
    return tuple(end - begin for begin, end in zip(borders, borders[1:], strict=False))


_share: Share | None = None  # of the batch that is being computed, as far as it was told


def begin_batch(images: int) -> None:
    """Tell of how many images, in all processes together, the batch is that comes next."""
    global _share
    _share = Share(shares_of(images, count()), rank()) if count() > 1 else None


def share(size: int = 1) -> Share:
    """Return this process's share of the batch; of one that nobody told, `size` images in each."""
    if _share is None or count() == 1:
        return Share((size,) * count(), rank())
    return _share


def rows_of_all(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape (N, ...) of a batch in all processes together, for one of this process.

    Several batches may have been put together into one.
    """
    own = share(shape[0])
    return (_batches_in(shape[0], own) * sum(own.images), *shape[1:])


def own_rows(whole: Tensor) -> Tensor:
    """Return this process's rows of a tensor (N, ...) that was made for all processes together."""
    if count() == 1:
        return whole
    own = share(whole.shape[0] // count())
    batches = whole.unflatten(0, (-1, sum(own.images)))
    return batches[:, own.rows].flatten(0, 1)


def drawn_for_all(draw: Callable[..., Tensor], shape: Sequence[int], **settings: Any) -> Tensor:
    """Return this process's rows of random numbers that are drawn for the batch of all processes.

    So their number changes no result, and their generators stay the same. `draw` takes a shape, as
    torch.randn does; `shape` is (N, ...) for this process's batch.
    """
    return own_rows(draw(rows_of_all(shape), **settings))


def makers_of(size: int) -> list[int]:
    """Return which process has each image of the whole batch, in order, if this one has `size`.

    Several batches may have been put together into one.
    """
    own = share(size)
    batch = [number for number, images in enumerate(own.images) for _ in range(images)]
    return batch * _batches_in(size, own)


def _batches_in(size: int, own: Share) -> int:
    """Return how many batches were put together, if this process has `size` images of them."""
    if size % own.size:
        raise UserError(
            f"Dropout or an image pool got {size} images of a batch of which this process has "
            f"{own.size}: processes do not know whose these are. Give them whole batches, or train "
            "in one process."
        )
    return size // own.size


def handed_over(rows: Sequence[Tensor], holders: Sequence[int], to: Sequence[int]) -> Tensor:
    """Give each row (1, ...) to the process that shall have it, and return what this one gets.

    All processes give the same lists; a row that another one holds may be (0, ...) here.
    """
    if list(holders) == list(to):
        own = [row for row, target in zip(rows, to, strict=True) if target == rank()]
        return torch.cat(own or [rows[0][:0]])
    sent = sorted((n for n, one in enumerate(holders) if one == rank()), key=to.__getitem__)
    got = sorted((n for n, one in enumerate(to) if one == rank()), key=holders.__getitem__)
    flat = torch.cat([rows[0][:0], *(rows[n] for n in sent)]).contiguous()
    found = flat.new_empty(len(got), *flat.shape[1:])
    gets, sends = Counter(holders[n] for n in got), Counter(to[n] for n in sent)
    every = range(count())
    with named("handed_over"):
        dist.all_to_all_single(found, flat, [gets[n] for n in every], [sends[n] for n in every])
    return found[sorted(range(len(got)), key=got.__getitem__)]


def from_holders(rows: Sequence[Tensor], holders: Mapping[int, int]) -> list[Tensor]:
    """Return, in all processes, rows of which some are held by one of them, by their places."""
    if count() == 1:
        return list(rows)
    own = {n: rows[n].cpu() for n, holder in holders.items() if holder == rank()}
    every = {n: row for held in gathered(own) for n, row in held.items()}
    return [every.get(n, row) for n, row in enumerate(rows)]
