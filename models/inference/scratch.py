"""What lies between the layers of a network that is computed in tiles: in memory, or in a file."""

import math
import mmap
import os
import tempfile
from collections.abc import Sequence

import torch
from torch import Tensor

from models.inference.boxes import Box
from util.base.errors import writing

IN_MEMORY = 2**30  # bytes; what is larger goes to a file
DROP = getattr(mmap, "MADV_DONTNEED", None)  # unknown to Windows


class Scratch:
    """The values of a whole image, (N, C, H, W), which are read and written in boxes."""

    def __init__(self, shape: Sequence[int], dtype: torch.dtype) -> None:
        images, channels, height, width = shape
        lies = (images, height, width, channels)  # so that a box is whole rows of memory
        count = math.prod(lies)
        self._file: mmap.mmap | None = None
        if count * dtype.itemsize <= IN_MEMORY:
            self._values = torch.empty(lies, dtype=dtype)
        else:
            self._file = _mapped_file(count * dtype.itemsize)
            self._values = torch.frombuffer(self._file, dtype=dtype, count=count).view(lies)
        self.shape = tuple(shape)

    def read(self, box: Box) -> Tensor:
        """Return a box, (N, C, rows, columns); it is not a copy."""
        return self._values[:, slice(*box.rows), slice(*box.columns)].permute(0, 3, 1, 2)

    def write(self, box: Box, values: Tensor) -> None:
        """Write a box."""
        self.read(box).copy_(values)

    def release(self) -> None:
        """Let the memory go that the file's pages take; they stay in the file."""
        if self._file is not None and DROP is not None:
            self._file.madvise(DROP)


def _mapped_file(size: int) -> mmap.mmap:
    """Return a file without a name as memory; it takes its space at once, or says that it cannot.

    Raises:
        WriteError: there is no room in the folder for temporary files.
    """
    with writing(tempfile.gettempdir()), tempfile.TemporaryFile() as file:
        if hasattr(os, "posix_fallocate"):  # else a full disk would kill the process later on
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
        return mmap.mmap(file.fileno(), size)
