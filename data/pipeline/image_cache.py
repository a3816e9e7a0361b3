"""Images kept in memory: decoded once, however many epochs and processes want them."""

import mmap
import os
import pickle
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from util.base.system import free_memory
from util.base.torch_private import shared_bytes

Array = NDArray[Any]

GIGABYTE = 10**9
RESERVE = GIGABYTE // 2  # memory that is left to everybody else
PATIENCE = 10.0  # seconds to wait for a lock whose holder may have been killed
ALIGNMENT = 64  # bytes, a cache line
HAS_NAMELESS_FILES = hasattr(os, "memfd_create")
_USED, _FULL = 0, 1  # numbers at the beginning of the memory: bytes of it; whether one had no room


class ImageCache:
    """Keep arrays of any type until a budget (bytes) is used up; nothing is ever replaced.

    The memory is a list of records: the length of a label, the label (key, type and shape), the
    array. Processes that are forked from this one, or get the cache by being spawned, add to the
    list and read on where they stopped, so each sees what the others keep. A process that dies
    meanwhile costs at most the others' use of the cache.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._lock = torch.multiprocessing.Lock()
        size = ALIGNMENT + budget
        self._connect(_nameless_file(size) if HAS_NAMELESS_FILES else shared_bytes(size))

    def _connect(self, memory: int | torch.UntypedStorage) -> None:
        self._memory = memory
        self._is_stuck = False  # who held the lock was killed
        self._known: dict[Hashable, Array] = {}  # of the records that this process has read
        self._read = 0  # bytes
        if isinstance(memory, int):
            seen = np.frombuffer(mmap.mmap(memory, 0), dtype=np.uint8)
        else:
            seen = torch.tensor([], dtype=torch.uint8).set_(memory).numpy()
        self._head, self._records = seen[:ALIGNMENT].view(np.int64), seen[ALIGNMENT:]

    def __getstate__(self) -> tuple[Any, ...]:
        if not isinstance(self._memory, int):
            return self.budget, self._lock, self._memory
        from multiprocessing.reduction import DupFd  # not on Windows

        return self.budget, self._lock, DupFd(self._memory)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.budget, self._lock, memory = state
        self._connect(memory if isinstance(memory, torch.UntypedStorage) else memory.detach())

    @property
    def used(self) -> int:
        """Return how many bytes are taken."""
        return int(self._head[_USED])

    @property
    def is_full(self) -> bool:
        """Tell whether an array found no room."""
        return bool(self._head[_FULL])

    def get_or_keep(self, key: Hashable, make: Callable[[], Array]) -> Array:
        """Return what is kept under a key; else make it, and keep it if there is room."""
        found = self.get(key)
        if found is None:
            self.put(key, found := make())
        return found

    def get(self, key: Hashable) -> Array | None:
        """Return what was kept under a key, by whichever process; it is not to be written to."""
        if key not in self._known:
            self._read_on()
        return self._known.get(key)

    def put(self, key: Hashable, array: Array) -> None:
        """Keep a copy of an array, unless there is no room or it is kept already."""
        label = pickle.dumps((key, array.dtype.str, array.shape))
        begin = _aligned(8 + len(label))
        size = begin + _aligned(array.nbytes)
        with self._locked() as has_lock:
            if key in self._known or not has_lock:
                return
            if self.used + size > self.budget or not _has_room(size):
                self._head[_FULL] = 1
                return
            record = self._records[self.used : self.used + size]
            record[:8].view(np.int64)[0] = len(label)
            record[8 : 8 + len(label)] = np.frombuffer(label, np.uint8)
            np.ndarray(array.shape, array.dtype, record, begin)[...] = array
            self._head[_USED] += size
            self._read_records()

    def _read_on(self) -> None:
        """Learn of what was kept since; the lock makes sure that all of it can be seen."""
        if self._read < self.used:
            with self._locked():
                pass

    def _read_records(self) -> None:
        while self._read < self.used:
            record = self._records[self._read :]
            length = int(record[:8].view(np.int64)[0])
            key, dtype, shape = pickle.loads(record[8 : 8 + length].data)
            begin = _aligned(8 + length)
            self._known[key] = np.ndarray(shape, dtype, record, begin)
            self._read += begin + _aligned(self._known[key].nbytes)

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Hold the lock if it can be had, and tell so; what others have kept is known then."""
        has_lock = not self._is_stuck and self._lock.acquire(timeout=PATIENCE)
        self._is_stuck = not has_lock
        try:
            if has_lock:
                self._read_records()
            yield has_lock
        finally:
            if has_lock:
                self._lock.release()


def _aligned(length: int) -> int:
    return length + -length % ALIGNMENT


def _has_room(length: int) -> bool:
    """Tell whether the system has so many bytes left."""
    free = free_memory()
    return free is None or free - RESERVE > length


def _nameless_file(size: int) -> int:
    """Make a file in memory for several processes, on Linux; torch's shared memory does elsewhere.

    Provided as it is written to, gone with the last process however that ends, and not limited by
    /dev/shm, which is small in containers.
    """
    file = os.memfd_create("images")
    os.ftruncate(file, size)
    return file
