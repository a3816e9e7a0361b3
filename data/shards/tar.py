"""What is in a shard: samples, whose files have one name and stand side by side in a tar file."""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

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
    images: dict[str, Member] = field(default_factory=dict)  # by what precedes the ending, or ""

    def add(self, rest: str, member: Member) -> None:
        """Take a file that `rest` follows the key of, if it is an image: `.png`, `.a.png`.

        Under other names than these, as `.depth.png`, it is never used, only spoken of.
        """
        rest = rest.lower()
        if rest.endswith((*KNOWN_ENDINGS, *ARRAYS)):
            side = rest[1:].rpartition(".")[0]
            self.images.setdefault(side, member)

    def image(self, side: str) -> Member | None:
        """Return the image of a side, or the one that is of neither; None if there is none."""
        return self.images.get(side) or self.images.get("")

    def pair(self) -> list[Member]:
        """Return the images of both sides, or one with both side by side; nothing without them."""
        both = [self.images[side] for side in SIDES if side in self.images]
        whole = [self.images[""]] if "" in self.images else []
        return both if len(both) == len(SIDES) else whole

    def names(self) -> str:
        """Say what its images are called."""
        files = (member.name.rpartition("/")[2] for member in self.images.values())
        return f"Its images are called {', '.join(files)}." if self.images else "It has no images."


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
    keys: set[str] = set()
    name = ""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            for name, offset, length in members(file):
                if offset + length > size:
                    return Contents(samples, f"it breaks off inside {name}")
                if not _add(samples, keys, Member(name, offset, length)):
                    return Contents(samples, f"{name} stands apart from other files of that key")
            end = file.tell()
            return Contents(samples, _problem_at_end(file.read(BLOCK), name, end))
    except FileNotFoundError:
        raise
    except (tarfile.TarError, OSError, ValueError) as error:
        where = f" after {name}" if name else ""
        return Contents(samples, f"it is no sound tar file{where} ({error})")


def _problem_at_end(block: bytes, name: str, place: int) -> str:
    """Say why a block is not the end of a tar file, which tarfile takes it for; "" if it is."""
    if block.strip(b"\0"):
        return f"what follows {name} (at byte {place:,}) is no header"
    if len(block) < BLOCK:
        return f"it breaks off behind {name or 'a folder'}, without the zeros that end a tar file"
    return ""


def members(file: IO[bytes]) -> Iterator[Member]:
    """Yield the files in a tar file; leave it where the last one ends.

    Every process that loads images goes through every shard, so plain headers are read here, in a
    fifth of the time that tarfile takes. From the first one of another kind on it is tarfile's.
    """
    offset = 0
    while plain := _plain_member(file.read(BLOCK), offset + BLOCK):
        yield plain
        offset = plain.offset + -(-plain.size // BLOCK) * BLOCK
        file.seek(offset)
    file.seek(offset)
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for entry in tar:
            if entry.isreg():
                yield Member(entry.name, entry.offset_data, entry.size)
        offset = tar.offset
    file.seek(offset)


def _plain_member(header: bytes, offset: int) -> Member | None:
    """Return what a header tells, if it is a file's and no more has to be known."""
    if len(header) < BLOCK or header[156:157] not in (b"0", b"\0") or header[345] != 0:
        return None
    try:
        size, checksum = (
            int(header[124:136].strip(b"\0 "), 8),
            int(header[148:156].strip(b"\0 "), 8),
        )
    except ValueError:
        return None
    if checksum != sum(header) - sum(header[148:156]) + 8 * ord(" "):
        return None
    name = header[:100].partition(b"\0")[0]
    return Member(name.decode("utf-8", "surrogateescape"), offset, size)


def _add(samples: list[Sample], keys: set[str], member: Member) -> bool:
    """Add a file to the last sample, or begin a new one; tell whether its key is no earlier one."""
    folder, slash, name = member.name.rpartition("/")
    stem, dot, rest = name.partition(".")
    if not (stem and dot):  # names that begin with a dot are no samples, as macOS has them
        return True
    key = f"{folder}{slash}{stem}"
    if not samples or samples[-1].key != key:
        if key in keys:
            return False
        keys.add(key)
        samples.append(Sample(key))
    samples[-1].add(dot + rest, member)
    return True
