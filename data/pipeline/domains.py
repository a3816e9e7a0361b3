"""The images of each domain, and which of them lend their styles to others: references."""

import os
import random
from argparse import Namespace
from collections.abc import Mapping, Sequence

from data.base_dataset import find_images
from data.checks.folders import folders_in

Images = dict[int, list[str]]  # by the label of their domain


def images_by_domain(
    opt: Namespace, where: str, domains: Sequence[str], *, every: bool = False
) -> Images:
    """Return the images somewhere; what has no domain counts as of the first, or of all.

    In training, or with `every`, each domain must have some.
    """
    labels, there = range(len(domains)), folders_in(where)
    folders = [os.path.join(where, domain) for domain in domains]
    layout = "\n".join(f"{folder}/*.jpg" for folder in folders)
    if os.path.isfile(where) or not (opt.isTrain or {*there} & {*domains}):
        files = [where] if os.path.isfile(where) else find_images(opt, where, layout)
        return dict.fromkeys(labels[: None if every else 1], files)
    needed = [every or opt.isTrain or domain in there for domain in domains]
    return {i: find_images(opt, folders[i], layout) for i in labels if needed[i]}


def second_references(references: Mapping[int, Sequence[str]]) -> Images:
    """Return another order of each domain's images: the same in every process and run."""
    return {label: shuffled(files, label) for label, files in references.items()}


def some_of(files: Sequence[str], count: int, seed: object) -> list[str]:
    """Return so many files that `seed` decides, none of them again before all have come."""
    order = shuffled(files, seed)
    return [order[number % len(order)] for number in range(count)]


def shuffled(files: Sequence[str], seed: object) -> list[str]:
    """Return the files in an order that is the same for the same seed."""
    return random.Random(str(seed)).sample(files, len(files))
