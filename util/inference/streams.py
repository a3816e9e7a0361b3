"""Random numbers of one image in test.py, whatever other images there are."""

import os
from argparse import Namespace
from collections.abc import Sequence
from hashlib import blake2b

from util.base import rng
from util.base.new_options import new_option
from util.images.file_lists import folder_of


def own_seed(opt: Namespace, paths: Sequence[str]) -> int:
    """Return what begins the random numbers of an image: of `--seed`, and its path below dataroot.

    Of several paths, which a batch without random numbers may have, it is the first.
    """
    path = str(paths[0]) if len(paths) else "."
    return seed_of_image(new_option(opt, "seed"), os.path.relpath(path, folder_of(opt.dataroot)))


def seed_of_image(seed: int, below: str) -> int:
    """Return what begins the random numbers of an image: of a seed, and its path below a folder."""
    name = os.fsencode(below.replace(os.sep, "/"))
    digest = blake2b(name, digest_size=8).digest()
    return rng.fold_seed(seed, int.from_bytes(digest, "big"))
