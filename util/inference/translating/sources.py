"""What is to be translated: files, folders, patterns and lists of them."""

import os
from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from pathlib import Path
from typing import NamedTuple

from util.base.errors import UserError
from util.images.arrays import ARRAYS
from util.images.reading import has_known_ending

VIDEOS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi")
LIST = "-"  # standard input


class Source(NamedTuple):
    """A file, and its path below the folder that was given (else its name)."""

    path: Path
    below: str

    @property
    def is_video(self) -> bool:
        """Tell whether it is a video, by its ending."""
        return self.path.suffix.lower() in VIDEOS


def find_sources(inputs: Iterable[str], listed: Iterable[str], without: Path) -> list[Source]:
    """Find all files, each once, in the order of the inputs.

    Args:
        inputs: files, folders, patterns such as `photos/*.jpg`, or `-` for those of a list.
        listed: the lines of that list.
        without: a folder of results, whose files are no inputs.

    Raises:
        UserError: one of the inputs is not there, or has no images.
    """
    results = os.path.realpath(without)
    found: dict[str, Source] = {}
    for each in inputs:
        lines = (line.rstrip("\r\n") for line in listed) if each == LIST else [each]
        for source in (source for line in lines if line for source in _sources_of(line)):
            real = os.path.realpath(source.path)
            if not real.startswith(os.path.join(results, "")):
                found.setdefault(real, source)
    if not found:
        raise UserError(f"There is nothing to translate: {' '.join(inputs)} has no images.")
    return list(found.values())


def _sources_of(given: str) -> list[Source]:
    path = Path(given)
    if path.is_dir():
        sources = list(_inside(path))
        if not sources:
            raise UserError(f"{given} has no images or videos in it.")
        return sources
    if path.exists():
        return [Source(path, path.name)]
    if not has_magic(given):
        raise UserError(f"{given} does not exist. Give files, folders, or patterns in quotes.")
    matches = sorted(glob(given, recursive=True))
    if not matches:
        raise UserError(f"Nothing matches {given}.")
    return [source for match in matches for source in _sources_of(match)]


def _inside(folder: Path) -> Iterator[Source]:
    """Yield images and videos below a folder, sorted; names that begin with a dot are left out."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            is_one = has_known_ending(name) or name.lower().endswith((*ARRAYS, *VIDEOS))
            if is_one and not name.startswith("."):
                path = Path(parent, name)
                yield Source(path, path.relative_to(folder).as_posix())
