"""What is in a shard: samples, whose files have one name and stand side by side in a tar file."""

import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from util.images.arrays import ARRAYS
from util.images.reading import KNOWN_ENDINGS

SIDES = ("a", "b")  # what stands between the key and the ending of an image: 0001.a.png
BLOCK = 512  # bytes; a tar file ends with a block of zeros


class Member(NamedTuple):
    """Where a file lies in a shard."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Sample:
    """The files whose names are equal up to the first dot after the folder."""

    key: str
    images: dict[str, Member] = field(default_factory=dict)  # by side; "" for one without

    def add(self, rest: str, member: Member) -> None:
        """Take a file that `rest` follows the key of, if it is an image: `.png`, `.a.png`."""
        rest = rest.lower()
        if not rest.endswith((*KNOWN_ENDINGS, *ARRAYS)):
            return
        side = rest.split(".")[1]
        self.images.setdefault(side if side in SIDES and rest.count(".") == 2 else "", member)

    def image(self, side: str) -> Member | None:
        """Return the image of a side, or the one that is of neither; None if there is none."""
        return self.images.get(side) or self.images.get("")

    def pair(self) -> list[Member]:
        """Return the images of both sides, or one with both side by side; nothing without them."""
        both = [self.images[side] for side in SIDES if side in self.images]
        whole = [self.images[""]] if "" in self.images else []
        return both if len(both) == len(SIDES) else whole


@dataclass(frozen=True, slots=True)
class Contents:
    """The samples of a shard, as far as it can be read."""

    samples: list[Sample]
    problem: str = ""  # why there is no more of it


def read_contents(path: Path) -> Contents:
    """Go through the headers of a shard; nothing is raised for a damaged one.

    Raises:
        FileNotFoundError: there is none.
    """
    samples: list[Sample] = []
    name = ""
    try:
        size = os.path.getsize(path)
        with tarfile.open(path, "r:") as tar:
            for entry in tar:
                name = entry.name
                if entry.offset_data + entry.size > size:
                    return Contents(samples, f"it breaks off inside {name}")
                if entry.isreg():
                    _add(samples, Member(name, entry.offset_data, entry.size))
            end = tar.offset
        with open(path, "rb") as file:
            file.seek(end)
            if file.read(BLOCK).strip(b"\0"):  # tarfile takes what it cannot read for the end
                return Contents(samples, f"what follows {name} (at byte {end:,}) is no header")
    except FileNotFoundError:
        raise
    except (tarfile.TarError, OSError, ValueError) as error:
        where = f" after {name}" if name else ""
        return Contents(samples, f"it is no sound tar file{where} ({error})")
    return Contents(samples)


def _add(samples: list[Sample], member: Member) -> None:
    """Add a file to the last sample, or begin a new one."""
    path = PurePosixPath(member.name)
    stem, dot, rest = path.name.partition(".")
    if not (stem and dot):  # names that begin with a dot are no samples, as macOS has them
        return
    key = str(path.with_name(stem))
    if not samples or samples[-1].key != key:
        samples.append(Sample(key))
    samples[-1].add(dot + rest, member)
