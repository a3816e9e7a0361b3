"""Read the images of the built-in data sets, from memory where `--cache` keeps them."""

from argparse import Namespace
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from PIL import Image

from data.pipeline.image_cache import GIGABYTE, RESERVE, Array, ImageCache
from util.base.errors import UserError
from util.base.log import say, warn
from util.base.new_options import new_option
from util.base.system import free_memory
from util.images import transforms as T
from util.images.reading import default_loader


@dataclass(eq=False)
class ImageReader:
    """Open and transform images; a cache keeps them in memory, so that each is decoded only once.

    `mode` says what is kept: `decoded` (images as they are) or `resized` (what the first steps of
    their transform make of them, which are the same every time).
    """

    cache: ImageCache | None = None
    mode: str = "none"

    @classmethod
    def of(cls, opt: Namespace) -> "ImageReader":
        """Return the reader that the options describe."""
        mode = new_option(opt, "cache")
        if mode == "none" or not getattr(opt, "isTrain", False):  # tests read each image once
            return cls()
        return cls(make_cache(new_option(opt, "cache_gb")), mode)

    def open(self, path: str) -> "LazyImage":
        """Return an image that is read from the disk when that turns out to be necessary."""
        return LazyImage(self, path)

    def open_pair(self, path_A: str, path_B: str | None) -> tuple["LazyImage", "LazyImage"]:
        """Return the images of a pair: two files, or without the second the halves of the first.

        Raises:
            UserError: the two files are not equally large.
        """
        if path_B is None:
            return self.open(path_A).halves()
        A, B = self.open(path_A), self.open(path_B)
        if A.size != B.size:
            sizes = ["x".join(map(str, image.size)) for image in (A, B)]
            raise UserError(
                f"{path_A} is {sizes[0]}, but its partner {path_B} is {sizes[1]}: images of a pair "
                "must be of one size. Cut or resize one of them."
            )
        return A, B

    def read(self, path: str, transform: Callable[[Any], Any]) -> Any:
        """Return what a transform makes of an image, see `LazyImage.transformed`."""
        return self.open(path).transformed(transform)


@dataclass(eq=False)
class LazyImage:
    """One image file, or the `half` of `whole`: 0 left, 1 right."""

    reader: ImageReader
    path: str
    half: int | None = None
    whole: "LazyImage | None" = None

    def halves(self) -> tuple["LazyImage", "LazyImage"]:
        """Return the left and the right half; the right one gets the odd column."""
        return replace(self, half=0, whole=self), replace(self, half=1, whole=self)

    @property
    def size(self) -> T.Size:
        """Return (width, height)."""
        kept = self._keep("resized", "size", lambda: np.array(self.image.size))
        width, height = self.image.size if kept is None else kept.tolist()
        return width, height

    @cached_property
    def image(self) -> Image.Image:
        """Return Pillow's image, decoded; a UserError if it cannot be, or has no halves."""
        if self.whole is not None:
            return self._half_of(self.whole.image)
        kept = self._keep("decoded", "image", lambda: np.asarray(default_loader(self.path)))
        return default_loader(self.path) if kept is None else Image.fromarray(kept)

    def transformed(self, transform: Callable[[Any], Any]) -> Any:
        """Return what a transform makes of the image; errors of users name the file."""
        steps = list(transform.transforms) if type(transform) is T.Compose else [transform]
        fixed = tuple(takewhile(lambda step: type(step) in T.FIXED, steps))
        varying = steps[len(fixed) :]
        image = self._resized(fixed, as_tensor=T.take_tensors(varying))
        try:
            return T.Compose(varying)(image)
        except UserError as error:
            raise UserError(f"{self.path}: {error}") from None

    def _resized(self, fixed: tuple[T.Step, ...], *, as_tensor: bool) -> T.AnyImage:
        resize = T.Compose(fixed)
        kept = self._keep("resized", fixed, lambda: T.stored_values(resize(self.image)).numpy())
        if kept is None:
            return resize(self.image)
        stored = torch.from_numpy(kept)
        return stored if as_tensor else T.to_pillow(stored)

    def _half_of(self, whole: Image.Image) -> Image.Image:
        width, height = whole.size
        if width < 2:
            raise UserError(f"{self.path} is 1 pixel wide: it cannot hold A and B side by side.")
        middle = width // 2
        return whole.crop((middle, 0, width, height) if self.half else (0, 0, middle, height))

    def _keep(self, mode: str, what: Hashable, make: Callable[[], Array]) -> Array | None:
        """Return what `make` does, from the cache; None if there is none or it keeps the rest."""
        cache = self.reader.cache
        if cache is None or self.reader.mode != mode:
            return None
        return cache.get_or_keep((self.path, self.half, what), make)


def make_cache(gigabytes: float | None) -> ImageCache | None:
    """Return a cache of so many gigabytes, by default a quarter of the free memory; says so.

    A smaller one, or None, with a warning, if the system gives less memory, or none.
    """
    free = free_memory()
    wanted = int(gigabytes * GIGABYTE) if gigabytes else (free or 4 * GIGABYTE) // 4
    budget = wanted if free is None else min(wanted, max(0, free - RESERVE))
    if budget < wanted:
        warn(
            f"--cache_gb {wanted / GIGABYTE:g} is more than the {budget / GIGABYTE:.1f} GB of "
            "memory that can be had now: images get those."
        )
    try:
        cache = ImageCache(budget)
    except (OSError, RuntimeError) as error:
        warn(f"--cache gets no memory ({error}): images are read from disk every time.")
        return None
    say(f"Images are kept in memory, up to {budget / GIGABYTE:.1f} GB (--cache_gb).")
    return cache
