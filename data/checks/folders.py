"""Where data sets keep their images: folders by name."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data.base_dataset import (
    ITSELF,
    LAYOUTS,
    ONE_FOLDER,
    PAIR_FOLDERS,
    TWO_FOLDERS,
    Layout,
    folders_of,
)
from util.base.errors import UserError

PHASES = ("train", "val", "test")


@dataclass(frozen=True)
class Folder:
    """A folder in which a data set keeps images."""

    path: str  # with the data set's own folder in front
    name: str  # below that; "." for that itself
    layout: Layout  # to which it belongs
    phase: str  # train, val or test; empty for ITSELF


def phase_folders(
    root: str | Path, dataset_mode: str | None, phases: Iterable[str] = PHASES
) -> list[Folder]:
    """Return the folders of phases that there are; of every layout, if a mode may have any."""
    layouts = LAYOUTS.get(dataset_mode or "", (ONE_FOLDER, TWO_FOLDERS, PAIR_FOLDERS))
    return [
        Folder(path, name.format(phase=phase), layout, phase)
        for layout in layouts
        for phase in phases
        for name, path in zip(layout, folders_of(root, phase, layout), strict=True)
        if os.path.isdir(path)
    ]


def find_folders(root: str | Path, dataset_mode: str | None = None) -> list[Folder]:
    """Return the folders in which the data set at `root` keeps its images.

    Without a `dataset_mode` every folder with a name that some mode reads; `root` if there is none.

    Raises:
        UserError: `root` is no folder, or keeps images in a way that no mode reads.
    """
    if not os.path.isdir(root):
        what = "is a file" if os.path.exists(root) else "does not exist"
        raise UserError(f"{root} {what}. Give the folder of a data set, as to train.py --dataroot.")
    itself = Folder(str(root), ".", ITSELF, "")
    if dataset_mode == "single":
        return [itself]
    found = phase_folders(root, dataset_mode)
    if found or dataset_mode is not None:
        return found
    if all(os.path.isdir(os.path.join(root, side)) for side in "AB"):
        raise UserError(
            f"{root} has the folders A and B, but nothing says which images are for training. For "
            f"pairs, move them to {root}/A/train and {root}/B/train (--dataset_mode aligned); "
            f"without pairs, rename the folders to {root}/trainA and {root}/trainB."
        )
    return [itself]


def folders_in(folder: str | Path) -> list[str]:
    """Return the names of the folders in a folder, sorted; none if it is no folder."""
    if not os.path.isdir(folder):
        return []
    return sorted(entry.name for entry in os.scandir(folder) if _is_open_folder(entry))


def _is_open_folder(entry: "os.DirEntry[str]") -> bool:
    return entry.is_dir() and not entry.name.startswith(".")


def domains_of(folder: str, given: str, count: int) -> list[str]:
    """Return the names of the domains in a folder, or those `given`, separated by commas.

    Raises:
        UserError: there are none, others than given, or not `count` (0: any number).
    """
    found = folders_in(folder)
    names = [name.strip() for name in given.split(",") if name.strip()] or found
    if not names:
        raise UserError(
            f"{folder} has no folders of domains. --dataset_mode domains expects for example "
            f"{folder}/cat/*.jpg and {folder}/dog/*.jpg. Check --dataroot and --phase."
        )
    if strange := sorted(set(found) - set(names)):
        raise UserError(
            f"{folder} has {', '.join(strange)}, but the domains are {', '.join(names)} (by "
            "--domains, or in training). Move what is no domain away, or name all of them."
        )
    if count not in (0, len(names)):
        raise UserError(
            f"--num_domains {count}, but there are {len(names)} domains: {', '.join(names)}. Leave "
            "it out, or move the folders away that are none."
        )
    return names
