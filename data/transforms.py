"""Picture transforms: small objects that can be pickled, so that every platform's workers run.

Random ones draw from torch's generator exactly as torchvision's of the same name do; the
arithmetic is torchvision's too. Written with Pillow alone because importing torchvision costs as
much time as importing torch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from util.errors import UserError
from util.log import say


@dataclass(frozen=True)
class Compose:
    """Apply one transform after the other."""

    transforms: Sequence[Callable[[Any], Any]]

    def __call__(self, image: Any) -> Any:
        """Return the transformed picture."""
        for transform in self.transforms:
            image = transform(image)
        return image


@dataclass(frozen=True)
class Grayscale:
    """Reduce a picture to one channel of brightness."""

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return a picture of mode L."""
        return image.convert("L")


@dataclass(frozen=True)
class Resize:
    """Bring a picture to exactly this size."""

    width: int
    height: int
    method: int = Image.Resampling.BICUBIC

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return a picture of `width` x `height`."""
        if image.size == (self.width, self.height):
            return image
        return image.resize((self.width, self.height), Image.Resampling(self.method))


@dataclass(frozen=True)
class ScaleWidth:
    """Bring a picture to a width; the height follows, but is at least `least_height`."""

    width: int
    least_height: int
    method: int = Image.Resampling.BICUBIC

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return a picture of the wanted width."""
        width, height = image.size
        if width == self.width and height >= self.least_height:
            return image
        new_height = int(max(self.width * height / width, self.least_height))
        return image.resize((self.width, new_height), Image.Resampling(self.method))


@dataclass(frozen=True)
class RoundSides:
    """Round both sides to a multiple of `base`: generators that halve twice need 4."""

    base: int = 4
    method: int = Image.Resampling.BICUBIC

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the picture, resized only if a side is no multiple."""
        # Sides of 1 or 2 would round to nothing, on which the reference fails.
        width, height = (max(round(side / self.base), 1) * self.base for side in image.size)
        if (width, height) == image.size:
            return image
        _note_rounding(image.size, (width, height), self.base)
        return image.resize((width, height), Image.Resampling(self.method))


@dataclass(frozen=True)
class CropAt:
    """Cut out a square whose upper left corner is given; parts outside the picture are black.

    A picture that is smaller in both directions is left alone, as in the reference.
    """

    x: int
    y: int
    size: int

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the square."""
        width, height = image.size
        if width <= self.size and height <= self.size:
            return image
        return image.crop((self.x, self.y, self.x + self.size, self.y + self.size))


@dataclass(frozen=True)
class RandomCrop:
    """Cut out a square at a random place; draws row, then column, unless the picture just fits."""

    size: int

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the square.

        Raises:
            UserError: the picture is smaller than the square.
        """
        width, height = image.size
        if width < self.size or height < self.size:
            raise UserError(
                f"A picture of {width}x{height} is too small for --crop_size {self.size}. Use a "
                "smaller --crop_size, or a --preprocess that enlarges first (resize_and_crop)."
            )
        if (width, height) == (self.size, self.size):
            return image
        y = int(torch.randint(0, height - self.size + 1, size=(1,)))
        x = int(torch.randint(0, width - self.size + 1, size=(1,)))
        return image.crop((x, y, x + self.size, y + self.size))


@dataclass(frozen=True)
class Flip:
    """Mirror a picture left to right."""

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the mirrored picture."""
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


@dataclass(frozen=True)
class RandomFlip:
    """Mirror every second picture left to right, at random."""

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the picture, perhaps mirrored."""
        if torch.rand(1) < 0.5:
            return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return image


@dataclass(frozen=True)
class ToNormalizedTensor:
    """Turn an 8-bit picture into a float32 tensor (C, H, W) with values in [-1, 1]."""

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the tensor."""
        pixels = torch.from_numpy(np.array(image, dtype=np.uint8))  # (H, W) or (H, W, C)
        if pixels.dim() == 2:
            pixels = pixels[:, :, None]
        chw = pixels.permute(2, 0, 1).to(torch.float32, memory_format=torch.contiguous_format)
        return chw.div_(255).sub_(0.5).div_(0.5)


_rounding_noted = False


def _note_rounding(given: tuple[int, int], rounded: tuple[int, int], base: int) -> None:
    """Say once that pictures are resized although nobody asked for it."""
    global _rounding_noted
    if _rounding_noted:
        return
    _rounding_noted = True
    say(
        f"The image size needs to be a multiple of {base}. A picture of {given[0]}x{given[1]} was "
        f"resized to {rounded[0]}x{rounded[1]}; so will be all others that need it."
    )
