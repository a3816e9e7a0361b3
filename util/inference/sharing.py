"""Which images of a test each of several processes translates."""

import hashlib
import os
from argparse import Namespace
from collections.abc import Sequence

from util.base.errors import UserError
from util.base.log import say
from util.base.plugins import declares, own_method
from util.inference.once import OncePerSide
from util.processes import group
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
        _require_same(count, [os.path.relpath(path, opt.dataroot) for path in paths])
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


def _require_same(count: int, paths: Sequence[str]) -> None:
    """Raise a UserError if processes, on several machines perhaps, see different images.

    None goes on before all have looked: results may lie beside the images.
    """
    digest = hashlib.sha256("\0".join(paths).encode("utf-8", "surrogateescape")).hexdigest()
    every = group.gathered((count, digest))
    if different := [number for number, seen in enumerate(every) if seen != every[0]]:
        number = different[0]
        raise UserError(
            f"Process 0 finds {every[0][0]} images to translate, process {number} finds "
            f"{every[number][0]}, or others. Give all machines the same files."
        )
