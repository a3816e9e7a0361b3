"""Read the images of the built-in data sets, from memory where `--cache` keeps them."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import default_collate, get_worker_info

from data.image_folder import default_loader
from data.pipeline.image_cache import GIGABYTE, RESERVE, ImageCache, free_memory
from util.base.errors import UserError
from util.base.log import say, warn
from util.images import transforms as T

Steps = Sequence[Callable[[Any], Any]]


@dataclass(frozen=True)
class Levels:
    """An item or a batch of a data set before its images are normalised.

    Attributes:
        images: uint8, (C, H, W) or (N, C, H, W), by name.
        others: what belongs to them, by name: floats already, or paths.
    """

    images: dict[str, Tensor]
    others: dict[str, Any]

    @classmethod
    def of(cls, **values: Any) -> "Levels":
        """Sort values: those that are `Unnormalized` are images."""
        images, others = {}, {}
        for name, value in values.items():
            if isinstance(value, Unnormalized):
                images[name] = value.levels
            else:
                others[name] = value
        return cls(images, others)

    @classmethod
    def collate(cls, items: Sequence["Levels"]) -> "Levels":
        """Make items a batch, as torch would."""
        others = default_collate([item.others for item in items])
        if len(items) == 1 and get_worker_info() is None:  # they need not be copied anywhere
            return cls({name: levels[None] for name, levels in items[0].images.items()}, others)
        return cls(default_collate([item.images for item in items]), others)

    def normalized(self, device: torch.device | None = None) -> dict[str, Any]:
        """Return everything by name; images float32 in [-1, 1], on the device if one is given.

        The levels are what travels to a GPU, and nobody waits for it.
        """
        values = {}
        for name, levels in self.images.items():
            if device is not None and device.type != "cpu":
                pinned = levels.pin_memory() if device.type == "cuda" else levels
                levels = pinned.to(device, non_blocking=True)
            values[name] = T.normalized(levels)
        return {**values, **self.others}


@dataclass(frozen=True)
class Unnormalized:
    """An image that wants normalisation, told from tensors of a plugin's own transforms."""

    levels: Tensor


class ImageReader:
    """Read images and transform them.

    Args:
        opt: `cache`, `cache_gb`, `speed`, `isTrain` and `num_threads` are read, where they exist.
        count: how many images there are.
    """

    def __init__(self, opt: Namespace, count: int) -> None:
        is_training = getattr(opt, "isTrain", False)  # else each image is read once
        self.mode: str = getattr(opt, "cache", "none") if is_training else "none"
        self.with_torch = getattr(opt, "speed", "faithful") == "max"
        self.cache: ImageCache | None = None
        if self.mode != "none":
            entries = 2 * count  # pairs are two images once they are resized
            wanted = getattr(opt, "cache_gb", None)
            self.cache = make_cache(wanted, entries, shared=opt.num_threads > 0)

    def open(self, path: str) -> "LazyImage":
        """Return an image that is read when that turns out to be necessary."""
        return LazyImage(self, path)

    def read(self, path: str, transform: Callable[[Image.Image], Any]) -> Any:
        """Return what a transform makes of an image; without the last step, if it normalises.

        Raises:
            UserError: the image is broken or does not suit the options; names the file.
        """
        parts = T.parts_of(transform)
        if parts is None or not parts.normalizes:
            return load_image(path, transform)
        return Unnormalized(self._levels(path, parts))

    def pixels(self, path: str, transform: Callable[[Image.Image], Any]) -> Any:
        """Return what a transform that does not normalise makes of an image: an array (H, W, C).

        Raises:
            UserError: the image is broken or does not suit the options; names the file.
        """
        parts = T.parts_of(transform)
        if parts is None or parts.normalizes:
            return np.array(load_image(path, transform))
        return self._levels(path, parts).permute(1, 2, 0).numpy()

    def _levels(self, path: str, parts: T.Parts) -> Tensor:
        image = self.open(path)
        return image.varied(image.fixed(parts.fixed)[0], parts.varying)


class LazyImage:
    """One image file, or the half of one."""

    def __init__(self, reader: ImageReader, path: str) -> None:
        self.reader = reader
        self.path = path

    def fixed(self, steps: Steps, half: int | None = None) -> tuple[T.AnyImage, T.Size]:
        """Return what the steps that never vary make of it, and the size it had before.

        Args:
            steps: those steps.
            half: 0 and 1 take the left and the right half of the image, None takes all of it.

        Raises:
            UserError: the image cannot be read or has no halves; names the file.
        """
        cache = self.reader.cache if self.reader.mode == "resized" else None
        key = (self.path, half, *steps)
        if cache is not None and (kept := cache.get(key)) is not None:
            return kept
        image = self._decoded if half is None else self._halves[half]
        size = image.size
        fixed = self._apply(steps, image)
        if cache is not None:
            fixed = T.to_levels(fixed)
            cache.put(key, fixed, size)
        return fixed, size

    def varied(self, fixed: T.AnyImage, steps: Steps) -> Tensor:
        """Return the levels after the steps that vary, uint8 (C, H, W).

        Raises:
            UserError: the image is too small; names the file.
        """
        try:
            return T.to_levels(T.apply(steps, fixed))
        except UserError as error:
            raise UserError(f"{self.path}: {error}") from None

    def _apply(self, steps: Steps, image: Image.Image) -> T.AnyImage:
        gray = list(takewhile(lambda step: isinstance(step, T.Grayscale), steps))
        others = steps[len(gray) :]
        for_pillow = not others or any(isinstance(step, T.Grayscale) for step in others)
        if for_pillow or not self.reader.with_torch:
            return T.apply(steps, image)
        pixels = np.atleast_3d(np.array(T.apply(gray, image)))
        return T.apply(others, torch.from_numpy(pixels).permute(2, 0, 1))

    @cached_property
    def _decoded(self) -> Image.Image:
        cache = self.reader.cache if self.reader.mode == "decoded" else None
        if cache is None:
            return default_loader(self.path)
        kept = cache.get((self.path,))
        if kept is not None:
            return Image.fromarray(kept.levels.numpy())
        image = default_loader(self.path)
        cache.put((self.path,), torch.from_numpy(np.array(image)), image.size)
        return image

    @cached_property
    def _halves(self) -> tuple[Image.Image, Image.Image]:
        width, height = self._decoded.size
        if width < 2:
            raise UserError(f"{self.path} is 1 pixel wide: it cannot hold A and B side by side.")
        middle = width // 2
        return (
            self._decoded.crop((0, 0, middle, height)),
            self._decoded.crop((middle, 0, width, height)),
        )


def load_image(path: str, transform: Callable[[Image.Image], Any]) -> Any:
    """Open an image and transform it.

    Raises:
        UserError: the image is broken or does not suit the options; names the file.
    """
    image = default_loader(path)
    try:
        return transform(image)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def make_cache(gigabytes: float | None, entries: int, *, shared: bool) -> ImageCache | None:
    """Return a cache of at most so many gigabytes, by default a quarter of the free memory.

    Says what it got. None, with a warning, if the system gives no memory.
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
        cache = ImageCache(budget, entries, shared=shared)
    except (OSError, RuntimeError) as error:
        warn(f"--cache gets no memory ({error}): images are read from disk every time.")
        return None
    say(f"Images are kept in memory, up to {budget / GIGABYTE:.1f} GB (--cache_gb).")
    return cache
