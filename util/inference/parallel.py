"""Several images at once on the CPU, each in a process of its own with one thread.

Networks for images of usual sizes cannot use many threads well: two processes with a thread each
get a third more done than one process with two threads. What they make has the same bits, as long
as nothing in a network adds up by threads.
"""

import multiprocessing
import os
import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from typing import Any, TypeVar

import torch

from util.base.errors import UserError
from util.base.stop_signals import leave_stopping_to_the_parent

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_PIXELS = 512 * 512  # of an image: larger ones use threads well, and much memory
WAITING = 2  # images for each process that are ready, or nearly
_work: Callable[[Any], Any]  # of this process, which is one of several


def processes_for(images: int) -> int:
    """Return how many processes are worth starting for so many images of a usual size.

    As many as torch may have threads: so OMP_NUM_THREADS is heeded.
    """
    can_fork = "fork" in multiprocessing.get_all_start_methods()
    return max(1, min(images, torch.get_num_threads())) if can_fork else 1


def in_processes(
    work: Callable[[Item], Result], items: Iterable[Item], processes: int
) -> Iterator[tuple[Item, Result]]:
    """Yield each item and what `work` makes of it, in order; of one process, it is this one.

    So is the first item's, always: what it leaves here, all processes begin with as copies of this
    one. Items and results travel as bytes, not through shared memory, of which containers have
    little.

    Raises:
        UserError: a process has died; what `work` raises stays itself.
    """
    items = iter(items)
    for item in items if processes < 2 else islice(items, 1):
        yield item, work(item)
    if processes > 1:
        yield from _in_others(work, items, processes)


def _in_others(
    work: Callable[[Item], Result], items: Iterable[Item], processes: int
) -> Iterator[tuple[Item, Result]]:
    pool = ProcessPoolExecutor(
        processes, multiprocessing.get_context("fork"), _begin, (work, os.getpid())
    )
    waiting: deque[tuple[Item, Future[bytes]]] = deque()
    try:
        for item in chain(items, [None]):
            if item is not None:
                waiting.append((item, pool.submit(_call, pickle.dumps(item))))
            most = processes * WAITING if item is not None else 0
            while waiting and (waiting[0][1].done() or len(waiting) > most):
                first, made = waiting.popleft()
                yield first, pickle.loads(made.result())
    except BrokenProcessPool:
        raise UserError(
            f"One of the {processes} processes that translate was ended from outside, perhaps for "
            "want of memory. OMP_NUM_THREADS=1 translates in one process."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(work: Callable[[Any], Any], parent: int) -> None:
    """Get a process ready that was just forked."""
    global _work
    _work = work
    leave_stopping_to_the_parent()
    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End when the parent has been killed: nobody else would tell this process."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _call(item: bytes) -> bytes:
    return pickle.dumps(_work(pickle.loads(item)))
