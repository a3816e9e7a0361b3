"""Say of which files values are cut off: the first ones by name, then how many there are."""

import zlib

import torch

from util.base.log import warn
from util.images.ranges import MOST_CUT_OFF

BY_NAME = 3  # files
PLACES = 2**16  # for marks of files; two files seldom share one


class ClippedFiles:
    """Remember files of which values are cut off, in all processes that load images.

    Each file counts once, however many epochs read it.
    """

    def __init__(self) -> None:
        self._marks = torch.zeros(PLACES, dtype=torch.uint8).share_memory_()

    def note(self, path: str, part: float) -> None:
        """Take part of the values of a file as cut off; say so if that is new."""
        place = zlib.crc32(path.encode("utf-8", "surrogateescape")) % PLACES
        if part <= MOST_CUT_OFF or self._marks[place]:
            return
        self._marks[place] = 1
        count = int(self._marks.count_nonzero())
        if count <= BY_NAME:
            warn(f"{path}: {part:.1%} of the values lie outside --value_range and are cut off.")
        elif count in (10, 100, 1000, 10_000):
            warn(f"{count} files have had values cut off by --value_range so far.")
