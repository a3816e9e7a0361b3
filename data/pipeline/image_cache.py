"""Images kept in memory: decoded once, however many epochs and processes want them."""

import hashlib
import mmap
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from util.base import torch_private
from util.base.system import free_memory

Array = NDArray[Any]
Key = tuple[object, ...]  # its `repr` must be the same in every process

GIGABYTE = 10**9
RESERVE = GIGABYTE // 2  # memory that is left to everybody else
PATIENCE = 10.0  # seconds to wait for a lock whose holder may have been killed
ALIGNMENT = 64  # bytes, a cache line
HAS_NAMELESS_FILES = hasattr(os, "memfd_create")

# The columns of a row of the index, and of the head that precedes it.
_ROW = 8  # digest (2), where it begins (+ 1; 0: not yet written), type, dimensions, shape (3)
_BEGIN, _TYPE, _DIMENSIONS, _SHAPE = 2, 3, 4, 5
_USED, _COUNT, _FULL = 0, 1, 2


class ImageCache:
    """Keep arrays of any type until a budget is used up; nothing is ever replaced.

    Processes that are forked from this one, or get the cache by being spawned, see what each of
    them keeps. A process that dies meanwhile costs at most the others' use of the cache.

    Args:
        budget: bytes of memory at most.
        entries: how many arrays there may be, of up to three dimensions each.
    """

    def __init__(self, budget: int, entries: int) -> None:
        self.budget = budget
        self._rows = 1 << (2 * max(1, entries)).bit_length()  # at most half of them are used
        head = (self._rows + 1) * _ROW * 8
        self._memory = _SharedMemory(head + budget)
        self._lock = torch.multiprocessing.Lock()
        self._connect()

    def _connect(self) -> None:
        self._seen: dict[Key, Array] = {}  # by this process, which needs no lock for them
        self._is_stuck = False  # who held the lock was killed
        memory = self._memory.view()
        self._head = memory[: _ROW * 8].view(np.int64)
        index_end = (self._rows + 1) * _ROW * 8
        self._index = memory[_ROW * 8 : index_end].view(np.int64).reshape(self._rows, _ROW)
        self._bytes = memory[index_end:]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what each process has for itself."""
        return {name: vars(self)[name] for name in ("budget", "_rows", "_memory", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._connect()

    @property
    def count(self) -> int:
        """Return how many arrays are kept."""
        return int(self._head[_COUNT])

    @property
    def used(self) -> int:
        """Return how many bytes they take."""
        return int(self._head[_USED])

    @property
    def is_full(self) -> bool:
        """Tell whether an array found no room."""
        return bool(self._head[_FULL])

    def get_or_keep(self, key: Key, make: Callable[[], Array]) -> Array:
        """Return what is kept under a key; else make it, and keep it if there is room."""
        found = self.get(key)
        if found is None:
            found = make()
            self.put(key, found)
        return found

    def get(self, key: Key) -> Array | None:
        """Return what was kept under a key, by whichever process; it is not to be written to."""
        found = self._seen.get(key)
        if found is None and (row := self._look_up(key)) is not None:
            begin, shape = int(row[_BEGIN]) - 1, row[_SHAPE : _SHAPE + row[_DIMENSIONS]].tolist()
            dtype = np.dtype(row[_TYPE : _TYPE + 1].tobytes().rstrip(b"\0").decode())
            found = np.ndarray(shape, dtype, self._bytes, begin)
            self._seen[key] = found
        return found

    def put(self, key: Key, array: Array) -> None:
        """Keep a copy of an array, unless there is no room or it is kept already."""
        claimed = self._claim(key, array)
        if claimed is None:
            return
        row, begin = claimed
        np.ndarray(array.shape, array.dtype, self._bytes, begin)[...] = array
        # The lock also makes sure that who sees the row sees the array.
        if self._take_lock():
            row[_BEGIN] = begin + 1
            self._head[_COUNT] += 1
            self._lock.release()

    def _claim(self, key: Key, array: Array) -> tuple[Any, int] | None:
        """Return an empty row, with all but its place written, and the place."""
        if not self._take_lock():
            return None
        try:
            row, is_taken = self._find(key)
            if is_taken:
                return None
            begin = int(self._head[_USED])
            length = array.nbytes + -array.nbytes % ALIGNMENT
            if row is None or begin + length > self.budget or not _has_room(length):
                self._head[_FULL] = 1
                return None
            self._head[_USED] = begin + length
            row[:_BEGIN] = _digest(key)
            row[_TYPE] = np.frombuffer(array.dtype.str.encode().ljust(8, b"\0"), np.int64)[0]
            row[_DIMENSIONS] = array.ndim
            row[_SHAPE : _SHAPE + array.ndim] = array.shape
            return row, begin
        finally:
            self._lock.release()

    def _look_up(self, key: Key) -> Any | None:
        if not self._head[_COUNT] or not self._take_lock():
            return None
        try:
            row, is_taken = self._find(key)
            return row if row is not None and is_taken and row[_BEGIN] else None
        finally:
            self._lock.release()

    def _take_lock(self) -> bool:
        if not self._is_stuck:
            self._is_stuck = not self._lock.acquire(timeout=PATIENCE)
        return not self._is_stuck

    def _find(self, key: Key) -> tuple[Any | None, bool]:
        """Return a key's row and True, or the row that it would get (None: no more) and False."""
        digest = _digest(key)
        first = int(digest[0]) % self._rows
        for step in range(self._rows):
            row = self._index[(first + step) % self._rows]
            if not row[:_BEGIN].any():
                has_space = 2 * self._head[_COUNT] < self._rows
                return row if has_space else None, False
            if (row[:_BEGIN] == digest).all():
                return row, True
        return None, False


def _has_room(length: int) -> bool:
    """Tell whether the system has so many bytes left."""
    free = free_memory()
    return free is None or free - RESERVE > length


def _digest(key: Key) -> Any:
    digest = hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
    return np.frombuffer(digest, dtype=np.int64)


class _SharedMemory:
    """Bytes that several processes share.

    On Linux a file in memory without a name: provided as it is written to, gone with the last
    process however that ends, and not limited by /dev/shm, which is small in containers. torch's
    shared memory elsewhere.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._storage: torch.UntypedStorage | None = None
        if HAS_NAMELESS_FILES:
            self._file = os.memfd_create("images")
            os.ftruncate(self._file, size)
            self._map = mmap.mmap(self._file, size)
        else:
            self._storage = torch_private.shared_bytes(size)

    def __getstate__(self) -> dict[str, Any]:
        """Hand the memory to a process that is spawned."""
        if self._storage is not None:
            return {"_size": self._size, "_storage": self._storage}
        from multiprocessing.reduction import DupFd  # not on Windows

        return {"_size": self._size, "_storage": None, "_file": DupFd(self._file)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self._storage is None:
            self._file = state["_file"].detach()
            self._map = mmap.mmap(self._file, self._size)

    def view(self) -> Any:
        """Return the bytes as an array."""
        if self._storage is None:
            return np.frombuffer(self._map, dtype=np.uint8)
        return torch.tensor([], dtype=torch.uint8).set_(self._storage).numpy()
