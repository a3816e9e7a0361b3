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
from torch import Tensor

from data.pipeline.clipping import ClippedFiles
from data.pipeline.image_cache import GIGABYTE, RESERVE, Array, ImageCache
from data.pipeline.sides import Side
from util.base.errors import UserError, about
from util.base.log import say, warn
from util.base.new_options import new_option
from util.base.system import free_memory
from util.images import transforms as T
from util.images.deep import File
from util.images.pixels import is_pillow_kind, with_channels
from util.images.ranges import clipped_part
from util.images.reading import default_loader, read_image


@dataclass(eq=False)
class ImageReader:
    """Open and transform images; a cache keeps them in memory, so that each is decoded only once.

    `mode` says what is kept: `decoded` (images as they are) or `resized` (what the first steps of
    their transform make of them, which are the same every time).
    """

    cache: ImageCache | None = None
    mode: str = "none"
    clipped: ClippedFiles | None = None

    @classmethod
    def of(cls, opt: Namespace) -> "ImageReader":
        """Return the reader that the options describe."""
        mode = new_option(opt, "cache")
        clipped = ClippedFiles() if new_option(opt, "value_range") else None
        if mode == "none" or not getattr(opt, "isTrain", False):  # tests read each image once
            return cls(clipped=clipped)
        return cls(make_cache(new_option(opt, "cache_gb")), mode, clipped)

    def open(self, path: File, side: Side | None = None) -> "LazyImage":
        """Return an image that is read from the disk when that turns out to be necessary.

        Without a `side` it is 8-bit RGB, whatever the file holds.
        """
        return LazyImage(self, str(path), side, file=path)

    def open_pair(
        self,
        path_A: File,
        path_B: File | None,
        side_A: Side | None = None,
        side_B: Side | None = None,
    ) -> tuple["LazyImage", "LazyImage"]:
        """Return the images of a pair: two files, or without the second the halves of the first.

        Raises:
            UserError: the two files are not equally large.
        """
        if path_B is None:  # read once: it has the channels of either side
            wider = max((side for side in (side_A, side_B) if side), default=None)
            whole = self.open(path_A, wider)
            left = replace(whole, side=side_A, half=0, whole=whole)
            return left, replace(whole, side=side_B, half=1, whole=whole)
        A, B = self.open(path_A, side_A), self.open(path_B, side_B)
        if A.size != B.size:
            sizes = ["x".join(map(str, image.size)) for image in (A, B)]
            raise UserError(
                f"{path_A} is {sizes[0]}, but its partner {path_B} is {sizes[1]}: images of a pair "
                "must be of one size. Cut or resize one of them."
            )
        return A, B

    def read(self, path: File, transform: Callable[[Any], Any], side: Side | None = None) -> Any:
        """Return what a transform makes of an image, see `LazyImage.transformed`."""
        return self.open(path, side).transformed(transform)


@dataclass(eq=False)
class LazyImage:
    """One image file, or the `half` of `whole`: 0 left, 1 right."""

    reader: ImageReader
    path: str
    side: Side | None = None
    half: int | None = None
    whole: "LazyImage | None" = None
    file: File = ""  # what is opened: that path, or what is in memory under that name

    @property
    def size(self) -> T.Size:
        """Return (width, height)."""
        kept = self._keep("resized", "size", lambda: np.array(T.size_of(self.image)))
        width, height = T.size_of(self.image) if kept is None else kept.tolist()
        return width, height

    @cached_property
    def image(self) -> T.AnyImage:
        """Return the image, decoded; a UserError if it cannot be, or has no halves."""
        if self.whole is not None:
            return self._half_of(self.whole.image)
        kept = self._keep("decoded", "image", lambda: _as_array(self._decoded()))
        if kept is None:
            return self._decoded()
        is_pillow = is_pillow_kind(kept.dtype, 3 if self.side is None else self.side.channels)
        return Image.fromarray(kept) if is_pillow else torch.from_numpy(kept)

    def transformed(self, transform: Callable[[Any], Any]) -> Any:
        """Return what a transform makes of the image; errors of users name the file."""
        steps = list(transform.transforms) if type(transform) is T.Compose else [transform]
        fixed = tuple(takewhile(lambda step: type(step) in T.FIXED, steps))
        varying = steps[len(fixed) :]
        image = self._resized(fixed, as_tensor=T.take_tensors(varying))
        with about(self.path):
            return T.Compose(varying)(image)

    def _resized(self, fixed: tuple[T.Step, ...], *, as_tensor: bool) -> T.AnyImage:
        resize = T.Compose(fixed)
        kept = self._keep(
            "resized", fixed, lambda: T.stored_values(resize(self._checked())).numpy()
        )
        if kept is None:
            return resize(self._checked())
        stored = torch.from_numpy(kept)
        is_pillow = is_pillow_kind(stored.dtype, len(stored))
        return T.to_pillow(stored) if is_pillow and not as_tensor else stored

    def _decoded(self) -> T.AnyImage:
        channels = None if self.side is None else self.side.channels
        return default_loader(self.file) if channels is None else read_image(self.file, channels)

    def _half_of(self, whole: T.AnyImage) -> T.AnyImage:
        width, height = T.size_of(whole)
        if width < 2:
            raise UserError(f"{self.path} is 1 pixel wide: it cannot hold A and B side by side.")
        middle = width // 2
        half = T.cut_out(
            whole, *((middle, 0, width, height) if self.half else (0, 0, middle, height))
        )
        if self.side is None or not isinstance(half, Tensor):
            return half
        with about(self.path):
            return with_channels(half, self.side.channels)

    def _checked(self) -> T.AnyImage:
        """Return the image; say so if some of its values are cut off.

        Raises:
            UserError: it needs a range of values that is not given.
        """
        image, side = self.image, self.side
        if side is not None and (side.value_range is not None or isinstance(image, Tensor)):
            with about(self.path):
                part = clipped_part(T.stored_values(image), side.value_range)
            if self.reader.clipped is not None:
                self.reader.clipped.note(self.path, part)
        return image

    def _keep(self, mode: str, what: Hashable, make: Callable[[], Array]) -> Array | None:
        """Return what `make` does, from the cache; None if there is none or it keeps the rest."""
        cache = self.reader.cache
        if cache is None or self.reader.mode != mode:
            return None
        channels = None if self.side is None else self.side.channels
        return cache.get_or_keep((self.path, self.half, channels, what), make)


def _as_array(image: T.AnyImage) -> Array:
    return image.numpy() if isinstance(image, Tensor) else np.asarray(image)


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
