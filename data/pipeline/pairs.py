"""Which image of one folder belongs to which of another one."""

import os
from argparse import Namespace
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from data.base_dataset import first_of, in_order
from data.pipeline.files import list_files
from util.base.errors import UserError
from util.base.log import say, warn
from util.images.file_lists import ENDING as LIST
from util.images.file_lists import list_beside, read_rows

SHOWN = 5  # images that have no partner


@dataclass(frozen=True)
class Matched:
    """The images of two folders.

    Attributes:
        pairs: the image of B for each image of A, sorted by the paths of A.
        alone: images of either side that have no partner.
    """

    pairs: dict[str, str]
    alone: list[str]


def match_folders(
    folder_A: str | Path, folder_B: str | Path, marks: tuple[str, str] = ("", "")
) -> Matched:
    """Pair images of the same path below their folders; else of the same path but for the ending.

    Where several images differ in their endings alone, none of them is paired in the second way.
    With `marks` such as ("_A", "_B") names end with them, and are compared without.

    Raises:
        UserError: no such folder.
    """
    A, B = (
        {name_without(mark, os.path.relpath(path, folder)): path for path in list_files(folder)}
        for folder, mark in zip((folder_A, folder_B), marks, strict=True)
    )
    names = {name: name for name in A.keys() & B.keys()}
    stems_A, stems_B = _stems(A.keys() - names.keys()), _stems(B.keys() - names.keys())
    names |= {stems_A[stem]: stems_B[stem] for stem in stems_A.keys() & stems_B.keys()}
    pairs = {A[name]: B[names[name]] for name in A if name in names}
    paired = set(names.values())
    alone = [path for name, path in A.items() if name not in names]
    return Matched(pairs, alone + [path for name, path in B.items() if name not in paired])


def name_without(mark: str, name: str) -> str:
    """Return a name without the mark in front of its ending.

    >>> name_without("_A", "cats/1_A.png")
    'cats/1.png'
    """
    stem, ending = os.path.splitext(name)
    return stem.removesuffix(mark) + ending


def _stems(names: Set[str]) -> dict[str, str]:
    """Return the names by what is in front of their endings, if that is theirs alone."""
    stems = Counter(os.path.splitext(name)[0] for name in names)
    return {stem: name for name in names if stems[stem := os.path.splitext(name)[0]] == 1}


def find_pairs(opt: Namespace, folder_A: str, folder_B: str) -> dict[str, str]:
    """Return the image of B for each image of A, at most `opt.max_dataset_size`; say who is alone.

    Raises:
        UserError: there is no pair, or lists lie in the place of the folders.
    """
    if file := list_beside(folder_A) or list_beside(folder_B):
        raise UserError(
            f"{file} lists one side of pairs. Give one list: A, a tab and B on each line, called "
            f"{opt.phase}{LIST} or given as --dataroot."
        )
    found = match_folders(folder_A, folder_B)
    if not found.pairs:
        raise UserError(
            f"No image in {folder_A} has a partner in {folder_B}. Images of a pair have the same "
            "name, but for its ending. For domains without pairs: --dataset_mode unaligned."
        )
    if found.alone:
        shown = "".join(f"\n  {path}" for path in found.alone[:SHOWN])
        more = f"\n  ... and {len(found.alone) - SHOWN} more" if len(found.alone) > SHOWN else ""
        warn(f"{len(found.alone)} images have no partner and are left out:{shown}{more}")
    say(f"{len(found.pairs)} pairs: images of the same name in {folder_A} and {folder_B}.")
    names = in_order(opt, list(found.pairs))
    return {name: found.pairs[name] for name in first_of(names, opt.max_dataset_size)}


def listed_pairs(opt: Namespace, file: str) -> dict[str, str]:
    """Return the image of B for each image of A in a list; nothing if each of its files holds both.

    Raises:
        UserError: lines of a list differ, or name several partners of one image.
    """
    rows = first_of(read_rows(file), opt.max_dataset_size)
    if (columns := {len(row) for row in rows}) == {1}:
        return {}
    if columns != {2}:
        odd = next(row for row in rows if len(row) != 2)
        raise UserError(
            f"{file} does not list pairs, for example {', '.join(odd)}. Each line needs A, a tab "
            "and B; or each one file that holds both."
        )
    partners: dict[str, str] = {}
    for A, B in rows:
        if partners.setdefault(A, B) != B:
            raise UserError(
                f"{file} names two partners of {A}: {partners[A]} and {B}. An image can be in one "
                "pair: copy it, or link it under another name."
            )
    say(f"{len(partners)} pairs, listed in {file}.")
    return partners
