"""Write shards: the same bytes for the same images, each shard whole or not there."""

import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path, PurePath
from typing import IO, NamedTuple

from data.shards.lists import ENDING
from data.shards.tar import BLOCK
from util.storage.files import write_file


class Entry(NamedTuple):
    """A file of a sample: its name in the shard, and where its bytes come from."""

    name: str
    source: str
    size: int
    changed: float

    @classmethod
    def of(cls, name: str, source: str) -> "Entry":
        """Return the entry for a file that is there."""
        status = os.stat(source)
        return cls(name, source, status.st_size, status.st_mtime)


SampleFiles = list[Entry]


def keys_of(names: Sequence[str]) -> list[str]:
    """Return a key for each name (a path below a folder): without its ending, and without dots.

    >>> keys_of(["cats/1.png", "cats/1.jpg", "dr.who.png"])
    ['cats/1', 'cats/1_2', 'dr_who']
    """
    taken: set[str] = set()
    keys = []
    for name in names:
        path = PurePath(name)
        stem = path.with_name(path.stem.replace(".", "_")).as_posix()
        key, number = stem, 2
        while key in taken:
            key, number = f"{stem}_{number}", number + 1
        taken.add(key)
        keys.append(key)
    return keys


def sample_files(key: str, sources: Mapping[str, str]) -> SampleFiles:
    """Return the entries of a sample, whose files are given by side (a, b; "" for neither)."""
    return [
        Entry.of(f"{key}{side and '.'}{side}{PurePath(source).suffix.lower()}", source)
        for side, source in sources.items()
    ]


def in_shards(samples: Sequence[SampleFiles], most: int) -> Iterator[list[SampleFiles]]:
    """Divide samples into shards of so many bytes, or of one sample that is larger."""
    shard: list[SampleFiles] = []
    size = 0
    for sample in samples:
        more = sum(BLOCK + -(-entry.size // BLOCK) * BLOCK for entry in sample)
        if shard and size + more > most:
            yield shard
            shard, size = [], 0
        shard.append(sample)
        size += more
    if shard:
        yield shard


def shard_name(name: str, number: int) -> str:
    """Return the file name of a shard."""
    return f"{name}-{number:06d}{ENDING}"


def is_written(path: Path, samples: Sequence[SampleFiles]) -> bool:
    """Tell whether a shard holds just these files, of which none has changed since."""
    entries = [entry for sample in samples for entry in sample]
    try:
        if path.stat().st_mtime < max(entry.changed for entry in entries):
            return False
        with tarfile.open(path, "r:") as tar:
            held = [(member.name, member.size) for member in tar]
    except (OSError, tarfile.TarError):
        return False
    return held == [(entry.name, entry.size) for entry in entries]


def write_shard(path: Path, samples: Sequence[SampleFiles]) -> None:
    """Write a shard; nothing of its bytes tells when, by whom or from where."""

    def fill(file: IO[bytes]) -> None:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for sample in samples:
                for entry in sample:
                    content = Path(entry.source).read_bytes()
                    member = tarfile.TarInfo(entry.name)
                    member.size = len(content)
                    tar.addfile(member, BytesIO(content))

    write_file(path, fill)
