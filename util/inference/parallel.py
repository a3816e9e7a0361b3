"""Several images at once on the CPU, each in a process of its own with one thread.

Networks for images of usual sizes cannot use many threads well: two processes with a thread each
get a tenth to a third more done than one process with two threads. What they make has the same
bits, as long as nothing in a network adds up by threads.
"""

import multiprocessing
import os
import pickle
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

import torch

from util.base.errors import UserError
from util.base.stop_signals import leave_stopping_to_the_parent
from util.base.system import free_memory, processes_here, usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_PIXELS = 512 * 512  # of an image: larger ones use threads well, and much memory
MEMORY = 2**30  # bytes that a process may need for them
WAITING = 2  # images for each process that are ready, or nearly
_work: Callable[[Any], Any]  # of this process, which is one of several


def processes_for(images: int) -> int:
    """Return how many processes are worth starting for so many images of a usual size.

    As many as torch may have threads, so OMP_NUM_THREADS is heeded, if there is memory for them.
    Processes that torchrun has started on this machine have their shares of its cores and memory.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        return 1
    free = free_memory()
    _, here = processes_here()
    fitting = images if free is None else free // MEMORY // here
    cores = usable_cores() // here if here > 1 else images
    return max(1, min(images, fitting, cores, torch.get_num_threads()))


def in_processes(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    processes: int,
    *,
    here: Callable[[Item], bool] = lambda item: False,
) -> Iterator[tuple[Item, Result]]:
    """Yield each item and what `work` makes of it, in order; of one process, it is this one.

    So is the first item's, always: what it leaves here, all processes begin with as copies of this
    one. And so are those that are to be worked on `here`, with all threads, while nothing else is.
    Items and results travel as bytes, not through shared memory, of which containers have little.

    Raises:
        UserError: a process has died; what `work` raises stays itself.
    """
    items = iter(items)
    for item in items if processes < 2 else islice(items, 1):
        yield item, work(item)
    if processes > 1:
        yield from _in_others(work, items, processes, here)


def _in_others(
    work: Callable[[Item], Result],
    items: Iterator[Item],
    processes: int,
    here: Callable[[Item], bool],
) -> Iterator[tuple[Item, Result]]:
    # Python 3.12 warns of threads that a copy lacks: those of torch, and of writers, which a
    # process that computes with one thread does not use. torch's loader begins its own likewise.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    pool = ProcessPoolExecutor(
        processes, multiprocessing.get_context("fork"), _begin, (work, os.getpid())
    )
    waiting: deque[tuple[Item, Future[bytes]]] = deque()
    try:
        for item in items:
            if here(item):
                yield from _finished(waiting, most=0)
                yield item, work(item)
                continue
            waiting.append((item, pool.submit(_call, pickle.dumps(item))))
            yield from _finished(waiting, most=processes * WAITING)
        yield from _finished(waiting, most=0)
    except BrokenProcessPool:
        raise UserError(
            f"One of the {processes} processes that translate was ended from outside, perhaps for "
            "want of memory. OMP_NUM_THREADS=1 translates in one process."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(waiting: deque[tuple[Item, Future[bytes]]], most: int) -> Iterator[tuple[Item, Any]]:
    """Yield what is finished, in order; waits if more than so many are not."""
    while waiting and (len(waiting) > most or waiting[0][1].done()):
        item, made = waiting.popleft()
        yield item, pickle.loads(made.result())


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
