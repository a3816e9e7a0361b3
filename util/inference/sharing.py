"""Which images of a test each of several processes translates."""

import hashlib
import os
from argparse import Namespace
from collections.abc import Sequence

from util.base.log import say
from util.base.plugins import declares, own_method
from util.images.file_lists import folder_of
from util.inference.once import OncePerSide
from util.processes import group
from util.processes.agreement import require_same
from util.processes.parts import own_part


def own_images(
    opt: Namespace, model: object, dataset: object, page: object, count: int, paths: Sequence[str]
) -> range:
    """Return which of `count` images this process translates: some in a row, in whole batches.

    `paths` are those of the images, as far as the data set lists them. All are the first process's
    if what becomes of an image depends on those before it, or may do.

    Raises:
        UserError: processes do not see the same images.
    """
    with group.with_others():
        if group.count() == 1:
            return range(count)
        # Nobody goes on before all have looked: results may lie beside the images.
        require_same((count, _digest(paths, folder_of(opt.dataroot))), "The images to translate")
        if why := _why_one(opt, model, dataset, page, count, paths):
            say(f"The first of {group.count()} processes translates all images: {why}.")
            return range(count) if group.rank() == 0 else range(count, count)
    return own_part(count, opt.batch_size)


def _why_one(
    opt: Namespace, model: object, dataset: object, page: object, count: int, paths: Sequence[str]
) -> str:
    """Say why one process translates all images; nothing if several can share them out."""
    kind = type(model)
    if not (declares(kind, "batch_independent") or declares(kind, "image_independent")):
        return f"{kind.__name__} does not say that none depends on others (image_independent)"
    if own_method(model, "sheets", arguments=0) and not hasattr(model, "keep_for_sheets"):
        return f"{kind.__name__} makes sheets of all of them (see keep_for_sheets of BaseModel)"
    if len(paths) < count:  # they are named, and their random numbers seeded, one after the other
        return f"{type(dataset).__name__} does not list their files"
    if not OncePerSide(dataset, opt.direction).knows_items:
        return f"{type(dataset).__name__} repeats those of the smaller domain"
    if opt.use_wandb:
        return "--use_wandb gets them in order"
    if not hasattr(page, "add_sections"):
        return f"the page is one of {type(page).__module__}, which takes no others' images"
    return ""


def _digest(paths: Sequence[str], root: str) -> str:
    """Return what tells images, below a folder that may be elsewhere on other machines."""
    names = "\0".join(os.path.relpath(path, root) for path in paths)
    return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()[:12]
