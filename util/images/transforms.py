"""Transforms of images: small objects that can be pickled, so that every platform's workers run.

Random ones draw from torch's generator exactly as torchvision's of the same name do; the
arithmetic is torchvision's too. Written with Pillow alone because importing torchvision costs as
much time as importing torch.

Images are Pillow's, or tensors of stored values, (C, H, W), of any type and number of channels: of
more than 8 bits, say, and all that are kept in memory.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from util.base.errors import UserError
from util.base.log import say
from util.images.pixels import AnyImage as AnyImage
from util.images.pixels import luminance
from util.images.pixels import stored_values as stored_values
from util.images.pixels import to_pillow as to_pillow
from util.images.ranges import MEAN, STD, ValueRange, to_unit, usual_range

Step = Callable[[Any], Any]
Size = tuple[int, int]  # width, height


@dataclass(frozen=True)
class Compose:
    """Apply one transform after the other."""

    transforms: Sequence[Step]

    def __call__(self, image: Any) -> Any:
        for step in self.transforms:
            image = step(image)
        return image


@dataclass(frozen=True)
class Grayscale:
    """Reduce an image to one channel of brightness; tensors of other channels than RGB stay."""

    def __call__(self, image: AnyImage) -> AnyImage:
        if isinstance(image, Tensor):
            return luminance(image) if image.shape[0] == 3 else image
        return image.convert("L")


@dataclass(frozen=True)
class Resize:
    """Bring an image to exactly this size."""

    width: int
    height: int
    method: int = Image.Resampling.BICUBIC

    def __call__(self, image: AnyImage) -> AnyImage:
        return _resized(image, (self.width, self.height), self.method)


@dataclass(frozen=True)
class ScaleWidth:
    """Bring an image to a width; the height follows, but is at least `least_height`."""

    width: int
    least_height: int
    method: int = Image.Resampling.BICUBIC

    def __call__(self, image: AnyImage) -> AnyImage:
        width, height = size_of(image)
        if width == self.width and height >= self.least_height:
            return image
        new_height = int(max(self.width * height / width, self.least_height))
        return _resized(image, (self.width, new_height), self.method)


@dataclass(frozen=True)
class ScaleShortside:
    """Bring the shorter side of an image to a length; the longer one follows."""

    length: int
    method: int = Image.Resampling.BICUBIC

    def __call__(self, image: AnyImage) -> AnyImage:
        return _resized(image, self.size_of(size_of(image)), self.method)

    def size_of(self, size: Size) -> Size:
        """Return the size that an image of another one gets."""
        width, height = (round(side * self.length / min(size)) for side in size)
        return width, height


@dataclass(frozen=True)
class RoundSides:
    """Round both sides to a multiple of `base`: generators that halve twice need 4."""

    base: int = 4
    method: int = Image.Resampling.BICUBIC

    def __call__(self, image: AnyImage) -> AnyImage:
        # Sides of 1 or 2 would round to nothing, on which the reference fails.
        given = size_of(image)
        width, height = (max(round(side / self.base), 1) * self.base for side in given)
        if (width, height) != given:
            note_rounding(given, (width, height), self.base)
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
        width, height = size_of(image)
        right, lower = self.x + self.size, self.y + self.size
        if width <= self.size and height <= self.size:
            return image
        if isinstance(image, Tensor) and (right > width or lower > height):
            image = F.pad(image, (0, max(0, right - width), 0, max(0, lower - height)))
        return cut_out(image, self.x, self.y, right, lower)


@dataclass(frozen=True)
class RandomCrop:
    """Cut out a square at a random place; draws row, then column, unless the image just fits.

    Raises:
        UserError: the image is smaller than the square.
    """

    size: int

    def __call__(self, image: AnyImage) -> AnyImage:
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
        return CropAt(x, y, self.size)(image)


@dataclass(frozen=True)
class RandomResizedCrop:
    """Cut out a rectangle of a random area, shape and place, and bring it to a square.

    `scale` are the least and the largest part of the image's area, `ratio` of width to height. If
    ten rectangles do not fit, it is the largest one in the middle whose ratio is allowed.
    """

    size: int
    scale: tuple[float, float]
    ratio: tuple[float, float]
    method: int = Image.Resampling.BILINEAR

    def __call__(self, image: AnyImage) -> AnyImage:
        x, y, width, height = self._box(*size_of(image))
        cut = cut_out(image, x, y, x + width, y + height)
        return _resized(cut, (self.size, self.size), self.method)

    def _box(self, width: int, height: int) -> tuple[int, int, int, int]:
        least, most = torch.log(torch.tensor(self.ratio)).tolist()
        for _ in range(10):
            area = width * height * torch.empty(1).uniform_(*self.scale).item()
            ratio = torch.exp(torch.empty(1).uniform_(least, most)).item()
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                y = int(torch.randint(0, height - h + 1, size=(1,)))
                x = int(torch.randint(0, width - w + 1, size=(1,)))
                return x, y, w, h
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
        return (width - w) // 2, (height - h) // 2, w, h


@dataclass(frozen=True)
class Sometimes:
    """Apply a transform with a probability; draws from python's `random`."""

    probability: float
    step: Step

    def __call__(self, image: AnyImage) -> AnyImage:
        return self.step(image) if random.random() < self.probability else image


@dataclass(frozen=True)
class Flip:
    """Mirror an image left to right."""

    def __call__(self, image: AnyImage) -> AnyImage:
        if isinstance(image, Tensor):
            return image.flip(-1)
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


@dataclass(frozen=True)
class RandomFlip:
    """Mirror every second image left to right, at random."""

    def __call__(self, image: AnyImage) -> AnyImage:
        return Flip()(image) if torch.rand(1).item() < 0.5 else image


@dataclass(frozen=True)
class VerticalFlip:
    """Mirror an image top to bottom."""

    def __call__(self, image: AnyImage) -> AnyImage:
        if isinstance(image, Tensor):
            return image.flip(-2)
        return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)


@dataclass(frozen=True)
class RandomVerticalFlip:
    """Mirror every second image top to bottom, at random."""

    def __call__(self, image: AnyImage) -> AnyImage:
        return VerticalFlip()(image) if torch.rand(1).item() < 0.5 else image


@dataclass(frozen=True)
class Turn:
    """Turn an image anticlockwise by quarters."""

    quarters: int

    def __call__(self, image: AnyImage) -> AnyImage:
        if isinstance(image, Tensor):
            return image.rot90(self.quarters, (-2, -1))
        ways = Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270
        return image.transpose(ways[self.quarters - 1]) if self.quarters else image


@dataclass(frozen=True)
class RandomTurn:
    """Turn an image by none to three quarters, at random."""

    def __call__(self, image: AnyImage) -> AnyImage:
        return Turn(int(torch.randint(4, (1,))))(image)


@dataclass(frozen=True)
class ToTensor:
    """Turn an image into a float32 tensor (C, H, W) with values in [0, 1].

    The range says which stored values are 0 and 1; None: those that are usual for their type.
    """

    value_range: ValueRange | None = None

    def __call__(self, image: AnyImage) -> Tensor:
        stored, value_range = stored_values(image), self.value_range
        if value_range is None and stored.is_floating_point():  # resizing may have gone beyond
            value_range = usual_range(stored.dtype)
        return to_unit(stored, value_range)


@dataclass(frozen=True)
class Normalize:
    """Subtract a mean and divide by a deviation: one of each for all channels, or for every one."""

    mean: Sequence[float] = (MEAN,)
    std: Sequence[float] = (STD,)

    def __call__(self, tensor: Tensor) -> Tensor:
        if (*self.mean, *self.std) == (MEAN, STD):
            return tensor.sub(MEAN).mul_(1 / STD)  # the same bits, since STD is a power of two
        mean, std = (tensor.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return tensor.sub(mean).div_(std)


# Make the same of an image every time.
FIXED = (Grayscale, Resize, ScaleWidth, ScaleShortside, RoundSides)
_TURNS = (Flip, RandomFlip, VerticalFlip, RandomVerticalFlip, Turn, RandomTurn)
_OF_TENSORS = (CropAt, RandomCrop, *_TURNS, ToTensor, Normalize)


def take_tensors(steps: Sequence[Step]) -> bool:
    """Tell whether steps make the same of an image and of the tensor of its stored values."""
    kinds = {type(step) for step in steps}
    return kinds.issubset(_OF_TENSORS) and ToTensor in kinds


def size_of(image: AnyImage) -> Size:
    """Return (width, height)."""
    return (image.shape[2], image.shape[1]) if isinstance(image, Tensor) else image.size


def cut_out(image: AnyImage, left: int, upper: int, right: int, lower: int) -> AnyImage:
    """Return a rectangle of an image."""
    if isinstance(image, Tensor):
        return image[:, upper:lower, left:right]
    return image.crop((left, upper, right, lower))


def _resized(image: AnyImage, size: Size, method: int) -> AnyImage:
    if size_of(image) == size:
        return image
    if not isinstance(image, Tensor):
        return image.resize(size, Image.Resampling(method))
    kind = torch.uint8 if image.dtype == torch.uint8 else torch.float32  # Pillow's modes L and F
    planes = [Image.fromarray(plane) for plane in image.to(kind).numpy()]
    values = np.stack([np.asarray(p.resize(size, Image.Resampling(method))) for p in planes])
    if not image.is_floating_point():  # bicubic goes beyond what there was
        ends = torch.iinfo(image.dtype)
        values = np.rint(values).clip(ends.min, ends.max)
    return torch.from_numpy(values).to(image.dtype)


def resizes(preprocess: str) -> bool:
    """Tell whether `--preprocess` brings images to `--load_size` first, in whichever way."""
    return any(way in preprocess for way in ("resize", "scale_width", "scale_shortside"))


_rounding_noted = False


def note_rounding(given: Size, rounded: Size, base: int) -> None:
    """Say once that images are resized although nobody asked for it."""
    global _rounding_noted
    if not _rounding_noted:
        _rounding_noted = True
        say(
            f"The image size needs to be a multiple of {base}. An image of {given[0]}x{given[1]} "
            f"was resized to {rounded[0]}x{rounded[1]}; so will be all others that need it."
        )
