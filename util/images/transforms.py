"""AnyImage transforms: small objects that can be pickled, so that every platform's workers run.

Random ones draw from torch's generator exactly as torchvision's of the same name do; the
arithmetic is torchvision's too. Written with Pillow alone because importing torchvision costs as
much time as importing torch.

Images are Pillow's, or tensors of levels: uint8 (C, H, W), where they have been kept in memory.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from util.base.errors import UserError
from util.base.log import say

AnyImage = Image.Image | Tensor
Size = tuple[int, int]  # width, height


@dataclass(frozen=True)
class Compose:
    """Apply one transform after the other."""

    transforms: Sequence[Callable[[Any], Any]]

    def __call__(self, image: Any) -> Any:
        """Return the transformed image."""
        return apply(self.transforms, image)


@dataclass(frozen=True)
class Grayscale:
    """Reduce an image to one channel of brightness."""

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return an image of mode L."""
        return image.convert("L")


@dataclass(frozen=True)
class Resize:
    """Bring an image to exactly this size."""

    width: int
    height: int
    method: int = Image.Resampling.BICUBIC

    def __call__(self, image: AnyImage) -> AnyImage:
        """Return an image of `width` x `height`."""
        return _resized(image, (self.width, self.height), self.method)


@dataclass(frozen=True)
class ScaleWidth:
    """Bring an image to a width; the height follows, but is at least `least_height`."""

    width: int
    least_height: int
    method: int = Image.Resampling.BICUBIC

    def __call__(self, image: AnyImage) -> AnyImage:
        """Return an image of the wanted width."""
        width, height = size_of(image)
        if width == self.width and height >= self.least_height:
            return image
        new_height = int(max(self.width * height / width, self.least_height))
        return _resized(image, (self.width, new_height), self.method)


@dataclass(frozen=True)
class RoundSides:
    """Round both sides to a multiple of `base`: generators that halve twice need 4."""

    base: int = 4
    method: int = Image.Resampling.BICUBIC

    def __call__(self, image: AnyImage) -> AnyImage:
        """Return the image, resized only if a side is no multiple."""
        # Sides of 1 or 2 would round to nothing, on which the reference fails.
        given = size_of(image)
        width, height = (max(round(side / self.base), 1) * self.base for side in given)
        if (width, height) != given:
            _note_rounding(given, (width, height), self.base)
        return _resized(image, (width, height), self.method)


@dataclass(frozen=True)
class CropAt:
    """Cut out a square whose upper left corner is given; parts outside the image are black.

    An image that is smaller in both directions is left alone, as in the reference.
    """

    x: int
    y: int
    size: int

    def __call__(self, image: AnyImage) -> AnyImage:
        """Return the square."""
        width, height = size_of(image)
        if width <= self.size and height <= self.size:
            return image
        return _cut(image, self.x, self.y, self.size)


@dataclass(frozen=True)
class RandomCrop:
    """Cut out a square at a random place; draws row, then column, unless the image just fits."""

    size: int

    def __call__(self, image: AnyImage) -> AnyImage:
        """Return the square.

        Raises:
            UserError: the image is smaller than the square.
        """
        width, height = size_of(image)
        if width < self.size or height < self.size:
            raise UserError(
                f"An image of {width}x{height} is too small for --crop_size {self.size}. Use a "
                "smaller --crop_size, or a --preprocess that enlarges first (resize_and_crop)."
            )
        if (width, height) == (self.size, self.size):
            return image
        y = int(torch.randint(0, height - self.size + 1, size=(1,)))
        x = int(torch.randint(0, width - self.size + 1, size=(1,)))
        return _cut(image, x, y, self.size)


@dataclass(frozen=True)
class Flip:
    """Mirror an image left to right."""

    def __call__(self, image: AnyImage) -> AnyImage:
        """Return the mirrored image."""
        return _mirrored(image)


@dataclass(frozen=True)
class RandomFlip:
    """Mirror every second image left to right, at random."""

    def __call__(self, image: AnyImage) -> AnyImage:
        """Return the image, perhaps mirrored."""
        return _mirrored(image) if torch.rand(1).item() < 0.5 else image


@dataclass(frozen=True)
class ToNormalizedTensor:
    """Turn an 8-bit image into a float32 tensor (C, H, W) with values in [-1, 1]."""

    def __call__(self, image: AnyImage) -> Tensor:
        """Return the tensor."""
        return normalized(to_levels(image))


# ---- levels -------------------------------------------------------------------------------


def to_levels(image: AnyImage) -> Tensor:
    """Return the levels of an 8-bit image, uint8 (C, H, W); a tensor stays as it is."""
    if isinstance(image, Tensor):
        return image
    if image.mode == "RGB":  # Pillow separates the channels, a row at a time
        rows = np.frombuffer(image.tobytes("raw", "RGB;L"), dtype=np.uint8)
        chw = rows.reshape(image.height, 3, image.width).transpose(1, 0, 2)
    else:
        pixels = np.array(image, dtype=np.uint8)  # (H, W) or (H, W, C)
        chw = np.atleast_3d(pixels).transpose(2, 0, 1)
    return torch.from_numpy(chw.copy(order="C"))


def normalized(levels: Tensor) -> Tensor:
    """Return levels as float32 values in [-1, 1] on their device, the same bits on every one."""
    if levels.is_cuda:  # where division by a number may round otherwise
        flat = levels.flatten().int()
        return _values_of_levels(levels.device).index_select(0, flat).view(levels.shape)
    values = levels.to(torch.float32, memory_format=torch.contiguous_format)
    return values.div_(127.5).sub_(1)  # equals (levels / 255 - 0.5) / 0.5 for each of the 256


@functools.cache
def _values_of_levels(device: torch.device) -> Tensor:
    return normalized(torch.arange(256, dtype=torch.uint8)).to(device)


# ---- images of both kinds ---------------------------------------------------------------


def size_of(image: AnyImage) -> Size:
    """Return (width, height)."""
    if isinstance(image, Tensor):
        return image.shape[2], image.shape[1]
    return image.size


def _resized(image: AnyImage, size: Size, method: int) -> AnyImage:
    """Resize with Pillow; a tensor with torch, which is faster, where that is nearly the same.

    Torch begins with the width. Pillow may begin with the height where that shrinks more: other
    values are rounded then, and a fifth of the levels differ. So Pillow does those.
    """
    width, height = size_of(image)
    if (width, height) == size:
        return image
    if not isinstance(image, Tensor):
        return image.resize(size, Image.Resampling(method))
    if method == Image.Resampling.BICUBIC and size[1] * width >= size[0] * height:
        return F.interpolate(image[None], size=size[::-1], mode="bicubic", antialias=True)[0]
    return to_levels(_to_pillow(image).resize(size, Image.Resampling(method)))


def _to_pillow(levels: Tensor) -> Image.Image:
    pixels = levels.permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _cut(image: AnyImage, x: int, y: int, size: int) -> AnyImage:
    """Cut out a square; parts outside the image are black."""
    if not isinstance(image, Tensor):
        return image.crop((x, y, x + size, y + size))
    width, height = size_of(image)
    if x + size > width or y + size > height:
        image = F.pad(image, (0, max(0, x + size - width), 0, max(0, y + size - height)))
    return image[:, y : y + size, x : x + size]


def _mirrored(image: AnyImage) -> AnyImage:
    if isinstance(image, Tensor):
        return image.flip(-1)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


# ---- the parts of a transform -------------------------------------------------------------


class Parts(NamedTuple):
    """A transform that has been taken apart.

    Attributes:
        fixed: does the same to an image every time: gray, size.
        varying: differs from epoch to epoch: crop, flip.
        normalizes: whether floats come out, not images.
    """

    fixed: tuple[Callable[[Any], Any], ...]
    varying: tuple[Callable[[Any], Any], ...]
    normalizes: bool


_FIXED = (Grayscale, Resize, ScaleWidth, RoundSides)
_VARYING = (CropAt, RandomCrop, Flip, RandomFlip)


def parts_of(transform: Any) -> Parts | None:
    """Take a transform apart; None if it is not made of the steps above, in the usual order.

    Plugins give their own transforms to data sets that they derive from the built-in ones.
    """
    if type(transform) is not Compose:
        return None
    steps = list(transform.transforms)
    normalizes = bool(steps) and type(steps[-1]) is ToNormalizedTensor
    if normalizes:
        steps.pop()
    fixed = tuple(takewhile(lambda step: type(step) in _FIXED, steps))
    varying = tuple(steps[len(fixed) :])
    if any(type(step) not in _VARYING for step in varying):
        return None
    return Parts(fixed, varying, normalizes)


def apply(steps: Sequence[Callable[[Any], Any]], image: Any) -> Any:
    """Apply one step after the other."""
    for step in steps:
        image = step(image)
    return image


_rounding_noted = False


def _note_rounding(given: tuple[int, int], rounded: tuple[int, int], base: int) -> None:
    """Say once that images are resized although nobody asked for it."""
    global _rounding_noted
    if _rounding_noted:
        return
    _rounding_noted = True
    say(
        f"The image size needs to be a multiple of {base}. An image of {given[0]}x{given[1]} was "
        f"resized to {rounded[0]}x{rounded[1]}; so will be all others that need it."
    )
