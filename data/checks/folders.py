"""Where data sets keep their images: folders by name."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.checks.files import shown_name
from util.base.errors import UserError

Kind = Literal["phase", "domain", "half", "single"]
PHASES = ("train", "val", "test")


@dataclass(frozen=True)
class Folder:
    """A folder in which a data set keeps images.

    Attributes:
        name: relative to the data set's folder, with slashes; "." for that folder itself.
        kind: `phase` (train: pairs side by side, or single images), `domain` (trainA), `half`
            (A/train: one half of pairs in two folders), or `single`.
        phase: train, val, test, ...; empty if there is none.
    """

    name: str
    kind: Kind
    phase: str

    def within(self, root: str) -> str:
        """Return the path of the folder in the data set that lies at `root`."""
        return root if self.kind == "single" else os.path.join(root, self.name)

    @property
    def counterpart(self) -> str | None:
        """Return the name of the folder with the other domain, if it needs one."""
        if self.kind == "domain":
            return self.phase + ("B" if self.name.endswith("A") else "A")
        if self.kind == "half":
            return ("B" if self.name.startswith("A") else "A") + self.name[1:]
        return None


def find_folders(root: str | Path, dataset_mode: str | None = None) -> list[Folder]:
    """Return the folders in which a data set keeps its images.

    Args:
        root: `--dataroot`.
        dataset_mode: `--dataset_mode`; None takes every folder with a name that some mode reads,
            and `root` itself if there is none.

    Raises:
        UserError: `root` has no folder that the mode would read.
    """
    if not os.path.isdir(root):
        what = "is a file" if os.path.exists(root) else "does not exist"
        raise UserError(f"{root} {what}. Give the folder of a data set, as to train.py --dataroot.")
    phases = [Folder(phase, "phase", phase) for phase in PHASES]
    domains = [Folder(f"{phase}{side}", "domain", phase) for phase in PHASES for side in "AB"]
    halves = list(_halves(str(root)))
    read_by = {
        "aligned": [*phases, *halves],
        "colorization": phases,
        "unaligned": domains,
        "single": [],
    }
    candidates = [*phases, *domains, *halves] if dataset_mode is None else read_by[dataset_mode]
    found = [folder for folder in candidates if os.path.isdir(folder.within(str(root)))]
    if not found and dataset_mode not in (None, "single"):
        wanted = ", ".join(folder.name for folder in candidates)
        there = ", ".join(sorted(entry.name for entry in os.scandir(root) if entry.is_dir()))
        raise UserError(
            f"{root} has none of the folders that --dataset_mode {dataset_mode} reads: {wanted}. "
            f"Its folders: {there or 'none'}. Check the path, or leave --dataset_mode out."
        )
    return found or [Folder(".", "single", "")]


def _halves(root: str) -> Iterator[Folder]:
    """Yield A/train, B/train, ...; or A and B themselves if they have no folders."""
    sides = [os.path.join(root, side) for side in "AB"]
    if not all(map(os.path.isdir, sides)):
        return
    entries = [entry for side in sides for entry in os.scandir(side)]
    inside = {entry.name for entry in entries if entry.is_dir() and entry.name[0] != "."}
    for phase in sorted(inside):
        yield from (Folder(f"{side}/{phase}", "half", phase) for side in "AB")
    if not inside:
        yield from (Folder(side, "half", "") for side in "AB")


def passed_over(folder: str, images: Iterable[str]) -> list[str]:
    """Return what lies in a folder and is no image to `make_dataset`, sorted, relative to it.

    That are files without an image's ending, and linked folders. Names that start with a dot
    are left out: nobody expects those to be seen.
    """
    taken, found = set(images), []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        paths = (os.path.join(parent, name) for name in [*files, *links] if name[0] != ".")
        found += [shown_name(path, folder) for path in paths if path not in taken]
    return sorted(found)
