"""Lists of images: text files that stand where a folder could, a path on each line."""

import os
import re
from itertools import chain, islice

from util.base.errors import UserError

ENDING = ".txt"
NAMED = 3  # missing files in a message
Row = tuple[str, ...]  # the paths on one line


def list_beside(folder: str) -> str | None:
    """Return the list that stands in for a folder: `train.txt` for `train`; None if none does."""
    file = folder + ENDING
    return file if os.path.isfile(file) and not os.path.isdir(folder) else None


def read_rows(file: str) -> list[Row]:
    """Return the paths on each line of a list, separated by tabs; an image is a list of itself.

    Empty lines and those that begin with # are left out. Paths are relative to the folder of the
    list, so that it can be moved with its images.

    Raises:
        UserError: the list is no text, names nothing, or files that do not exist.
    """
    if not file.lower().endswith(ENDING):
        return [(file,)]
    folder = os.path.dirname(file)
    lines = {number: line.strip() for number, line in enumerate(_text(file).splitlines(), 1)}
    kept = {number: line for number, line in lines.items() if line and line[0] != "#"}
    rows = {
        number: tuple(os.path.join(folder, path.strip()) for path in line.split("\t"))
        for number, line in kept.items()
    }
    if not rows:
        raise UserError(f"{file} names no image: it needs a path on each line.")
    missing = (
        f"line {number}: {path}"
        for number, paths in rows.items()
        for path in paths
        if not os.path.isfile(path)
    )
    if first := list(islice(missing, NAMED)):
        more = "\n  ..." if next(missing, None) else ""
        listed = "\n  ".join(first)
        raise UserError(
            f"{file} names images that do not exist:\n  {listed}{more}\n"
            f"  Paths are relative to the folder of the list, {folder or '.'}."
        )
    return list(rows.values())


def read_list(file: str) -> list[str]:
    """Return the images that a list names, one on each line; see `read_rows`.

    Raises:
        UserError: there are several on a line.
    """
    rows = read_rows(file)
    for row in rows:
        if len(row) > 1:
            raise UserError(
                f"{file} has {len(row)} paths on a line, separated by tabs, where one is expected: "
                f"{', '.join(row)}. For pairs give a model that learns from them, such as "
                "--model pix2pix, or --dataset_mode aligned."
            )
    return list(chain.from_iterable(rows))


def folder_of(place: str) -> str:
    """Return what paths of images are told from: a folder itself, or that of a list or an image."""
    return os.path.dirname(place) or "." if os.path.isfile(place) else place


def natural(path: str) -> tuple[tuple[str | int, ...], str]:
    """Return a key to sort by: numbers in names count as numbers, `frame 2` is before `frame 10`.

    >>> sorted(["10.png", "9.png", "09.png"], key=natural)
    ['09.png', '9.png', '10.png']
    """
    parts = re.split("([0-9]+)", path)
    numbers = (int(part) if place % 2 else part for place, part in enumerate(parts))
    return tuple(numbers), path


def _text(file: str) -> str:
    try:
        with open(file, encoding="utf-8-sig") as opened:
            return opened.read()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{file} is no list of images: it is not text in UTF-8 ({error})."
        ) from None
